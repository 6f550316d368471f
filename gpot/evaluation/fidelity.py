"""The Gaussian is kept: what a training of a Gaussian-preserving map measures, refines, refuses and keeps.

The objective pays for a map that does not keep the Gaussian: an optimizer that is let free finds the integrator's error
and goes below the floor of the cost. So the exact log-determinant error is measured on held-out points at each
validation. Above the tolerance the time grid is refined by half as many steps again; a validation above the tolerance
is never kept; when the finest grid is above it too, training stops.

Nothing here knows how the training is run: the callbacks of the experiments and `gpot.fit` use the same code.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gpot.errors import FidelityLost
from gpot.evaluation.likelihood import LogDetError, log_det_error
from gpot.gp.base import GaussianPreserving


@dataclass(frozen=True)
class Words:
    """How a caller spells its settings, for the advice in errors."""

    tolerance: str = "tolerance"
    max_steps: str = "max_steps"
    n_steps: str = "n_steps"
    rate: str = "the learning rate"
    length: str = "epochs"
    chart: str = 'chart="gaussian"'


@dataclass(frozen=True)
class Fidelity:
    """One measurement: the log-determinant error in nats, and how many particles left the domain."""

    error: LogDetError
    escaped: float


class Guard:
    """The rule by which a grid is refined and a validation kept.

    Arguments:
        gp: the map.
        tolerance: mean absolute log-determinant error, nats.
        max_steps: finest grid.
    Attributes:
        refinements: how often the grid was refined.
        within: whether the last measurement kept the Gaussian.
    """

    def __init__(self, gp: GaussianPreserving, tolerance: float, max_steps: int, words: Words | None = None) -> None:
        self.gp, self.tolerance, self.max_steps = gp, tolerance, max_steps
        self.words = words or Words()
        self.refinements = 0
        self.within = True

    def measure(self, z: Tensor) -> Fidelity:
        """The exact log-determinant error of the map as it is, and its lost particles, at z (n, d)."""
        return Fidelity(log_det_error(self.gp, z), float(self.gp.escaped(z)))

    def judge(self, fidelity: Fidelity, when: str) -> str | None:
        """None where the law holds; otherwise the grid is refined, and the sentence that says so is returned.

        when: the moment, for that sentence. Raises: FidelityLost where the grid cannot be refined.
        """
        error, escaped, words = fidelity.error, fidelity.escaped, self.words
        self.within = escaped == 0 and error.mean <= self.tolerance
        if self.within:
            return None
        state = (
            f"{when}: mean log-determinant error {error.mean:.2e} nats with "
            f"{self.gp.n_steps or 'no'} steps (tolerance {self.tolerance:.1e}), {escaped:.0f} particles out of domain"
        )
        refine = getattr(self.gp, "refine", None)
        if refine is None or self.gp.n_steps is None:
            raise FidelityLost(
                f"the map must preserve the Gaussian to rounding; {state}. Lower {words.rate}, or accept less with "
                f"{words.tolerance}.",
                advice={"lr": ..., "Guard.tolerance": ...},
            )
        if self.gp.n_steps >= self.max_steps:
            raise FidelityLost(
                f"the discretized GP flow must preserve the Gaussian; {state}, and {words.max_steps}={self.max_steps} "
                f"forbids a finer grid. Raise {words.max_steps}, take {words.chart}, lower {words.rate}, or accept "
                f"less with {words.tolerance}.",
                advice={
                    "Guard.max_steps": ..., "GaussianPreservingFlow.chart": "gaussian",
                    "lr": ..., "Guard.tolerance": ...,
                },
            )  # fmt: skip
        refine(min(self.max_steps, self.gp.n_steps + max(1, self.gp.n_steps // 2)))
        self.refinements += 1
        return f"{state}: refined to {self.gp.n_steps} steps"

    def nothing_kept(self) -> FidelityLost:
        """The error where no validation was within tolerance."""
        words = self.words
        steps = {"GaussianPreservingFlow.n_steps": self.gp.n_steps} if self.gp.n_steps else {}
        finer = f"Set {words.n_steps}={self.gp.n_steps}, train" if self.gp.n_steps else "Train"
        return FidelityLost(
            f"the result is a validation that preserves the Gaussian to {self.tolerance:.1e} nats, and none did; the "
            f"grid was refined {self.refinements} times. {finer} for longer ({words.length}), or accept less with "
            f"{words.tolerance}.",
            advice=steps | {"length": ..., "Guard.tolerance": ...},
        )


class Best:
    """The lowest value of what is minimized, among the validations that may be kept."""

    def __init__(self) -> None:
        self.value = float("inf")
        self.at = -1

    def offer(self, value: float, at: int, eligible: bool = True) -> bool:
        """Whether this validation is to be kept: eligible, and lower than all before (NaN never is)."""
        if not eligible or not value < self.value:
            return False
        self.value, self.at = value, at
        return True
