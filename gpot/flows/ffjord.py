"""FFJORD as a flow of gpot."""

from __future__ import annotations

from torch import Tensor, nn

from gpot.flows.base import require_shape
from third_party.ffjord import FFJORD


class FFJORDFlow(nn.Module):
    """Adapter of `third_party.ffjord.FFJORD`: checked inputs, exact divergence. The model stays the attribute `model`,
    with which the state dict has the released names, and a trained flow can be solved more finely (`model.n_steps`).
    """

    def __init__(self, model: FFJORD) -> None:
        super().__init__()
        self.dim = model.dim
        self.model = model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,)."""
        return self.model(require_shape(x, self, self.dim), divergence="exact")

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x) without the log-determinant."""
        return self.model.transform(require_shape(x, self, self.dim))

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z), (n, d)."""
        return self.model.inverse(require_shape(z, self, self.dim))
