"""What a fit of a map between two flows says of itself, on held-out points."""

from __future__ import annotations

from dataclasses import dataclass

from gpot.evaluation.estimate import Estimate
from gpot.evaluation.likelihood import LogDetError


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
