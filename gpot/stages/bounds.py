"""Stage `bounds`: between which numbers the optimum lies that a row's cost is held against. Stage `potential`: the
convex potential that proves it.

The upper number is the cost itself, since the row is a map between the two laws; the lower one is the cost less the
Fenchel-Young bound of its gap (:mod:`gpot.evaluation.bounds`). All rows after one frozen flow are maps between the same
two laws, so that one potential serves them all: it is fitted on the pairs of the flow after the best rotation, and
bounds the cost of each row on that row's own held-out pairs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gpot.config.choices import Source
from gpot.config.plain import plain
from gpot.config.schema import Config
from gpot.errors import BadConfig
from gpot.evaluation.bounds import bound_by, choose_potential
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.potential import Potential, PotentialFit
from gpot.maths.transport import procrustes
from gpot.paper.rows import Row
from gpot.stages.flow import load_flow, prior_pairs, push, split
from gpot.stages.held_out import HeldOut, law
from gpot.stages.maps import RowParts, in_chunks, map_of
from gpot.stages.points import points_by_rows
from gpot.stages.stage import Bench, Stage, generator
from gpot.training import families

_POTENTIAL = "potential.safetensors"


def potential_stage(config: Config, inputs: tuple[Stage, ...]) -> Stage:
    """The convex potential of a frozen flow's two laws, `potential.safetensors`."""
    settings = {
        "bounds": plain(config.bounds), "source": config.gp.source.value, "seed": config.seed,
        "flow": families.evaluation_settings(config.flow),
    }  # fmt: skip
    return Stage("potential", 1, config, settings, inputs, _fit, partly=("latents",), on_demand=True)


def _fit(bench: Bench) -> Mapping[str, Any]:
    start, config = time.process_time(), bench.config
    x, z = _pairs(bench)
    z = z @ procrustes(x, z).T
    drawn = time.process_time()
    bounds = config.bounds
    fit = PotentialFit(tuple(bounds.widths), bounds.regression_steps, bounds.steps, bounds.batch_size)
    potential = choose_potential(x, z, fit, config.seed)
    save_file(potential.state(), bench.folder / _POTENTIAL)
    fitted = time.process_time() - drawn
    return {
        "fitted": bool(potential.network.layers), "n_pairs": len(x),
        "cpu_seconds_pairs": drawn - start, "cpu_seconds_fit": fitted,
    }  # fmt: skip


def bounds_stage(config: Config, parts: RowParts, potential: Stage) -> Stage:
    """`optimum_lower`, `gap_upper` and its standard error, in the manifest, of a row that has a cost.

    The held-out pairs are those of the row's `cost` in `evaluate`.
    """
    if parts.row is Row.latent:
        raise BadConfig("codes that nothing maps have no cost to bound; ask for the bounds of a flow's row or a GP row")
    settings = {"law": law(config.gp, config.evaluate), "seed": config.seed, **parts.settings}
    return Stage("bounds", 1, config, settings, (*parts.stages, potential), _bound, partly=("latents",))


def _bound(bench: Bench) -> Mapping[str, Any]:
    start, config = time.process_time(), bench.config
    gp, seen = map_of(config, bench.inputs).gp, HeldOut.of(bench.inputs["held_out"])
    x, z = seen.x, in_chunks(gp.transport, seen.z, gp.rotation.device, "mapping held-out points")
    inside = torch.isfinite(z).all(1)
    bound = bound_by(Potential.of_state(bench.inputs["potential"].tensors(_POTENTIAL)), x[inside], z[inside])
    cost = cost_summary(x[inside], z[inside]).mean
    return {
        "optimum_lower": cost - bound.mean, "gap_upper": bound.mean / cost, "gap_upper_stderr": bound.stderr / cost,
        "cost": cost, "residual": bound.residual, "n_pairs": bound.n, "cpu_seconds": time.process_time() - start,
    }  # fmt: skip


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
