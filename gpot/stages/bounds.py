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
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from gpot.config.choices import Source
from gpot.config.schema import Config
from gpot.errors import BadConfig
from gpot.evaluation.bounds import bound_by, choose_potential
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.potential import Potential, PotentialFit
from gpot.maths.transport import procrustes
from gpot.paper.rows import Row
from gpot.stages import families
from gpot.stages.common import Recipe, generator, obtain
from gpot.stages.evaluate import artifacts_of, chain_of, held_out
from gpot.stages.flow import flow_stage, load_flow, prior_pairs, push, split
from gpot.stages.plain import plain
from gpot.stages.points import points_of, points_stage
from gpot.store import Artifact, Store

_POTENTIAL = "potential.safetensors"


def potential_stage(config: Config, store: Store) -> Artifact:
    """The convex potential of a frozen flow's two laws, `potential.safetensors`."""
    flow = flow_stage(config, store, "potential")
    inputs = {"flow": flow.key}
    points = points_stage(config, store, "potential") if config.gp.source is Source.data else None
    if points is not None:
        inputs[points.stage] = points.key
    settings = {
        "bounds": plain(config.bounds), "source": config.gp.source.value, "seed": config.seed,
        "flow": families.evaluation_settings(config.flow),
    }  # fmt: skip

    def build(folder: Path) -> Mapping[str, Any]:
        start = time.process_time()
        x, z = _pairs(config, flow, points)
        z = z @ procrustes(x, z).T
        drawn = time.process_time()
        bounds = config.bounds
        fit = PotentialFit(tuple(bounds.widths), bounds.regression_steps, bounds.steps, bounds.batch_size)
        potential = choose_potential(x, z, fit, config.seed)
        save_file(potential.state(), folder / _POTENTIAL)
        fitted = time.process_time() - drawn
        return {
            "fitted": bool(potential.network.layers), "n_pairs": len(x),
            "cpu_seconds_pairs": drawn - start, "cpu_seconds_fit": fitted,
        }  # fmt: skip

    return obtain(
        Recipe("potential", 1, settings, inputs), config, store, build,
        needed_by=None, command="python scripts/report.py",
    )  # fmt: skip


def bounds_stage(config: Config, store: Store, row: Row) -> Artifact:
    """`optimum_lower`, `gap_upper` and its standard error, in the manifest, of a row that has a cost.

    The held-out pairs are those of the row's `cost` in `evaluate`.
    """
    if row is Row.latent:
        raise BadConfig("codes that nothing maps have no cost to bound; ask for the bounds of a flow's row or a GP row")
    made = artifacts_of(config, store, row, "bounds")
    potential = potential_stage(config, store)
    inputs = {stage: artifact.key for stage, artifact in (made | {"potential": potential}).items()}
    settings: dict[str, Any] = {"row": row.value, "law": _held_out_law(config), "seed": config.seed}
    settings["flow"] = families.evaluation_settings(config.flow)
    if row is Row.rotation:
        settings["gp"] = {"chart": config.gp.chart.value, "rotation": config.gp.rotation.value}

    def build(folder: Path) -> Mapping[str, Any]:
        start = time.process_time()
        chain = chain_of(config, made)
        assert chain.flow is not None
        if config.gp.source is Source.prior:
            what = "pulling held-out prior samples back"
            x = prior_pairs(chain.flow, config.evaluate.n_prior, generator(config, 2), what)[0]
        else:
            x = held_out(config, points_of(next(iter(made.values()))))
        z = chain.codes(x, "mapping held-out points")
        inside = torch.isfinite(z).all(1)
        bound = bound_by(Potential.of_state(potential.tensors(_POTENTIAL)), x[inside], z[inside])
        cost = cost_summary(x[inside], z[inside]).mean
        return {
            "optimum_lower": cost - bound.mean, "gap_upper": bound.mean / cost, "gap_upper_stderr": bound.stderr / cost,
            "cost": cost, "residual": bound.residual, "n_pairs": bound.n, "cpu_seconds": time.process_time() - start,
        }  # fmt: skip

    return obtain(
        Recipe("bounds", 1, settings, inputs), config, store, build,
        needed_by=None, command="python scripts/report.py",
    )  # fmt: skip


def _held_out_law(config: Config) -> dict[str, Any]:
    law: dict[str, Any] = {"source": config.gp.source.value}
    if config.gp.source is Source.prior:
        return law | {"n_prior": config.evaluate.n_prior}
    return law | {"n_data": config.evaluate.n_data, "n_validation": config.gp.n_validation}


def _pairs(config: Config, flow: Artifact, points: Artifact | None) -> tuple[Tensor, Tensor]:
    """Pairs (x, f(x)) of the law that GP flows learn from, apart from the held-out ones."""
    frozen, n = load_flow(config, flow), config.bounds.n_train
    if points is None:
        x, z, _ = prior_pairs(frozen, n, generator(config, 6), "pulling prior samples back for a bound")
        return x, z
    data = points_of(points)
    x = data[split(len(data))[0][:n]]
    return x, push(frozen, x)
