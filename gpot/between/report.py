"""What a fit of a map between two flows says of itself, on held-out points."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.between.maps import MongeBetween
from gpot.errors import BadInput
from gpot.evaluation.certificate import certificate
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.estimate import Estimate
from gpot.evaluation.likelihood import LogDetError, log_det_error
from gpot.evaluation.optimum import discrete_optimum
from gpot.maths.costs import Cost

BATCH = 512  # pairs of an exchange certificate
EXACT = 512  # points of the exact log-determinant and of the round trip


@dataclass(frozen=True)
class BetweenReport:
    """Costs E c(x, T(x)) with s = I, with the rotation alone, with s; the least cost of the same clouds; fidelity.

    optimum: exact discrete transport between the clouds {x} and {T(x)}; gap: the certificate by exchange, over batches
    of 512 pairs; independent: exact discrete transport between two independent draws of the models of P and of Q, which
    knows nothing of T (its bias is upward); round_trip: mean |T^-1(T(x)) - x|; lost: rows without an image among n.
    """

    n: int
    lost: int
    cost_start: float
    cost_rotation: float
    cost: Estimate
    optimum: float
    independent: float
    gap: Estimate
    logdet_error: LogDetError
    round_trip: float
    n_steps: int | None
    seconds: float

    def __str__(self) -> str:
        rows = [
            ("cost, g^-1 o f", f"{self.cost_start:.4g}"),
            ("cost, rotation", f"{self.cost_rotation:.4g}"),
            ("cost, g^-1 o s o f", str(self.cost)),
            ("optimum of the same points", f"{self.optimum:.4g}"),
            ("optimum of independent draws", f"{self.independent:.4g}"),
            ("gap by exchange", f"{100 * self.gap.mean:.2f} ± {100 * self.gap.stderr:.1g} %"),
            ("log-det error, mean, max", f"{self.logdet_error.mean:.1e}, {self.logdet_error.max:.1e} nats"),
            ("round trip", f"{self.round_trip:.1e}"),
            ("rows without an image", f"{self.lost} of {self.n}"),
            ("seconds", f"{self.seconds:.0f}"),
        ]
        return "\n".join(f"{name:<30}{value}" for name, value in rows)


@torch.no_grad()
def measure(
    map_: MongeBetween, z: Tensor, other: Tensor, cost: Cost, before: tuple[float, float], seconds: float
) -> BetweenReport:
    """The report of T on z, other (n, d), independent draws of N(0, I) that took no part in the fit; `before`: the
    costs with s = I and with the rotation."""
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
