"""Stage `bounds`: between which numbers the optimum lies that a row's cost is held against. Stage `potential`: the
convex potential that proves it.

The upper number is the cost itself, since the row is a map between the two laws; the lower one is the cost less the
Fenchel-Young bound of its gap (:mod:`gpot.evaluation.bounds`). All rows after one frozen flow are maps between the same
two laws, so that one potential serves them all: it is fitted on pairs of one of the GP flows, or where a flow has none
on those after the best rotation, its conjugate is found once at the held-out points (stage `conjugates`), and the cost
of each row is bounded on that row's own pairs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from gpot.config.choices import Source
from gpot.config.plain import plain
from gpot.config.schema import BoundsConfig, Config, GpConfig
from gpot.errors import BadConfig
from gpot.evaluation.bounds import bound_by, choose_potential, conjugates_at
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.potential import Potential, PotentialFit
from gpot.maths.fenchel import Conjugates
from gpot.maths.transport import procrustes
from gpot.paper.rows import Row
from gpot.stages.evaluate import MOVED
from gpot.stages.flow import load_flow, prior_pairs, push, split
from gpot.stages.gp import load_gp
from gpot.stages.held_out import HeldOut
from gpot.stages.maps import moved_by
from gpot.stages.points import points_by_rows
from gpot.stages.stage import Bench, Stage, generator
from gpot.training import families

_POTENTIAL, _CONJUGATES = "potential.safetensors", "conjugates.safetensors"


def potential_stage(config: Config, inputs: tuple[Stage, ...], guide: Stage | None) -> Stage:
    """The convex potential of a frozen flow's two laws, `potential.safetensors`.

    guide: a GP flow after it, whose pairs the potential is fitted on; None: those of the best rotation. All pairs of
    these laws have the same best potential, and the nearer they are to the best pairs, the less noise a batch has:
    u(z) - u(a) is small where z is near the argmax a.
    """
    settings = {
        "bounds": plain(config.bounds), "source": config.gp.source.value, "seed": config.seed,
        "flow": families.evaluation_settings(config.flow),
    }  # fmt: skip
    made = partial(_fit, None if guide is None else guide.config.gp)
    inputs = inputs if guide is None else (*inputs, guide)
    return Stage("potential", 3, config, settings, inputs, made, partly=("latents",), on_demand=True)


def fit_of(bounds: BoundsConfig) -> PotentialFit:
    """How the settings say that a potential is fitted."""
    sizes = bounds.groups, bounds.pieces, bounds.regression_steps, bounds.steps, bounds.batch_size
    return PotentialFit(*sizes, lr=bounds.lr)


def _fit(guide: GpConfig | None, bench: Bench) -> Mapping[str, Any]:
    start, config = time.process_time(), bench.config
    x, z = _pairs(bench)
    if guide is None:
        s = z @ procrustes(x, z).T
    else:
        gp = load_gp(guide, config.dataset.dim, bench.inputs["gp"]).to(config.device.first)
        s = moved_by(gp, z, "moving the pairs of a potential")
    inside = s.isfinite().all(1)  # the rest came to the wall of the cube
    drawn = time.process_time()
    potential = choose_potential(x[inside], s[inside], fit_of(config.bounds), config.seed)
    save_file(potential.state(), bench.folder / _POTENTIAL)
    fitted = time.process_time() - drawn
    return {
        "fitted": not potential.base.is_quadratic, "n_pairs": int(inside.sum()), "escaped": int((~inside).sum()),
        "cpu_seconds_pairs": drawn - start, "cpu_seconds_fit": fitted,
    }  # fmt: skip


def conjugates_stage(inputs: tuple[Stage, ...]) -> Stage:
    """The argmax of the potential's conjugate at each held-out point, `conjugates.safetensors`: what the bounds of all
    rows after a flow share."""
    return Stage("conjugates", 1, inputs[0].config, {}, inputs, _conjugates, on_demand=True)


def _conjugates(bench: Bench) -> Mapping[str, Any]:
    start = time.process_time()
    reached = conjugates_at(_potential(bench), HeldOut.of(bench.inputs["held_out"]).x)
    save_file({"points": reached.points, "residual": reached.residual, "gap": reached.gap}, bench.folder / _CONJUGATES)
    return {"residual": reached.residual.max().item(), "cpu_seconds": time.process_time() - start}


def bounds_stage(row: Row, inputs: tuple[Stage, ...]) -> Stage:
    """`optimum_lower`, `gap_upper` and its standard error, in the manifest, of a row that has a cost.

    The held-out pairs are those of the row's `cost`, as its evaluation left them.
    """
    if row is Row.latent:
        raise BadConfig("codes that nothing maps have no cost to bound; ask for the bounds of a flow's row or a GP row")
    return Stage("bounds", 2, inputs[0].config, {}, inputs, _bound)


def _bound(bench: Bench) -> Mapping[str, Any]:
    start = time.process_time()
    x, s = HeldOut.of(bench.inputs["held_out"]).x, bench.inputs["evaluate"].tensors(MOVED)["s"]
    inside = s.isfinite().all(1)
    reached = Conjugates(**{name: of[inside] for name, of in bench.inputs["conjugates"].tensors(_CONJUGATES).items()})
    bound = bound_by(_potential(bench), x[inside], s[inside], reached)
    cost = cost_summary(x[inside], s[inside]).mean
    return {
        "optimum_lower": cost - bound.mean, "gap_upper": bound.mean / cost, "gap_upper_stderr": bound.stderr / cost,
        "cost": cost, "residual": bound.residual, "n_pairs": bound.n, "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


def _potential(bench: Bench) -> Potential:
    return Potential.of_state(bench.inputs["potential"].tensors(_POTENTIAL))


def _pairs(bench: Bench) -> tuple[Tensor, Tensor]:
    """Pairs (x, f(x)) of the law that GP flows learn from, apart from the held-out ones."""
    config = bench.config
    flow, n = load_flow(config, bench.inputs["flow"]), config.bounds.n_train
    if config.gp.source is Source.prior:
        x, z, _ = prior_pairs(flow, n, generator(config.seed, 6), "pulling prior samples back for a bound")
        return x, z
    points = points_by_rows(bench)
    x = points.read(split(points.n)[0][:n])
    return x, push(flow, x)
