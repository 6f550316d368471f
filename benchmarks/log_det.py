r"""Time and memory of exact log-determinants: by the written derivatives of a velocity, and by forward mode.

    python benchmarks/log_det.py [--out outputs/bench/log_det.json]

The discretized map of 8 steps of Runge-Kutta at 512 points, in float32 with one thread: `written` as evaluations and
the guard of the law use it (:func:`gpot.maths.transport.path_log_det`), `forward` with d products of forward mode
through all steps (:func:`gpot.maths.transport.exact_log_det`). Each in a process of its own; `difference` is the
largest between the two, in nats.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from benchmarks.measure import in_own_process, least, write_result  # noqa: E402
from gpot.gp.deep_ridge import DeepRidgeVelocity  # noqa: E402
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity  # noqa: E402
from gpot.maths.charts import Chart  # noqa: E402
from gpot.maths.integrate import integrate  # noqa: E402
from gpot.maths.transport import exact_log_det, path_log_det  # noqa: E402

POINTS, N_STEPS = 512, 8
CASES = (("mlp", 2), ("mlp", 10), ("ridge", 10), ("ridge", 32), ("deep_ridge", 2), ("deep_ridge", 10))


def velocity_of(name: str, dim: int) -> tuple[Velocity, Chart]:
    if name == "mlp":
        return MLPVelocity(dim, (15, 15) if dim == 2 else (50, 50, 50), output_scale=0.1), Chart.cube
    return (RidgeVelocity(dim) if name == "ridge" else DeepRidgeVelocity(dim)), Chart.direct


def log_dets(way: str, velocity: Velocity, chart: Chart, y: Tensor) -> Tensor:
    if way == "forward":
        return exact_log_det(lambda rows: integrate(velocity.field(chart), rows, N_STEPS), y)
    along = velocity.along_all(chart)
    assert along is not None
    return path_log_det(along, y, N_STEPS)[0]


def measure(way: str, name: str, dim: int, repeats: int) -> dict[str, float]:
    torch.manual_seed(0)
    velocity, chart = velocity_of(name, dim)
    velocity.requires_grad_(False)
    y = torch.rand(POINTS, dim) * 1.8 - 0.9
    found = least(lambda: log_dets(way, velocity, chart, y[:8]), lambda: log_dets(way, velocity, chart, y), repeats)
    apart = (log_dets("written", velocity, chart, y) - log_dets("forward", velocity, chart, y)).abs().max().item()
    return found | {"difference": apart}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/log_det.json"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--measure", nargs=3, metavar=("WAY", "VELOCITY", "DIM"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.measure:
        way, name, dim = options.measure
        print(json.dumps(measure(way, name, int(dim), options.repeats)))
        return
    rows = []
    for name, dim in CASES:
        found = {
            way: in_own_process(__file__, ["--measure", way, name, dim, "--repeats", options.repeats])
            for way in ("written", "forward")
        }
        rows.append({"velocity": name, "dim": dim, "points": POINTS, **found})
        print(name, dim, {way: round(each["seconds"], 3) for way, each in found.items()}, flush=True)
    write_result(options.out, "log_det", rows, 1, steps=N_STEPS)


if __name__ == "__main__":
    main()
