"""A velocity whose flow is known in closed form, the matrix exponential."""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.gp.velocity import Velocity
from gpot.maths.divergence_free import WeightedField


class Linear(Velocity):
    """dz/dt = A z: preserves the Gaussian if and only if A is antisymmetric. For the charts without a wall."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(len(matrix))
        self.matrix = torch.nn.Parameter(matrix)

    def weighted_field(self) -> WeightedField:
        return lambda y, t, p, r: y @ self.matrix.T
