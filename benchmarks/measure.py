"""Seconds and peak memory of a call, in this process."""

from __future__ import annotations

import contextlib
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch


def least(warm_up: Callable[[], object], call: Callable[[], object], repeats: int) -> dict[str, float]:
    """The least seconds of `repeats` calls, and the largest resident set above that after `warm_up`, in MB.

    With one thread it is processor time, else the wall clock.
    """
    warm_up()
    reset_peak()
    before = resident_mb("VmRSS")
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds = []
    for _ in range(repeats):
        start = clock()
        call()
        seconds.append(clock() - start)
    return {"seconds": min(seconds), "peak_mb": resident_mb("VmHWM") - before}


def resident_mb(field: str) -> float:
    """`VmRSS` or `VmHWM` of this process in MB."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return next(float(line.split()[1]) / 1024.0 for line in lines if line.startswith(field))


def reset_peak() -> None:
    """VmHWM := VmRSS, where the system allows it."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
