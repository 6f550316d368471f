"""Small flows with known laws: affine ones, whose Monge maps are known, and one that is inverted by a root finding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gpot.flows.bnaf import BNAFFlow
from third_party.bnaf import BNAF

DTYPE = torch.float64


class Affine(nn.Module):
    """x = A z + b: the law of x is N(b, A A^T)."""

    def __init__(self, matrix: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.dim = len(shift)
        self.matrix, self.shift = nn.Parameter(matrix), nn.Parameter(shift)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.linalg.solve(self.matrix, (x - self.shift).T).T
        return z, -torch.linalg.slogdet(self.matrix).logabsdet.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return z @ self.matrix.T + self.shift


def affine(dim: int, seed: int, det: float = 1.0) -> Affine:
    draws = torch.Generator().manual_seed(seed)
    matrix = 0.4 * torch.randn(dim, dim, dtype=DTYPE, generator=draws) + torch.eye(dim, dtype=DTYPE)
    matrix[:, 0] *= torch.linalg.det(matrix).sign() * det
    return Affine(matrix, torch.randn(dim, dtype=DTYPE, generator=draws))


def moments(flow: Affine) -> tuple[Tensor, Tensor]:
    return flow.shift.detach(), (flow.matrix @ flow.matrix.T).detach()


def bnaf(seed: int = 0, dim: int = 2) -> BNAFFlow:
    """Random weights, with an image that is far larger than where N(0, I) lives."""
    torch.manual_seed(seed)
    model = BNAF(dim, width=8 * dim, n_layers=1).double()
    with torch.no_grad():
        model.flow[-1].layers()[-1]._diag_weight.add_(3.0)
    return BNAFFlow(model.eval(), tolerance=1e-13)
