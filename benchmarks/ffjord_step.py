r"""Time and memory of one training step of FFJORD with each divergence, its gradient by autograd and written out.

    python benchmarks/ffjord_step.py [--out outputs/bench/ffjord_step.json] [--threads 1]

A step is the negative log-likelihood of 1024 points, d = 10, by Runge-Kutta ("rk4"), its gradient, and one step of
Adam, in float32, for the two architectures of the paper with the steps that we train them with. `plain` differentiates
the formula of Hutchinson's estimate, `written` has its gradient written out (third_party/ffjord/written.py), `exact` is
the trace. Seconds and memory are measured as `benchmarks/gp_step.py` does, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.measure import in_own_process, least, write_result  # noqa: E402
from third_party.ffjord import FFJORD, model  # noqa: E402

DIM, BATCH = 10, 1024
CASES = {"dsprites": ((64, 64), 3, 6), "mnist": ((128, 128, 128), 1, 16)}  # hidden, blocks, steps of each
WAYS = ("plain", "written", "exact")


def training_step(way: str, case: str) -> Callable[[int], None]:
    """A function that trains once on a number of points."""
    torch.manual_seed(0)
    hidden, n_blocks, n_steps = CASES[case]
    flow = FFJORD(DIM, hidden, n_blocks, solver="rk4", n_steps=n_steps)
    optimizer = torch.optim.Adam(flow.parameters(), lr=1e-4)
    rate = model._estimate_formula if way == "plain" else model._estimate_written

    def step(batch: int) -> None:
        with patch.object(model, "_estimate_written", rate):
            z, log_det = flow(torch.randn(batch, DIM), "exact" if way == "exact" else "hutchinson")
        optimizer.zero_grad()
        (0.5 * z.square().sum(1) - log_det).mean().backward()
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/ffjord_step.json"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "CASE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        step = training_step(*options.measure)
        print(json.dumps(least(lambda: step(8), lambda: step(BATCH), options.repeats)))
        return

    rows = []
    print(f"{'case':>9} " + " ".join(f"{way + ' s':>10} {'MB':>6}" for way in WAYS))
    for case in CASES:
        measures = {}
        for way in WAYS:
            scale = ["--threads", options.threads, "--repeats", options.repeats]
            measures[way] = in_own_process(__file__, ["--measure", way, case, *scale])
        hidden, blocks, steps = CASES[case]
        rows.append({"case": case, "hidden": hidden, "blocks": blocks, "steps": steps, "batch": BATCH, **measures})
        print(
            f"{case:>9} "
            + " ".join(f"{measures[way]['seconds']:>10.3f} {measures[way]['peak_mb']:>6.0f}" for way in WAYS)
        )
    write_result(options.out, "ffjord_step", rows, options.threads, dim=DIM)


if __name__ == "__main__":
    main()
