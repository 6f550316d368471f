"""An orthogonal map alone, as a Gaussian-preserving map: what is left of s where nothing flows."""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.gp.base import GaussianPreserving
from gpot.maths.transport import exact_log_det


class Rotation(GaussianPreserving):
    """s(z) = Q z, with the inverse Q^T s. It has no time, no path and no parameters.

    Arguments:
        dim: d.
        rotation: orthogonal Q (d, d); None for the identity, which returns its argument as it is.
    """

    n_steps = None

    def __init__(self, dim: int, rotation: Tensor | None = None) -> None:
        super().__init__(dim)
        self.is_identity = rotation is None
        if rotation is not None:
            self.set_rotation(rotation)

    def set_rotation(self, rotation: Tensor) -> None:
        """Put another Q (d, d) in place; it must be orthogonal."""
        super().set_rotation(rotation)
        self.is_identity = bool(torch.equal(self.rotation, torch.eye(self.dim).to(self.rotation)))

    def transport(self, z: Tensor) -> Tensor:
        """Q z: shape (n, d)."""
        return z if self.is_identity else z @ self.rotation.T

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """Q^T s: shape (n, d); exact, so `refine` changes nothing."""
        return s if self.is_identity else s @ self.rotation

    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """log|det Q| = 0 by automatic differentiation, as of any other map: (n,), no graph."""
        return exact_log_det(self.transport, z, chunk)
