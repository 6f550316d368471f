"""Time of a GP flow where the C library keeps freed memory, and where it gives it back (gpot.memory).

    python benchmarks/memory.py [--processes 8] [--out outputs/bench/memory.json]

The paper's field (three layers of 50) in ten dimensions moves 4,096 points, 1,024 at a time, in 12 steps of
Runge-Kutta, float32, one thread. Where glibc gives memory back depends on where the arrays of a process happen to lie,
so that each number is of several fresh processes: the least, the median and the largest of their seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.measure import in_own_process, write_result  # noqa: E402
from gpot.gp.flow import GaussianPreservingFlow  # noqa: E402
from gpot.gp.velocity import MLPVelocity  # noqa: E402
from gpot.memory import KEPT, keep_freed_memory  # noqa: E402

POINTS, AT_ONCE, DIM, N_STEPS, REPEATS = 4096, 1024, 10, 12, 3


def measure(kept: bool, history: int) -> dict[str, float]:
    """history: arrays made before, of so many different sizes, as in a program that did other things."""
    if kept:
        keep_freed_memory()
    torch.manual_seed(history)
    flow = GaussianPreservingFlow(MLPVelocity(DIM), chart="cube", n_steps=N_STEPS).requires_grad_(False)
    z = torch.randn(POINTS, DIM)
    with torch.no_grad():
        for size in range(1, history + 1):
            flow.transport(z[: 64 * size])
        seconds = []
        for _ in range(REPEATS):
            start = time.process_time()
            for rows in z.split(AT_ONCE):
                flow.transport(rows)
            seconds.append(time.process_time() - start)
    return {"seconds": statistics.median(seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "outputs" / "bench" / "memory.json")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        print(json.dumps(measure(arguments.one[0] == "kept", int(arguments.one[1]))))
        return
    seconds: dict[str, list[float]] = {"kept": [], "given back": []}
    for process in range(arguments.processes):
        for way, of in seconds.items():  # one after the other: a change of the machine's pace meets both
            of.append(in_own_process(__file__, ["--one", way, process])["seconds"])
            print(f"{way}: {of[-1]:.2f} s", flush=True)
    rows = [
        {"way": way, "least": min(of), "median": statistics.median(of), "largest": max(of), "processes": len(of)}
        for way, of in seconds.items()
    ]
    write_result(arguments.out, "memory", rows, 1, points=POINTS, dim=DIM, kept_gib=KEPT / 2**30)


if __name__ == "__main__":
    main()
