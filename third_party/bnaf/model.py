r"""Block neural autoregressive flow (De Cao, Aziz, Titov, 2019): one triangular monotone network carries data x to z.

Written from the paper. Names and shapes of the state dict are those of the released models, so that such a checkpoint
loads.

The hidden units form d groups. Group i sees the groups j <= i alone, and its own through positive weights, so that
:math:`z_i` depends on :math:`x_1 \dots x_i` and increases in :math:`x_i`: the Jacobian is lower triangular and

.. math:: \log \det \frac{\partial z}{\partial x} = \sum_i \log \frac{\partial z_i}{\partial x_i}, \qquad
    \frac{\partial z_i}{\partial x_i} = B^L_i S^{L-1}_i B^{L-1}_i \cdots S^0_i B^0_i,

:math:`B^k_i > 0` the diagonal blocks of the weights and :math:`S^k_i` the diagonal of :math:`1 - \tanh^2`. Nothing is
ever subtracted in this product: in plain floating point it is exact to rounding, whatever its factors, until it
underflows. The particles where it might have are found by a bound and done again with the logarithms of all factors
(`Block.log_slope`), several times slower.

Inside, points are columns, (d, n): group and unit first, particles last, so that the groups are views. tanh and its
slope come from two sigmoids, r = sigmoid(2u) and l = sigmoid(-2u): tanh u = r - l and 1 - tanh^2 u = 4 r l, without
the cancellation of the left side. PyTorch's sigmoid takes a fourth of its tanh's time.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from third_party.bnaf.inverse import Inversion, invert_block

_PIECE = 2**22  # numbers in the largest array of `Block.log_slope`


class MaskedLinear(nn.Module):
    r"""Layer y = W x + c on d groups, W block lower triangular with a positive diagonal.

    .. math:: T = e^V \circ D + V \circ O, \qquad W_{kj} = e^{s_k} T_{kj} / |T_k|

    D, O: masks of the diagonal and the lower blocks, (out, in), blocks (out/d, in/d). V `_weight` (out, in), s
    `_diag_weight` (out, 1), c `bias` (out,). The norm of row k of W is e^s_k.

    Start: in row block i, V is Xavier-uniform for a matrix of the i + 1 blocks that are seen; s = log u with u uniform
    on (0, 1]; c uniform within 1/sqrt(out).
    """

    mask_d: Tensor
    mask_o: Tensor

    def __init__(self, dim: int, n_in: int, n_out: int) -> None:
        super().__init__()
        self.dim = dim
        row = torch.arange(n_out)[:, None] // (n_out // dim)
        column = torch.arange(n_in) // (n_in // dim)
        self._weight = nn.Parameter(torch.zeros(n_out, n_in))
        self._diag_weight = nn.Parameter(torch.log1p(-torch.rand(n_out, 1)))  # rand is from [0, 1)
        self.bias = nn.Parameter((2 * torch.rand(n_out) - 1) / math.sqrt(n_out))
        self.register_buffer("mask_d", (row == column).to(self.bias.dtype))
        self.register_buffer("mask_o", (row > column).to(self.bias.dtype))
        with torch.no_grad():
            for i, rows in enumerate(self._weight.chunk(dim)):
                nn.init.xavier_uniform_(rows[:, : (i + 1) * (n_in // dim)])

    def matrix(self) -> Tensor:
        """W, (out, in)."""
        raw = self._raw()
        return raw * (self._diag_weight.exp() / raw.norm(dim=1, keepdim=True))

    def blocks(self, matrix: Tensor) -> Tensor:
        """The diagonal blocks of an (out, in) matrix: (d, out/d, in/d)."""
        grouped = matrix.view(self.dim, len(matrix) // self.dim, self.dim, -1)
        return grouped.diagonal(dim1=0, dim2=2).permute(2, 0, 1)

    def log_blocks(self) -> Tensor:
        """log of the diagonal blocks of W, (d, out/d, in/d); finite where W itself underflows."""
        return self.blocks(self._weight + self._diag_weight - self._raw().norm(dim=1, keepdim=True).log())

    def _raw(self) -> Tensor:
        """T; exp sees the diagonal blocks alone."""
        return (self._weight * self.mask_d).exp() * self.mask_d + self._weight * self.mask_o


class Block(nn.ModuleList):
    r"""d -> width -> ... -> width -> d: `MaskedLinear` at even places, tanh between. Points are columns, (d, n).

    gated: y = sigmoid(g) f(x) + (1 - sigmoid(g)) x with a trained g, the parameter `gate`, at first from N(0, 1).
    """

    gate: nn.Parameter | None

    def __init__(self, dim: int, width: int, n_layers: int, gated: bool) -> None:
        super().__init__()
        widths = [dim, *[width] * n_layers, dim]
        for k in range(n_layers + 1):
            self.extend([nn.Tanh()] if k > 0 else [])  # keeps the place that it has in the released names
            self.append(MaskedLinear(dim, widths[k], widths[k + 1]))
        self.register_parameter("gate", nn.Parameter(torch.randn(1)) if gated else None)
        self.dim = dim

    def layers(self) -> list[MaskedLinear]:
        """The masked layers, first to last."""
        return cast("list[MaskedLinear]", list(self)[::2])

    def transform(self, x: Tensor) -> Tensor:
        """y (d, n)."""
        first, *others = self.layers()
        matrix, state = first.matrix(), x
        bias: Tensor = first.bias
        for layer in others:
            state = torch.sigmoid(torch.addmm(2 * bias[:, None], 2 * matrix, state))  # its unit is 2 state - 1
            matrix = layer.matrix()
            matrix, bias = 2 * matrix, layer.bias - matrix.sum(1)
        return self._mix(torch.addmm(bias[:, None], matrix, state), x)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """y and log dy_i/dx_i, both (d, n)."""
        first, *others = self.layers()
        matrix, bias, state = first.matrix(), first.bias, x
        slope = first.blocks(matrix)  # (d, p, 1), and with a particle's factor (d, p, n)
        gain = _gain(slope)
        for k, layer in enumerate(others):
            u = torch.addmm(2 * bias[:, None], 2 * matrix, state)  # doubled
            right, left = torch.sigmoid(u), torch.sigmoid(-u)
            state, factor = right - left, (right * left).view(self.dim, -1, x.shape[1])
            matrix, bias = layer.matrix(), layer.bias
            block = 4 * layer.blocks(matrix)
            gain = gain * _gain(block)
            if k == 0:
                slope = torch.bmm(block * slope.mT, factor)
            else:
                slope = torch.bmm(block, slope * factor)
        y = self._mix(torch.addmm(bias[:, None], matrix, state), x)
        slope = self._mix(slope.squeeze(1), torch.ones_like(x))

        # Of the factors and terms of each layer, at most 4 (width / d) per unit, each may have lost `tiny`, and later
        # layers enlarge that no more than by their gain. Relative to what is above `floor` it is below rounding.
        numbers = torch.finfo(x.dtype)
        floor = gain * (4 * len(others) * (first.bias.numel() // self.dim) * numbers.tiny / numbers.eps)
        certain = ((slope.detach() > floor) & slope.detach().isfinite()).all(0)
        if certain.all():
            return y, slope.log()
        rest = (~certain).nonzero().squeeze(1)
        log_slope = slope.where(certain, 1.0).log().index_copy(1, rest, self.log_slope(x[:, rest]))
        return y, log_slope

    def log_slope(self, x: Tensor) -> Tensor:
        """log dy_i/dx_i, (d, n), by logsumexp throughout: neither underflow nor overflow, but width^2 / d logarithms
        for each particle and layer."""
        first, *others = self.layers()
        log_blocks = [layer.log_blocks() for layer in self.layers()]
        pieces = []
        for piece in x.split(max(1, _PIECE // max(part.numel() for part in log_blocks)), dim=1):
            u = torch.addmm(first.bias[:, None], first.matrix(), piece)
            carry = log_blocks[0].expand(-1, -1, piece.shape[1])
            for layer, block in zip(others, log_blocks[1:], strict=True):
                factor = logsigmoid(2 * u) + logsigmoid(-2 * u) + 2 * math.log(2.0)
                u = torch.addmm(layer.bias[:, None], layer.matrix(), torch.tanh(u))
                carry = torch.logsumexp(block[..., None] + (carry + factor.view_as(carry))[:, None], dim=2)
            pieces.append(carry.squeeze(1))
        log_slope = torch.cat(pieces, 1)
        if self.gate is None:
            return log_slope
        return torch.logaddexp(logsigmoid(self.gate) + log_slope, logsigmoid(-self.gate))

    def _mix(self, y: Tensor, x: Tensor) -> Tensor:
        """The gate: on values, and with x = 1 on slopes."""
        return y if self.gate is None else torch.sigmoid(self.gate) * y + torch.sigmoid(-self.gate) * x


@torch.no_grad()
def _gain(block: Tensor) -> Tensor:
    """How much more than itself a positive block (d, b, a) makes of an error: its largest row sum, at least 1."""
    return block.sum(2).amax().clamp(min=1.0)


class Flip(nn.Module):
    """The coordinates in reverse order."""

    def forward(self, x: Tensor) -> Tensor:
        """x (d, n)."""
        return x.flip(0)


class BNAF(nn.Module):
    """f = Block, or with n_blocks > 1 a chain of them: all but the last gated and followed by a `Flip`.

    Arguments:
        dim: d.
        width: of each hidden layer, all d groups together.
        n_layers: hidden layers of a block (so n_layers + 1 masked ones). Runs in the dtype of its parameters.

    The image is not R^d: the last block ends in bounded hidden units, so that z_1 lies in an interval and z_k in one
    that depends on z_1 ... z_(k-1).
    """

    def __init__(self, dim: int, width: int, n_layers: int, n_blocks: int = 1) -> None:
        super().__init__()
        if min(dim, width, n_layers, n_blocks) < 1 or width % dim:
            raise ValueError(
                "BNAF needs dim, n_layers, n_blocks >= 1 and a width that is a multiple of dim, got "
                f"dim={dim}, n_layers={n_layers}, n_blocks={n_blocks}, width={width}. "
                f"Try width={max(dim, 1) * max(1, round(width / max(dim, 1)))}."
            )
        self.dim = dim
        self.flow = nn.ModuleList()
        for k in range(n_blocks):
            last = k == n_blocks - 1
            self.flow.append(Block(dim, width, n_layers, gated=not last))
            self.flow.extend([] if last else [Flip()])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,)."""
        z, log_det = x.T, x.new_zeros(len(x))
        for part in self.flow:
            if isinstance(part, Block):
                z, log_slope = part(z)
                log_det = log_det + log_slope.sum(0)
            else:
                z = part(z)
        return z.T, log_det

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x), (n, d), without its log-determinant."""
        z = x.T
        for part in self.flow:
            z = part.transform(z) if isinstance(part, Block) else part(z)
        return z.T

    @torch.no_grad()
    def invert(self, z: Tensor, tolerance: float = 1e-6, max_iterations: int = 100) -> Inversion:
        """x with f(x) = z (n, d), where there is one: see `third_party.bnaf.inverse` for the method and `tolerance`.

        Never a made-up number: a z outside the image, or a root finding that max_iterations ended, is a row of NaN.
        """
        if not tolerance > 0 or max_iterations < 1:
            raise ValueError(
                f"invert needs tolerance > 0 and max_iterations >= 1, got {tolerance} and {max_iterations}. "
                "Try tolerance=1e-6, max_iterations=100."
            )
        x, iterations = z.T, 0
        for part in reversed(self.flow):
            if isinstance(part, Block):
                x, evaluations = invert_block(part, x, tolerance, max_iterations)
                iterations = max(iterations, evaluations)
            else:
                x = part(x)
        x = x.T.contiguous()
        residual = (self.transform(x) - z).abs().amax(1)
        return Inversion(x, x.isfinite().all(1), residual, iterations)
