"""BNAF as a flow of gpot."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from gpot.errors import BadConfig, InverseNotAvailable
from gpot.flows.base import require_shape
from third_party.bnaf import BNAF, Inversion

INVERSES = ("bisection", "none")


class BNAFFlow(nn.Module):
    """Adapter of `third_party.bnaf.BNAF`: checked inputs, and the choice of an inverse. The model stays the attribute
    `model`, with which the state dict has the released names.

    inverse: "bisection", one bracketed root finding per coordinate, with `tolerance` on x and at most `max_iterations`
    evaluations each (ours); or "none", as in the paper.
    """

    onto = False  # Gaussian samples outside its image have no preimage: rows of NaN

    def __init__(
        self,
        model: BNAF,
        inverse: Literal["bisection", "none"] = "bisection",
        tolerance: float = 1e-6,
        max_iterations: int = 100,
    ) -> None:
        super().__init__()
        if inverse not in INVERSES:
            raise BadConfig(f"an inverse of BNAF is one of {', '.join(INVERSES)}, got '{inverse}'. Type one of them.")
        if not tolerance > 0 or max_iterations < 1:
            raise BadConfig(
                f"BNAF's inverse needs tolerance > 0 and max_iterations >= 1, got {tolerance} and {max_iterations}. "
                "Take tolerance=1e-6.",
                advice={"BNAFFlow.tolerance": 1e-6},
            )
        self.dim = model.dim
        self.model = model
        self.inverse_method, self.tolerance, self.max_iterations = inverse, tolerance, max_iterations

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,)."""
        return self.model(require_shape(x, self, self.dim))

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x) without the log-determinant."""
        return self.model.transform(require_shape(x, self, self.dim))

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z), (n, d). f is not onto: a z outside its image is a row of NaN, for the caller to count."""
        return self.invert(z).x

    def invert(self, z: Tensor) -> Inversion:
        """f^-1(z) with what was found of each row: `x`, `converged`, `residual`, `iterations`. Without gradients."""
        if self.inverse_method == "none":
            raise InverseNotAvailable(
                'f^-1 of BNAF was asked for, and this flow has inverse="none". Build it with inverse="bisection".',
                advice={"BNAFFlow.inverse": "bisection"},
            )
        return self.model.invert(require_shape(z, self, self.dim), self.tolerance, self.max_iterations)
