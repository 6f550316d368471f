r"""Time and memory of one training step with Euler's penalty: all times at once against one after another.

    python benchmarks/penalty.py [--out outputs/bench/penalty.json] [--threads 1] [--rounds 3]

A step is 15 Runge-Kutta steps in the cube with their path, the transport cost, Euler's penalty (eq. 11, 12; one pair
of probes) on some of the particles at the 15 times, the gradient, and one step of Adam, in float32. Both ways draw the
same probes and have the same loss, which is checked. `plain` is the same step without a penalty. Seconds and memory are
measured as `benchmarks/gp_step.py` does, each in a process of its own; each of the ways in every round, in turn, and
the least is taken.
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

from benchmarks.gp_step import HIDDEN, N_STEPS, WIDTH  # noqa: E402
from benchmarks.measure import in_own_process, least, write_result  # noqa: E402
from gpot.gp.flow import GaussianPreservingFlow  # noqa: E402
from gpot.gp.velocity import MLPVelocity, RidgeVelocity  # noqa: E402
from gpot.maths.charts import Chart  # noqa: E402
from gpot.maths.euler import euler_penalty  # noqa: E402

WAYS = ("plain", "in turn", "at once")
CASES = ((2, "mlp", 1000, 250), (2, "mlp", 1000, 1000), (10, "mlp", 512, 128), (10, "ridge", 512, 128))


def training_step(way: str, dim: int, kind: str) -> Callable[[int, int], float]:
    """A function of batch and of particles with a penalty, that trains once and returns the loss."""
    torch.manual_seed(0)
    velocity = RidgeVelocity(dim, WIDTH[dim]) if kind == "ridge" else MLPVelocity(dim, HIDDEN[dim])
    gp = GaussianPreservingFlow(velocity, Chart.cube, n_steps=N_STEPS)
    optimizer = torch.optim.Adam(velocity.parameters())

    def step(batch: int, particles: int) -> float:
        z = torch.randn(batch, dim).clamp(-4.0, 4.0)
        x = z + 0.1 * torch.randn(batch, dim)
        s, path = gp.forward_with_path(z)
        loss = (x - s).square().sum(1).mean()
        if way != "plain":
            points = gp.penalty_points(path)[:-1, :particles]
            loss = loss + 1e-3 * euler_penalty(gp.penalty_field(), path.times[:-1], points, at_once=way == "at once")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def measure(way: str, dim: int, kind: str, batch: int, particles: int, repeats: int) -> dict[str, float]:
    """Seconds, peak memory and the loss of the last step, in this process."""
    step, losses = training_step(way, dim, kind), []
    timing = least(lambda: step(8, 8), lambda: losses.append(step(batch, particles)), repeats)
    return timing | {"loss": losses[-1]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/penalty.json"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", nargs=5, metavar=("WAY", "DIM", "KIND", "BATCH", "N"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        way, dim, kind, batch, particles = options.measure
        print(json.dumps(measure(way, int(dim), kind, int(batch), int(particles), options.repeats)))
        return

    rows = []
    print(f"{'dim':>4} {'velocity':>9} {'batch':>6} {'of them':>8} {'plain s':>9} {'in turn s':>10} {'at once s':>10} "
          f"{'faster':>7} {'MB':>13}")  # fmt: skip
    for dim, kind, batch, particles in CASES:
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for way in WAYS * options.rounds:
            scale = ["--threads", options.threads, "--repeats", options.repeats]
            runs[way].append(in_own_process(__file__, ["--measure", way, dim, kind, batch, particles, *scale]))
        best = {way: min(each, key=lambda run: run["seconds"]) for way, each in runs.items()}
        assert abs(best["at once"]["loss"] / best["in turn"]["loss"] - 1.0) < 1e-5
        ratio = best["in turn"]["seconds"] / best["at once"]["seconds"]
        rows.append({"dim": dim, "velocity": kind, "batch": batch, "particles": particles, "faster": ratio, **best})
        print(f"{dim:>4} {kind:>9} {batch:>6} {particles:>8} " + " ".join(
              f"{best[way]['seconds']:>{w}.4f}" for way, w in zip(WAYS, (9, 10, 10), strict=True))
              + f" {ratio:>6.1f}x {best['in turn']['peak_mb']:>6.0f} {best['at once']['peak_mb']:>6.0f}")  # fmt: skip
    write_result(options.out, "penalty", rows, options.threads, steps=N_STEPS)


if __name__ == "__main__":
    main()
