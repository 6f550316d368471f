"""What a fitted map says of itself, measured when it is asked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gpot.errors import InverseNotAvailable
from gpot.evaluation.certificate import certificate
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.estimate import Estimate
from gpot.evaluation.likelihood import LogDetError, logdet_error
from gpot.flows.base import FrozenFlow
from gpot.gp.base import GaussianPreserving
from gpot.maths.costs import Cost

_BATCH = 512  # pairs of one exchange certificate
_CORRECTIONS = 3  # of the inverse of a discretized s


@dataclass(frozen=True)
class Report:
    """Costs E c(x, .) of f, of Q o f and of s o f over the same points; exchange: by how much other pairings of these
    points would be cheaper (0 for a Monge map); density: the log-determinant error of s, nats; log_det_of_f: that of
    f itself, on a few rows; round_trip: largest |T^-1(T(x)) - x|, or None without an inverse. points: how many, and
    where from."""

    before: Estimate
    rotation: Estimate
    after: Estimate
    exchange: Estimate
    density: LogDetError
    log_det_of_f: float | None
    round_trip: float | None
    points: int
    source: str
    seconds: float
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON; what is not known is None."""

        def plain(value: Any) -> Any:
            if isinstance(value, dict):
                return {key: plain(part) for key, part in value.items()}
            return None if isinstance(value, float) and not math.isfinite(value) else value

        return {key: plain(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        saved = self.before.mean - self.after.mean
        share = f", {saved / self.before.mean:.0%} less than before" if self.before.mean > 0 else ""
        lines = [
            f"cost before           {self.before}   ({self.points} points, {self.source})",
            f"cost after rotation   {self.rotation}",
            f"cost after            {self.after}{share}",
            f"exchange certificate  {self.exchange.mean:.2%}   (by how much another pairing would be cheaper)",
            f"log-det error of s    {self.density.mean:.1e} nats on average, {self.density.max:.1e} at most",
        ]
        if self.log_det_of_f is not None:
            lines.append(f"log-det error of f    {self.log_det_of_f:.1e} nats at most, on a few rows")
        lines += [
            "round trip            " + ("no inverse" if self.round_trip is None else f"{self.round_trip:.1e} at most"),
            f"time                  {self.seconds:.1f} s",
            *(f"note: {note}" for note in self.notes),
        ]
        return "\n".join(lines)


@torch.no_grad()
def measure(
    flow: FrozenFlow, gp: GaussianPreserving, x: Tensor, z: Tensor, cost: Cost, *, source: str, seconds: float,
    notes: tuple[str, ...], log_det_of_f: float | None,
) -> Report:  # fmt: skip
    """The report of s o f on pairs x, z = f(x) that no training has seen."""
    s = gp.transport(z)
    few = slice(0, min(len(x), _BATCH))
    try:
        back = flow.inverse(gp.inverse(s[few], refine=_CORRECTIONS))
        round_trip: float | None = (back - x[few]).abs().max().item()
    except InverseNotAvailable:
        round_trip = None
    batch = min(_BATCH, len(x))
    return Report(
        before=cost_summary(x, z, cost),
        rotation=cost_summary(x, z @ gp.rotation.T, cost),
        after=cost_summary(x, s, cost),
        exchange=certificate(x, s, batch, max(1, min(4, len(x) // batch)), torch.Generator().manual_seed(0), cost),
        density=logdet_error(gp, z[few]),
        log_det_of_f=log_det_of_f,
        round_trip=round_trip,
        points=len(x),
        source=source,
        seconds=seconds,
        notes=notes,
    )
