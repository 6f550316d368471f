"""Seconds and peak memory of a call, in this process or in a fresh one; and the file that a benchmark writes."""

from __future__ import annotations

import contextlib
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch


def least(warm_up: Callable[[], object], call: Callable[[], object], repeats: int) -> dict[str, float]:
    """The least and the median seconds of `repeats` calls, and the largest resident set above that after `warm_up`, MB.

    With one thread it is processor time, else the wall clock. How far the median is from the least says how noisy the
    machine was.
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
    return {
        "seconds": min(seconds), "seconds_median": statistics.median(seconds), "repeats": repeats,
        "peak_mb": resident_mb("VmHWM") - before,
    }  # fmt: skip


def in_own_process(
    script: str, arguments: Sequence[object], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """What a script prints as JSON in its last line, run in a fresh interpreter: what one measurement leaves behind is
    no part of the next."""
    command = [sys.executable, str(Path(script).resolve()), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def write_result(out: Path, item: str, rows: Sequence[Mapping[str, Any]], threads: int, **more: Any) -> None:
    """The rows of a benchmark with what they were measured by: clock, versions, machine."""
    result = {
        "item": item, "rows": rows, **more, "threads": threads, "clock": "process" if threads == 1 else "wall",
        "versions": {"torch": torch.__version__, "python": platform.python_version()}, "machine": platform.machine(),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")
    print(out)


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
