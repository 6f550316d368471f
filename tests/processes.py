"""What /proc says of processes, and waiting for it. On systems without /proc no process is seen."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path


def _states() -> Iterator[tuple[int, int, str]]:
    """Process, its group, and R (runs), S (sleeps), T (is stopped), Z (has ended, not yet waited for) ..."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since it was listed
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            yield int(path.parent.name), int(group), state


def alive(process: int) -> bool:
    """Whether it is there, and has not ended."""
    return any(number == process and state != "Z" for number, _, state in _states())


def hold(group: int) -> None:
    """Stop every process of the group where it is: what its files say then, they say until SIGCONT or SIGKILL."""
    os.killpg(group, signal.SIGSTOP)
    time.sleep(0.2)  # all there is to wait for where there is no /proc
    wait_for(lambda: {state for _, of, state in _states() if of == group} <= {"T", "t", "Z", "X"}, 20)


def wait_for(condition: Callable[[], bool], seconds: float) -> None:
    """Wait until the condition holds.  Raises: AssertionError where it does not within the time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds} s"
        time.sleep(0.1)
