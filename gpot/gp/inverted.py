"""s^-1 of a Gaussian-preserving map s: it preserves the Gaussian too."""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.gp.base import GaussianPreserving


class Inverted(GaussianPreserving):
    """z -> s^-1(z), of `inner` s; its rotation comes last, so that `rotation` here is I.

    corrections: of the inverse of a discretized s; each raises its order.
    """

    def __init__(self, inner: GaussianPreserving, corrections: int = 2) -> None:
        super().__init__(inner.dim)
        self.inner, self.corrections = inner, corrections
        self.rotation = torch.eye(inner.dim).to(inner.rotation)

    @property
    def n_steps(self) -> int | None:  # type: ignore[override]
        """Of s."""
        return self.inner.n_steps

    def transport(self, z: Tensor) -> Tensor:
        """s^-1(z) (n, d)."""
        return self.inner.inverse(z, self.corrections)

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """s(s) (n, d): exact, whatever `refine`."""
        return self.inner.transport(s)

    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """-log|det s'| at s^-1(z) (n,), by automatic differentiation of s; no graph."""
        with torch.no_grad():
            before = self.transport(z)
        return -self.inner.exact_log_det(before, chunk)
