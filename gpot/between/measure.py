"""Measures a map between two flows on held-out points."""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.between.maps import MongeBetween
from gpot.between.report import BetweenReport
from gpot.errors import BadInput
from gpot.evaluation.certificate import certificate
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.likelihood import log_det_error
from gpot.evaluation.optimum import discrete_optimum
from gpot.gp.inverted import Inverted
from gpot.maths.costs import Cost, as_cost

BATCH = 512  # pairs of an exchange certificate
EXACT = 512  # points of the exact log-determinant and of the round trip


@torch.no_grad()
def measure(
    map_: MongeBetween, z: Tensor, other: Tensor, cost: Cost, before: tuple[float, float], seconds: float
) -> BetweenReport:
    """The report of T on draws of N(0, I) that took no part in the fit.

    Arguments:
        map_: T.
        z, other: independent draws, shape (n, d).
        cost: c of a displacement.
        before: the costs with s = I and with the rotation.
        seconds: of the fit.
    """
    x, y = map_.source.inverse(z), map_.target.inverse(map_.gp.transport(z))
    kept = (x.isfinite() & y.isfinite()).all(1)
    if int(kept.sum()) < BATCH:
        raise BadInput(f"a report needs {BATCH} pairs, and {int(kept.sum())} of {len(z)} points have an image")
    x, y = x[kept], y[kept]
    drawn = map_.target.inverse(other)
    drawn = drawn[drawn.isfinite().all(1)]
    generator = torch.Generator().manual_seed(0)
    back = (map_.inverse(y[:EXACT], refine=2) - x[:EXACT]).norm(dim=1)
    return BetweenReport(
        n=len(z), lost=int((~kept).sum()), cost_start=before[0], cost_rotation=before[1], cost=cost_summary(x, y, cost),
        optimum=discrete_optimum(x, y, cost), independent=discrete_optimum(x, drawn, cost),
        gap=certificate(x, y, BATCH, max(1, len(x) // BATCH), generator, cost),
        logdet_error=log_det_error(map_.gp, z[:EXACT]), round_trip=back[back.isfinite()].mean().item(),
        n_steps=map_.gp.n_steps, seconds=seconds,
    )  # fmt: skip


@torch.no_grad()
def measured(
    map_: MongeBetween, n: int = 2048, cost: str | Cost | None = None, seed: int = 1, seconds: float = 0.0
) -> BetweenReport:
    """The report of any map between two flows on draws of its own. The start is s = I, and the rotation the one after
    which s moves: of a reversed map its inverse.

    Arguments:
        map_: T.
        n: draws of the source.
        cost: |x - y|^2 by default; a name or a function.
        seed: of the draws.
        seconds: what the report says of the time of the fit.
    """
    chosen = as_cost(cost)
    generator = torch.Generator().manual_seed(seed)
    z, other = torch.randn(2, n, map_.dim, generator=generator).to(map_.gp.rotation)
    turn = map_.gp.inner.rotation.T if isinstance(map_.gp, Inverted) else map_.gp.rotation
    x = map_.source.inverse(z)
    before = []
    for y in (map_.target.inverse(z), map_.target.inverse(z @ turn.T)):
        rows = (x.isfinite() & y.isfinite()).all(1)
        before.append(chosen(x[rows], y[rows]).mean().item())
    return measure(map_, z, other, chosen, (before[0], before[1]), seconds)
