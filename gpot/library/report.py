"""What a fitted map says of itself, measured when it is asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gpot.errors import InverseNotAvailable
from gpot.evaluation.bounds import GapBound, fenchel_young_bound
from gpot.evaluation.certificate import certificate
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.estimate import Estimate
from gpot.evaluation.likelihood import LogDetError, log_det_error, nll
from gpot.evaluation.potential import PotentialFit
from gpot.flows.base import FrozenFlow
from gpot.gp.base import GaussianPreserving
from gpot.jsonable import jsonable
from gpot.library.units import Units
from gpot.maths.costs import Cost, Euclidean

_BATCH = 512  # pairs of one exchange certificate
_FEWEST_OF_BOUND = 100  # pairs on each side, below which no potential is fitted
BOUND = PotentialFit(groups=8, pieces=32, regression_steps=600, steps=400, batch_size=512)  # some seconds
_CORRECTIONS = 3  # of the inverse of a discretized s


@dataclass(frozen=True)
class Report:
    """Costs E c(x, .) of f, of Q o f and of s o f over the same points; exchange: by how much other pairings of these
    points would be cheaper (0 for a Monge map); bound: by how much the cost exceeds that of the Monge map between the
    same laws, at most (Fenchel-Young), None for another cost than |x - y|^2 or where it was not asked for; nll: -log p
    of a few rows; density: the log-determinant error of s, nats; log_det_of_f: that of f itself, on a few rows;
    round_trip: largest |T^-1(T(x)) - x|, or None without an inverse. points: how many, and where from. For a flow of
    standardized columns the costs are of these, nll is in the units of the data, and `units` has the rest in them."""

    before: Estimate
    rotation: Estimate
    after: Estimate
    exchange: Estimate
    bound: GapBound | None
    nll: Estimate
    density: LogDetError
    log_det_of_f: float | None
    round_trip: float | None
    points: int
    source: str
    seconds: float
    notes: tuple[str, ...]
    units: InUnits | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; what is not known is None."""
        return {key: jsonable(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        saved = self.before.mean - self.after.mean
        share = f", {saved / self.before.mean:.0%} less than before" if self.before.mean > 0 else ""
        lines = [
            f"cost before           {self.before}   ({self.points} points, {self.source})",
            f"cost after rotation   {self.rotation}",
            f"cost after            {self.after}{share}",
            f"exchange certificate  {self.exchange.mean:.2%}   (by how much another pairing would be cheaper)",
            f"negative log-density  {self.nll} nats" + ("" if self.units is None else ", in the units of the data"),
            f"log-det error of s    {self.density.mean:.1e} nats on average, {self.density.max:.1e} at most",
        ]
        if self.bound is not None:
            share = f" ({self.bound.mean / self.after.mean:.1%})" if self.after.mean > 0 else ""
            above = f"{self.bound.mean:.2g} ± {self.bound.stderr:.1g}{share}"
            lines.insert(4, f"above the optimum by   {above} at most: no map between these laws costs less than "
                            f"{self.after.mean - self.bound.mean:.4g}")  # fmt: skip
        if self.log_det_of_f is not None:
            lines.append(f"log-det error of f    {self.log_det_of_f:.1e} nats at most, on a few rows")
        lines += [
            "round trip            " + ("no inverse" if self.round_trip is None else f"{self.round_trip:.1e} at most"),
            f"time                  {self.seconds:.1f} s",
            *(f"note: {note}" for note in self.notes),
        ]
        if self.units is not None:
            lines += ["", str(self.units)]
        return "\n".join(lines)


@dataclass(frozen=True)
class Column:
    """One column in its own unit: mean, standard deviation, and the root mean square of its moves under f and s o f."""

    name: str
    mean: float
    std: float
    before: float
    after: float


@dataclass(frozen=True)
class InUnits:
    """Costs E c(x, mean + scale f) and E c(x, mean + scale s), x as the data are; and each column."""

    before: Estimate
    after: Estimate
    columns: tuple[Column, ...]

    def __str__(self) -> str:
        width = max(6, *(len(column.name) for column in self.columns))
        title = f"{'column':<{width}}  {'mean':>11}  {'std':>11}  {'moved by f':>11}  {'by s o f':>11}   (rms)"
        rows = [
            f"{c.name:<{width}}  {c.mean:>11.5g}  {c.std:>11.5g}  {c.before:>11.5g}  {c.after:>11.5g}"
            for c in self.columns
        ]
        return "\n".join([f"in the units of the data: cost before {self.before}, after {self.after}", title, *rows])


def in_units(units: Units, u: Tensor, z: Tensor, s: Tensor, cost: Cost) -> InUnits:
    """Costs and moves of u under f (z) and under s o f (s), (n, d) each, in the units of the data."""
    x, moved, best = (units.leave(part) for part in (u, z, s))
    rms = [((x - part) ** 2).mean(0).sqrt().tolist() for part in (moved, best)]
    names = units.names or tuple(f"x{k}" for k in range(u.shape[1]))
    mean, std = units.standardization.mean.tolist(), units.standardization.scale.tolist()
    columns = tuple(Column(*row) for row in zip(names, mean, std, *rms, strict=True))
    return InUnits(Estimate.of(cost(x, moved)), Estimate.of(cost(x, best)), columns)


def upper_bound(x: Tensor, s: Tensor, cost: Cost, fit: PotentialFit) -> GapBound | None:
    """By how much the cost of pairs (x, s) exceeds the optimum, at most: the potential is fitted on half of them."""
    half = len(x) // 2
    if not isinstance(cost, Euclidean) or half < _FEWEST_OF_BOUND:
        return None
    with torch.enable_grad():
        return fenchel_young_bound(x[:half], s[:half], x[half:], s[half:], fit)


@torch.no_grad()
def measure(
    flow: FrozenFlow, gp: GaussianPreserving, x: Tensor, z: Tensor, cost: Cost, *, source: str, seconds: float,
    notes: tuple[str, ...], log_det_of_f: float | None, bound: PotentialFit | None = None, units: Units | None = None,
) -> Report:  # fmt: skip
    """The report of s o f on pairs x, z = f(x) that no training has seen. bound: how its potential is fitted."""
    s = gp.transport(z)
    few = slice(0, min(len(x), _BATCH))
    try:
        back = flow.inverse(gp.inverse(s[few], refine=_CORRECTIONS))
        round_trip: float | None = (back - x[few]).abs().max().item()
    except InverseNotAvailable:
        round_trip = None
    batch = min(_BATCH, len(x))
    density = nll(*flow(x[few]))
    if units is not None:
        density = Estimate(density.mean - units.log_det, density.stderr)
    return Report(
        before=cost_summary(x, z, cost),
        rotation=cost_summary(x, z @ gp.rotation.T, cost),
        after=cost_summary(x, s, cost),
        exchange=certificate(x, s, batch, max(1, min(4, len(x) // batch)), torch.Generator().manual_seed(0), cost),
        bound=None if bound is None else upper_bound(x, s, cost, bound),
        nll=density,
        density=log_det_error(gp, z[few]),
        log_det_of_f=log_det_of_f,
        round_trip=round_trip,
        points=len(x),
        source=source,
        seconds=seconds,
        notes=notes,
        units=None if units is None else in_units(units, x, z, s, cost),
    )
