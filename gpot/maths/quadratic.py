r"""The quadratic part that convex functions of this package share.

.. math:: q(z) = \tfrac12 |C^\top z|^2 + \tfrac{\alpha}{2} |z|^2 + \langle c, z \rangle, \qquad
          \nabla^2 q = C C^\top + \alpha

Symbols: `z` (n, d), rows are particles.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.errors import BadInput


@dataclass(frozen=True)
class Quadratic:
    """q above. root: C (d, d). linear: c (d,). modulus: alpha, above 0, that of q's strong convexity."""

    root: Tensor
    linear: Tensor
    modulus: float

    def __post_init__(self) -> None:
        if not self.modulus > 0.0:
            raise BadInput(f"a potential has a modulus of strong convexity above 0, and got {self.modulus}")

    def quadratic_value(self, z: Tensor) -> Tensor:
        """q(z), (n,)."""
        return 0.5 * ((z @ self.root) ** 2).sum(1) + 0.5 * self.modulus * (z**2).sum(1) + z @ self.linear

    def quadratic_hessian(self) -> Tensor:
        """C C^T + alpha, (d, d)."""
        eye = torch.eye(len(self.root), dtype=self.root.dtype, device=self.root.device)
        return self.root @ self.root.T + self.modulus * eye

    def quadratic_gradient(self, z: Tensor) -> Tensor:
        """Gradient of q at z, (n, d)."""
        return z @ self.quadratic_hessian() + self.linear
