r"""Time and memory of one training step with Euler's penalty, against the same step without.

    python benchmarks/penalty.py [--out outputs/bench/penalty.json] [--threads 1] [--rounds 3]

A step is the GP flow of a batch, the transport cost, Euler's penalty (eq. 11, 12; one pair of probes) of some of its
particles at the times of the grid, the gradient, and one step of Adam, in float32. `plain` has no penalty. `reverse`
differentiates the total derivative by reverse mode along the probes, and that once more for the parameters; `carried`
is what training does: the probes are carried through the field forward (:func:`gpot.maths.euler.quotient_penalty`).
Both draw the same probes and have the same loss, which is checked. Seconds and memory are measured as
`benchmarks/gp_step.py` does, each in a process of its own; each of the ways in every round, in turn, and the least is
taken.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.gp_step import HIDDEN  # noqa: E402
from benchmarks.measure import in_own_process, least, write_result  # noqa: E402
from gpot.gp.flow import GaussianPreservingFlow  # noqa: E402
from gpot.gp.velocity import MLPVelocity, RidgeVelocity  # noqa: E402
from gpot.maths.euler import euler_penalty  # noqa: E402

WIDTH = {2: 128, 10: 256}  # those of `gp=toy_ridge` and `gp=ridge`
WAYS = ("plain", "reverse", "carried")
# dimension, velocity, chart, steps, batch, particles with a penalty: the paper's and ours, at a part of a batch, which
# estimates the mean without bias, and at all of it
CASES = (
    (2, "mlp", "cube", 15, 1000, 250),
    (2, "mlp", "cube", 15, 1000, 1000),
    (2, "ridge", "direct", 8, 1000, 250),
    (2, "ridge", "direct", 8, 1000, 1000),
    (10, "mlp", "cube", 15, 512, 128),
    (10, "mlp", "cube", 15, 512, 512),
    (10, "ridge", "direct", 8, 512, 128),
    (10, "ridge", "direct", 8, 512, 512),
)


def training_step(way: str, dim: int, kind: str, chart: str, n_steps: int) -> Callable[[int, int], float]:
    """A function of batch and of particles with a penalty, that trains once and returns the loss."""
    torch.manual_seed(0)
    velocity = RidgeVelocity(dim, WIDTH[dim]) if kind == "ridge" else MLPVelocity(dim, HIDDEN[dim])
    gp = GaussianPreservingFlow(velocity, chart, n_steps)
    optimizer = torch.optim.Adam(velocity.parameters())

    def step(batch: int, particles: int) -> float:
        z = torch.randn(batch, dim).clamp(-4.0, 4.0)
        x = z + 0.1 * torch.randn(batch, dim)
        if way == "plain":
            loss = (x - gp.transport(z)).square().sum(1).mean()
        else:
            s, times, points = gp.forward_with_points(z)
            along = gp.penalty_along() if way == "carried" else None
            here = gp.penalty_points(points[:-1, :particles])
            penalty = euler_penalty(gp.penalty_field(), times[:-1], here, at_once=True, along=along)
            loss = (x - s).square().sum(1).mean() + 1e-3 * penalty
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(case: tuple[str, ...], repeats: int) -> dict[str, float]:
    """Seconds, peak memory and the loss of the last step, in this process."""
    way, dim, kind, chart, n_steps, batch, particles = case
    step, losses = training_step(way, int(dim), kind, chart, int(n_steps)), []
    timing = least(lambda: step(8, 8), lambda: losses.append(step(int(batch), int(particles))), repeats)
    return timing | {"loss": losses[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/penalty.json"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=7, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        print(json.dumps(measure(tuple(options.measure), options.repeats)))
        return

    rows = []
    print(f"{'dim':>4} {'velocity':>9} {'chart':>7} {'batch':>6} {'of them':>8} "
          + " ".join(f"{way + ' s':>10}" for way in WAYS) + f" {'times plain':>12} {'MB':>13}")  # fmt: skip
    for case in CASES:
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for way in WAYS * options.rounds:
            scale = ["--threads", options.threads, "--repeats", options.repeats]
            runs[way].append(in_own_process(__file__, ["--measure", way, *case, *scale]))
        best = {way: min(each, key=lambda run: run["seconds"]) for way, each in runs.items()}
        assert abs(best["carried"]["loss"] / best["reverse"]["loss"] - 1.0) < 1e-5
        dim, kind, chart, n_steps, batch, particles = case
        ratio = best["carried"]["seconds"] / best["plain"]["seconds"]
        rows.append({"dim": dim, "velocity": kind, "chart": chart, "steps": n_steps, "batch": batch,
                     "particles": particles, "ratio": ratio, **best})  # fmt: skip
        print(f"{dim:>4} {kind:>9} {chart:>7} {batch:>6} {particles:>8} "
              + " ".join(f"{best[way]['seconds']:>10.4f}" for way in WAYS)
              + f" {ratio:>11.2f}x {best['reverse']['peak_mb']:>6.0f} {best['carried']['peak_mb']:>6.0f}",
              flush=True)  # fmt: skip
    write_result(options.out, "penalty", rows, options.threads)


if __name__ == "__main__":
    main()
