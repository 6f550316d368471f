r"""A Gaussian-preserving map without an ODE: a rotation, then a chain of twist couplings (ours; not in the paper).

Symbols: `z` (n, d) on the Gaussian side, `Q` orthogonal, `s` the whole map; the coupling is that of
:mod:`gpot.maths.twist`. |s(z)| = |z| and |det ds/dz| = 1 for every value of the parameters: nothing is discretized, so
there are no time steps to refine, no particle to lose, and no path of which to take an energy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.gp.base import GaussianPreserving
from gpot.maths.twist import (
    AngleFunction,
    change_frames,
    exact_chain_log_det,
    orthogonal,
    plane_counts,
    tanh_angles,
    twist_chain,
    untwist_chain,
)


class StackedAngles(nn.Module):
    """The angles of one half of each of L layers: L tanh networks with one hidden layer, their weights in one tensor.

    Parameters weight_in (L, width, d - m), bias_in (L, width), weight_out (L, m, width), bias_out (L, m). Start: hidden
    units as PyTorch draws them, output 0, so every angle is 0.
    """

    def __init__(self, n_layers: int, dim: int, planes: int, width: int) -> None:
        super().__init__()
        n_features = dim - planes
        bound = 1.0 / math.sqrt(n_features)
        self.weight_in = nn.Parameter(torch.empty(n_layers, width, n_features).uniform_(-bound, bound))
        self.bias_in = nn.Parameter(torch.empty(n_layers, width).uniform_(-bound, bound))
        self.weight_out = nn.Parameter(torch.zeros(n_layers, planes, width))
        self.bias_out = nn.Parameter(torch.zeros(n_layers, planes))

    def functions(self) -> list[AngleFunction]:
        """One per layer; they hold the parameters' present values."""
        stacks = (self.weight_in, self.bias_in, self.weight_out, self.bias_out)
        return [tanh_angles(*layer) for layer in zip(*(stack.unbind() for stack in stacks), strict=True)]


class TwistFlow(GaussianPreserving):
    r"""s = T_L o ... o T_1 o Q, each T_l a twist coupling in its own orthonormal frame, and its inverse.

    Arguments:
        dim: d >= 3.
        n_layers: L.
        width: of the hidden layer of each angle.
        rotation: Q, shape (d, d), or None for I.
    Parameters: `frames` F (L, d, d), the frame of a layer being exp(F - F^T); `first`, `second` (None for d = 3, where
    there is one plane): the angles of the two halves of each layer. Start: angle 0, so s = Q; F ~ N(0, 1/d), with which
    the eigenvalues of exp(F - F^T) spread over the whole circle and no two layers share a frame. The state dict holds
    `rotation`, so a loaded flow is the same map.
    """

    n_steps = None

    def __init__(self, dim: int, n_layers: int = 12, width: int = 64, rotation: Tensor | None = None) -> None:
        super().__init__(dim)
        planes_a, planes_b = plane_counts(dim)
        if n_layers < 1 or width < 1:
            raise BadConfig(
                f"a twist flow needs at least one layer and one hidden unit, and got n_layers={n_layers}, "
                f"width={width}; try n_layers=12, width=64"
            )
        self.n_layers, self.width = n_layers, width
        self.frames = nn.Parameter(torch.randn(n_layers, dim, dim) / math.sqrt(dim))
        self.first = StackedAngles(n_layers, dim, planes_a, width)
        self.second = StackedAngles(n_layers, dim, planes_b, width) if planes_b else None
        if rotation is not None:
            self.set_rotation(rotation)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """s(z) (n, d) and log|det ds/dz| (n,), which is 0 = (|s|^2 - |z|^2) / 2 (eq. 3) by construction."""
        s = self.transport(z)
        return s, torch.zeros_like(s[:, 0])

    def transport(self, z: Tensor) -> Tensor:
        """s(z) alone: shape (n, d)."""
        return twist_chain(self.points(z), *self._chain())

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """z with s(z) = s, to rounding: shape (n, d).

        `refine` is the argument of `GaussianPreservingFlow.inverse`. No correction improves on an exact inverse, so
        none is made.
        """
        return untwist_chain(self.points(s), *self._chain())

    @torch.no_grad()
    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """log|det ds/dz| by forward mode, d tangents of `chunk` rows at a time, layer by layer: (n,), no graph.

        0 but for rounding.
        """
        return exact_chain_log_det(self.points(z), *self._chain(), chunk)

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"dim={self.dim}, n_layers={self.n_layers}, width={self.width}"

    def _chain(self) -> tuple[Tensor, list[AngleFunction], list[AngleFunction] | list[None]]:
        """What depends on the parameters alone: once per pass."""
        changes = change_frames(orthogonal(self.frames), self.rotation)
        second = [None] * self.n_layers if self.second is None else self.second.functions()
        return changes, self.first.functions(), second
