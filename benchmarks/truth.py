r"""How close each family comes to a known optimum, and how soon: L2-UVP and cost against CPU seconds.

    python benchmarks/truth.py [--out outputs/bench/truth.json] [--seconds 120] [--dims 2 4 8 16 32 64 128]
    python benchmarks/truth.py --picture docs/truth.png    # draws the curves of the result; trains nothing

Rows are added to those of --out, in the place of earlier ones of the same problem and method.

x = grad u0(z0), z = h(z0) (:mod:`gpot.evaluation.known_truth`): the flow f is exact, and the best s is known at every
point. Nothing is read or fetched. Each method gets the same pairs and `--seconds` of processor time with one thread,
its validations and the Procrustes rotation included, drawing and scoring apart; every twentieth or so of the training
its map is scored on 4,096 draws that no step sees. `rotation` is that alone. The upper bound of the gap
(:mod:`gpot.evaluation.bounds`) is that of the row's map, fitted on training pairs and reported on the same 4,096.

Methods: `adam` is a ridge field by Adam on a grid of 8 steps, on the cost itself. `ridge`, `deep_ridge`, `series` and
`twist` are what `gpot.fit(velocity=...)` trains, with its settings: by orthogonalized momentum, on a time grid that
starts with few steps and is refined when the Gaussian asks for it, on the cost with its control variate; but for all of
the time, whether or not the cost of held-out pairs still falls. `wide_series` is a series of fields of 256 neurons and
`wide_deep_ridge` a field of two layers of 8 d neurons, at most 256, both at a lower rate, for long trainings. A problem
with h a twist leaves twists out: the answer would be in their reach by construction.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from benchmarks.measure import write_result  # noqa: E402
from gpot.evaluation.bounds import fenchel_young_bound  # noqa: E402
from gpot.evaluation.certificate import assignment_gap  # noqa: E402
from gpot.evaluation.fidelity import Guard  # noqa: E402
from gpot.evaluation.known_truth import KnownTruth, Scores, Triples, known_truth  # noqa: E402
from gpot.evaluation.likelihood import log_det_error  # noqa: E402
from gpot.evaluation.potential import PotentialFit  # noqa: E402
from gpot.gp.base import GaussianPreserving  # noqa: E402
from gpot.gp.deep_ridge import DeepRidgeVelocity  # noqa: E402
from gpot.gp.flow import GaussianPreservingFlow  # noqa: E402
from gpot.gp.optimizer import Descent, optimizer_of  # noqa: E402
from gpot.gp.orthogonal import Rotation  # noqa: E402
from gpot.gp.rotation import fit_rotation  # noqa: E402
from gpot.gp.series import SeriesFlow  # noqa: E402
from gpot.gp.velocity import RidgeVelocity  # noqa: E402
from gpot.library.families import Training, family, training_of  # noqa: E402
from gpot.library.loop import descend  # noqa: E402
from gpot.library.pairs import Pairs  # noqa: E402
from gpot.maths.charts import Chart  # noqa: E402
from gpot.maths.costs import ControlledEuclidean, Cost, squared_euclidean  # noqa: E402

HELD_OUT = 4096
TOLERANCE, MAX_STEPS = 1e-3, 64
STYLES = ("-", "--", ":", "-.", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))  # of lines, one a method
_TIMED = 3


_LONG_RATE, _WIDE_RATE = 4e-3, 1e-2  # at the usual rate the weights of a long training grow until the grid is too fine
_MOST = 256  # neurons of each of two layers: their product is most of the work
METHODS = ("adam", "ridge", "deep_ridge", "series", "wide_series", "wide_deep_ridge", "twist")
GOALS = {2: 0.1, 4: 0.1, 8: 0.3, 16: 0.3, 32: 0.5, 64: 1.0, 128: 1.0}  # UVP in percent, in 15 CPU minutes


def method_of(name: str, pairs: Pairs) -> tuple[GaussianPreserving, Training, Cost]:
    """The map of a method with fresh weights, how it is trained, and the cost that it descends on."""
    dim = pairs.x.shape[1]
    if name == "adam":
        velocity = RidgeVelocity(dim, 128 if dim == 2 else 256)
        gp: GaussianPreserving = GaussianPreservingFlow(velocity, Chart.direct, 8)
        return gp, training_of(gp, Descent.adam), squared_euclidean
    if name == "wide_series":
        gp = SeriesFlow.of_ridges(dim, width=256)
        return gp, dataclasses.replace(training_of(gp), rate=_LONG_RATE), ControlledEuclidean.of(pairs.x)
    if name == "wide_deep_ridge":
        neurons = min(8 * dim, _MOST)
        gp = GaussianPreservingFlow(DeepRidgeVelocity(dim, neurons, neurons), Chart.direct, 4)
        return gp, dataclasses.replace(training_of(gp), rate=_WIDE_RATE), ControlledEuclidean.of(pairs.x)
    gp = family(name, dim)
    return gp, training_of(gp), ControlledEuclidean.of(pairs.x)


class Stopwatch:
    """Processor seconds since the start, less those of what is not to be counted."""

    def __init__(self) -> None:
        self.start, self.left_out = time.process_time(), 0.0

    def __call__(self) -> float:
        return time.process_time() - self.start - self.left_out

    def leave_out(self, call: Callable[[], Any]) -> Any:
        start = time.process_time()
        result = call()
        self.left_out += time.process_time() - start
        return result


def entry(scores: Scores) -> dict[str, float]:
    return {
        "uvp": scores.uvp.mean, "uvp_stderr": scores.uvp.stderr, "excess_percent": scores.excess_percent,
        "excess": scores.excess.mean, "optimal_cost": scores.optimal_cost,
    }  # fmt: skip


def pairs_of(train: Triples, held: Triples) -> Pairs:
    return Pairs(train.x, train.z, held.x, held.z, "known truth", 0)


def trained(
    truth: KnownTruth, method: str, pairs: Pairs, seen: Triples, seconds: float, bound_steps: int, seed: int
) -> dict[str, Any]:
    """One method on one problem: the curve and the map that was kept, with its scores and bounds."""
    torch.manual_seed(seed)
    watch = Stopwatch()
    gp, usual, cost = method_of(method, pairs)
    gp.set_rotation(fit_rotation(pairs.x, pairs.z))
    steps = watch.leave_out(lambda: int(seconds / step_seconds(gp, pairs, usual.batch)))
    curve: list[dict[str, Any]] = []

    def score(validation: Any) -> None:
        scores = watch.leave_out(lambda: entry(truth.scores(gp.transport, seen)))
        curve.append({"seconds": validation.seconds, "step": validation.step, "log_det_error": validation.log_det_error,
                      "n_steps": validation.n_steps, **scores})  # fmt: skip

    training = dataclasses.replace(usual, steps=max(steps, 20), pairs=len(pairs.x))
    guard, draws = Guard(gp, TOLERANCE, MAX_STEPS), torch.Generator().manual_seed(seed)
    # the rotation's seconds count
    course = descend(gp, pairs, cost, guard, training, draws, seconds, False, watch, score, patience=None)
    made = {"method": method, "seconds": watch(), "steps": curve[-1]["step"], "n_steps": gp.n_steps}
    bounds = bounded(gp, pairs, bound_steps, seed)
    return {**made, "ended": course.ended, "curve": curve, **finished(truth, gp, seen), **bounds}


def step_seconds(gp: GaussianPreserving, pairs: Pairs, size: int) -> float:
    """Processor seconds of a training step: the least of a few, on gradients that nothing takes."""
    optimizer, found = optimizer_of(gp, Descent.adam, 0.0), []
    for _ in range(_TIMED):
        start = time.process_time()
        optimizer.zero_grad()
        squared_euclidean(pairs.x[:size], gp.transport(pairs.z[:size])).mean().backward()
        optimizer.step()
        found.append(time.process_time() - start)
    optimizer.zero_grad()
    return min(found)


def finished(truth: KnownTruth, gp: GaussianPreserving, seen: Triples) -> dict[str, Any]:
    gp.requires_grad_(False)
    s = torch.cat([gp.transport(rows) for rows in seen.z.split(512)])
    cost = squared_euclidean(seen.x, s).mean().item()
    error = log_det_error(gp, seen.z[:512]).mean
    return {"cost": cost, "log_det_error": error, **entry(truth.scores(gp.transport, seen)),
            "certificate": assignment_gap(seen.x[:1024], s[:1024])}  # fmt: skip


def bounded(gp: GaussianPreserving, pairs: Pairs, steps: int, seed: int) -> dict[str, Any]:
    """The upper bound of the gap with its standard error, absolute; nothing with 0 steps."""
    if steps == 0:
        return {}
    with torch.no_grad():
        s, held = (torch.cat([gp.transport(rows) for rows in z.split(512)]) for z in (pairs.z, pairs.z_held))
    start = time.process_time()
    fit = PotentialFit(regression_steps=steps, steps=steps // 4)
    bound = fenchel_young_bound(pairs.x, s, pairs.x_held, held, fit, seed)
    return {"gap_upper": bound.mean, "gap_upper_stderr": bound.stderr, "bound_seconds": time.process_time() - start}


def rows_of(dim: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """All methods on the problem of one dimension."""
    scramble = options.scramble
    truth = known_truth(dim, options.potential, scramble, options.strength, options.seed)
    train, seen = truth.draw(options.pairs, options.seed + 1), truth.draw(HELD_OUT, options.seed + 2)
    pairs = pairs_of(train, seen)
    problem = {"dim": dim, "potential": options.potential, "scramble": scramble, "strength": options.strength,
               "seed": options.seed, "n_train": len(train.x), "goal": GOALS.get(dim)}  # fmt: skip
    errors = [log_det_error(part, torch.randn(256, part.dim)).mean for part in truth.parts]
    problem["log_det_error_of_h"] = sum(errors)
    rotation = Rotation(dim, fit_rotation(train.x, train.z))
    rows = [{**problem, "method": "rotation", "seconds": 0.0, "curve": [], **finished(truth, rotation, seen)}]
    for method in options.methods:
        if method == "twist" and (dim < 3 or scramble == "twist"):
            continue
        rows.append(problem | trained(truth, method, pairs, seen, options.seconds, options.bound_steps, options.seed))
        said = rows[-1]
        print(f"{dim:>4} {method:>9} UVP {said['uvp']:8.4f} %  above optimum {said['excess_percent']:8.4f} %  log-det "
              f"{said['log_det_error']:.1e}  {said['seconds']:.0f} s", flush=True)  # fmt: skip
    return rows


def problem_of(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a row from the others."""
    return tuple(row[key] for key in ("dim", "potential", "scramble", "strength", "seed", "method"))


