r"""Time and memory of one training step of a ridge flow against the dimension, up to d = 128.

    python benchmarks/ridge_scaling.py [--out outputs/bench/ridge_scaling.json]

A step is 8 steps of Runge-Kutta in the chart `direct` (32 evaluations), K = 256 neurons, 512 particles, the transport
cost and its gradient, in float32 with one thread: `written` as training does it (:mod:`gpot.maths.ridge_path`), and
`plain` one evaluation of the field after another with the gradient of each written out. Seconds and memory are measured
as `benchmarks/gp_step.py` does, each in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.measure import in_own_process, least, write_result  # noqa: E402
from gpot.gp.velocity import RidgeVelocity  # noqa: E402
from gpot.maths.charts import Chart  # noqa: E402
from gpot.maths.integrate import Method, integrate  # noqa: E402

DIMS, WIDTH, BATCH, N_STEPS = (2, 8, 32, 128), 256, 512, 8


def measure(way: str, dim: int, repeats: int) -> dict[str, float]:
    torch.manual_seed(0)
    velocity = RidgeVelocity(dim, WIDTH)

    def step(n: int) -> None:
        x, z = torch.randn(n, dim), torch.randn(n, dim)
        if way == "written":
            points = velocity.points(Chart.direct, z, N_STEPS, Method.rk4, 0.0, 1.0)
            assert points is not None
            s = points[-1]
        else:
            s = integrate(velocity.field(Chart.direct), z, N_STEPS)
        velocity.zero_grad()
        (x - s).square().sum(1).mean().backward()

    return least(lambda: step(8), lambda: step(BATCH), repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/ridge_scaling.json"))
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--measure", nargs=2, metavar=("WAY", "DIM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        print(json.dumps(measure(options.measure[0], int(options.measure[1]), options.repeats)))
        return
    rows = []
    for dim in DIMS:
        found = {
            way: in_own_process(__file__, ["--measure", way, dim, "--repeats", options.repeats])
            for way in ("written", "plain")
        }
        rows.append({"dim": dim, "width": WIDTH, "batch": BATCH, **found})
        print(dim, {way: {key: round(value, 4) for key, value in each.items()} for way, each in found.items()})
    write_result(options.out, "ridge_scaling", rows, 1, steps=N_STEPS)


if __name__ == "__main__":
    main()
