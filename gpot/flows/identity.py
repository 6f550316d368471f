"""The flow that moves nothing: that of N(0, I) itself, and of codes that no flow has moved.

With it as the target a map between two flows is the paper's map to the Gaussian.
"""

from __future__ import annotations

from torch import Tensor, nn


class IdentityFlow(nn.Module):
    """z = x, (n, d): no parameters, log-determinant 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x itself, and zeros (n,)."""
        return x, x.new_zeros(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        """z itself."""
        return z