def picture(result: dict[str, Any], out: Path) -> None:
    """UVP and cost above the optimum against CPU seconds, one colour a dimension, one line style a method."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    rows = [row for row in result["rows"] if row["curve"]]
    dims, methods = sorted({r["dim"] for r in rows}), list(dict.fromkeys(r["method"] for r in rows))
    figure, axes = plt.subplots(1, 2, figsize=(10.5, 4.2))
    for axis, key, label in zip(
        axes, ("uvp", "excess_percent"), ("L2-UVP, %", "cost above the optimum, %"), strict=True
    ):
        for row in rows:
            points = [(p["seconds"], p[key]) for p in row["curve"] if p["seconds"] > 0.5]
            style = STYLES[methods.index(row["method"]) % len(STYLES)]
            colour = plt.get_cmap("viridis")(dims.index(row["dim"]) / max(1, len(dims) - 1))
            axis.plot(*zip(*points, strict=True), ls=style, color=colour, lw=1.3)
        axis.set(xscale="log", yscale="log", xlabel="CPU seconds, one thread", ylabel=label)
    for index, dim in enumerate(dims):
        axes[0].plot([], [], color=plt.get_cmap("viridis")(index / max(1, len(dims) - 1)), label=f"d = {dim}")
    for index, method in enumerate(methods):
        axes[1].plot([], [], ls=STYLES[index % len(STYLES)], color="0.3", label=method)
    for axis in axes:
        axis.legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(out, dpi=110)
    print(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("outputs/bench/truth.json"))
    parser.add_argument("--picture", type=Path, help="draw the curves of --out into this file, and train nothing")
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 4, 8, 16, 32, 64, 128])
    parser.add_argument(
        "--methods", nargs="+", choices=METHODS, default=[m for m in METHODS if not m.startswith("wide")]
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="processor seconds of each training")
    parser.add_argument("--pairs", type=int, default=65_536, help="what a training draws its batches from")
    parser.add_argument("--potential", default="ridges")
    parser.add_argument("--scramble", default="field")
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--bound-steps", type=int, default=1000, help="0 leaves the upper bounds out")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.picture:
        picture(json.loads(options.out.read_text(encoding="utf-8")), options.picture)
        return
    torch.set_num_threads(1)
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    if options.out.exists():
        rows = {problem_of(row): row for row in json.loads(options.out.read_text(encoding="utf-8"))["rows"]}
    for dim in options.dims:
        rows |= {problem_of(row): row for row in rows_of(dim, options)}
        write_result(options.out, "truth", list(rows.values()), 1, seconds=options.seconds, tolerance=TOLERANCE)


if __name__ == "__main__":
    main()
