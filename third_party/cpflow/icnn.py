r"""Input-convex networks ("type 3" of the released code) with gradient and Hessian in closed form.

.. math::
    e_l = \varsigma(Y_l x + y_l), \quad 0 \le l < K, \qquad
    a_l = \sigma\big(\alpha_l\big([P^+_l (a_{l-1}, e_{l-1}) + p_l] / H + X_l x + \xi_l\big)\big), \quad 0 < l < K,

    F(x) = \alpha_K\big(P^+_K (a_{K-1}, e_{K-1}) / H + X_K x\big), \qquad P^+ = \mathrm{softplus}(P) > 0,

with ActNorms :math:`\alpha_l` of positive scale, :math:`\sigma` convex and increasing and
:math:`\varsigma(u) = \sigma(u) - u/2` convex. Layer 0 has H side units e and no main units a; each later layer has
h = H/2 of both. Main units form a chain; side units see x alone. Scales fold into the matrices:
:math:`A_l = C_l (a_{l-1}, e_{l-1}) + X_l x + c_l`, :math:`a_l = \sigma(A_l)`, :math:`F = A_K`.

With :math:`r = \partial F / \partial(\text{unit}) \ge 0` of each unit, found in one pass from the last to the first,

.. math::
    \nabla F = X_K + \sum_{\text{units}} r\,\sigma'\,\nabla A, \qquad
    \nabla^2 F = \sum_{\text{units}} r\,\sigma''\,\nabla A \nabla A^\top \succeq 0 :

convexity is visible term by term. grad A of a side unit is a row of Y, the same for all points, so only the chain
carries d tangents. Nothing here calls automatic differentiation, and all of it can be differentiated.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

SCALE_FLOOR = 1e-3  # of every ActNorm's scale, as released


Curve = tuple[Tensor, Tensor, Tensor]
_PEAK = 1 / math.sqrt(2 * math.pi)  # phi(0)


def gaussian_softplus(u: Tensor) -> Curve:
    r"""E max(u + N(0, 1), 0) = u Phi(u) + phi(u), less its value 1 / sqrt(2 pi) at 0; and its two derivatives."""
    slope = 0.5 + 0.5 * torch.erf(u * math.sqrt(0.5))
    density = _PEAK * torch.exp(-0.5 * u.square())
    return u * slope + (density - _PEAK), slope, density


def logistic_softplus(u: Tensor) -> Curve:
    """log(1 + e^u), less its value log 2 at 0; and its two derivatives."""
    slope = torch.sigmoid(u)
    # PyTorch's threshold of 20 cuts off 2e-9
    return softplus(u, threshold=40.0) - math.log(2.0), slope, slope * torch.sigmoid(-u)


# u -> (s, s', s'') of a convex s with s(0) = 0 and 0 < s' < 1
ACTIVATIONS: dict[str, Callable[[Tensor], Curve]] = {
    "gaussian_softplus": gaussian_softplus,
    "softplus": logistic_softplus,
}


class ActNorm(nn.Module):
    """u -> (u + b) scale with scale = exp(logs) + 0.001, column by column. A fresh one has b = logs = 0."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros(1, n, 1))
        self.logs = nn.Parameter(torch.zeros(1, n, 1))

    def affine(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """b and scale, each (columns,)."""
        return self.b.to(dtype).flatten(), self.logs.to(dtype).flatten().exp() + SCALE_FLOOR

    @torch.no_grad()
    def initialize(self, u: Tensor, power: float = 1.0) -> None:
        """From points u (n, columns): b = -mean, scale = std^-power (biased std). Raises ValueError if none fits."""
        std = u.std(0, correction=0)
        scale = std**-power
        unfit = (~(scale.isfinite() & (scale > SCALE_FLOOR))).nonzero().flatten().tolist()
        if unfit:
            raise ValueError(
                f"ActNorm takes columns with a standard deviation between 0 and {SCALE_FLOOR ** (-1 / power):g}, and "
                f"among {len(u)} points column {unfit[0]} has {std[unfit[0]].item():g}. "
                "Pass more points, leave out constant columns, or standardize the data."
            )
        self.b.copy_(-u.mean(0).reshape(self.b.shape))
        self.logs.copy_((scale - SCALE_FLOOR).log().reshape(self.logs.shape))


class Folded(NamedTuple):
    """The matrices with all scales in them. Rows are units, layer after layer: H and K-1 times h side units; K-1 times
    h main units and the output.
    """

    side: Tensor  # Y (H + (K-1) h, d)
    side_bias: Tensor
    main: Tensor  # X ((K-1) h + 1, d)
    main_bias: Tensor
    chain: list[Tensor]  # C_1..C_K, each (units, H): the columns of the layer before, main units before side units

    def by_layer(self, side: Tensor) -> tuple[Tensor, ...]:
        """The columns of side units that each C reads."""
        h = self.chain[0].shape[1] // 2
        return side.split([2 * h] + [h] * (len(self.chain) - 1), dim=1)

    def backward(
        self, output: Tensor, slopes: list[Tensor], added: list[Tensor] | None = None
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """From the output (n, 1) to each unit: the rates at the A_l, (n, (K-1) h + 1), at the a_l, and at the e_l.

        added: further rates at A_1..A_{K-1}.
        """
        at_chain, at_main, at_side = [output], list[Tensor](), list[Tensor]()
        for k in reversed(range(len(self.chain))):
            rate = at_chain[0] @ self.chain[k]
            if k > 0:
                main, rate = rate.chunk(2, dim=1)
                at_main.insert(0, main)
                passed = main * slopes[k - 1]
                at_chain.insert(0, passed if added is None else passed + added[k - 1])
            at_side.insert(0, rate)
        return torch.cat(at_chain, 1), at_main, torch.cat(at_side, 1)


class Expansion(NamedTuple):
    """The derivatives of F at n points. Lists run over the main layers, tensors of side units hold all of them."""

    net: Folded
    gradient: Tensor  # (n, d)
    slopes: list[Tensor]  # sigma', each (n, h)
    curvatures: list[Tensor]  # r sigma'', each (n, h)
    side_slopes: Tensor
    side_curvatures: Tensor

    def hessian(self) -> Tensor:
        """(n, d, d)."""
        net, (n, dim) = self.net, self.gradient.shape
        outer = (net.side[:, :, None] * net.side[:, None, :]).flatten(1)
        hessian = (self.side_curvatures @ outer).reshape(n, dim, dim)
        if not self.slopes:
            return hessian
        h, tangents = self.slopes[0].shape[1], list[Tensor]()  # of A_l, (n, d, h)
        side_rows = net.by_layer(net.side.T)
        for k, slopes in enumerate(net.by_layer(self.side_slopes)[:-1]):
            x_part, chain = net.main[k * h : (k + 1) * h], net.chain[k]
            # only the slopes differ from point to point: one product with (Y o C), no tangents of side units
            from_side = (side_rows[k].T[:, :, None] * chain[:, -slopes.shape[1] :].T[:, None, :]).flatten(1)
            tangent = torch.addmm(x_part.T.flatten(), slopes, from_side).reshape(n * dim, h)
            if k > 0:
                before = (self.slopes[k - 1][:, None, :] * tangents[-1]).reshape(n * dim, h)
                tangent = torch.addmm(tangent, before, chain[:, :h].T)
            tangents.append(tangent.reshape(n, dim, h))
        stacked = torch.cat(tangents, 2)
        return hessian + (stacked * torch.cat(self.curvatures, 1)[:, None, :]) @ stacked.mT

    def product(self, v: Tensor) -> Tensor:
        """The Hessian times v, row by row, (n, d): one tangent along v and its way back, whatever d."""
        net, added = self.net, list[Tensor]()
        side_tangent = v @ net.side.T
        side_tangents = net.by_layer(side_tangent * self.side_slopes)
        x_parts = (v @ net.main[:-1].T).split([s.shape[1] for s in self.slopes], dim=1)
        tangent = v[:, :0]
        for k, (slopes, curvatures) in enumerate(zip(self.slopes, self.curvatures, strict=True)):
            tangent = torch.addmm(x_parts[k], torch.cat([tangent, side_tangents[k]], 1), net.chain[k].T)
            added.append(curvatures * tangent)
            tangent = slopes * tangent
        at_chain, _, at_side = net.backward(v.new_zeros(len(v), 1), self.slopes, added)
        return at_chain @ net.main + (at_side * self.side_slopes + self.side_curvatures * side_tangent) @ net.side


class ICNN(nn.Module):
    r"""The network F of this module's head. Names and shapes of the state dict are the released ones:
    Wzs.0 = (Y_0, y_0), Wx2s.{l-1} = (Y_l, y_l), Wzs.l = (P_l, p_l), Wxs.{l-1} = (X_l, xi_l), actnorms.{l-1} = alpha_l.

    Arguments:
        dim: d.
        width: H, even.
        depth: K >= 1.
        activation: a key of ACTIVATIONS.
    """

    def __init__(self, dim: int, width: int, depth: int, activation: str) -> None:
        super().__init__()
        if dim < 1 or depth < 1 or width < 2 or width % 2:
            raise ValueError(
                f"an ICNN has dim >= 1, depth >= 1 and an even width, got dim={dim}, depth={depth}, width={width}. "
                "Half of a layer's units are side units: try width=32."
            )
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is one of {', '.join(ACTIVATIONS)}, got '{activation}'")
        self.activation, half = activation, width // 2
        sizes = [half] * (depth - 1) + [1]
        last = [False] * (depth - 1) + [True]
        self.Wzs = nn.ModuleList([nn.Linear(dim, width)])
        self.Wzs.extend(nn.Linear(width, n, bias=not end) for n, end in zip(sizes, last, strict=True))
        self.Wxs = nn.ModuleList(nn.Linear(dim, n, bias=not end) for n, end in zip(sizes, last, strict=True))
        self.Wx2s = nn.ModuleList(nn.Linear(dim, half) for _ in range(depth - 1))
        self.actnorms = nn.ModuleList(ActNorm(n) for n in sizes)
        self._norms()[-1].b.requires_grad_(False)  # a constant of the potential, which no gradient sees

    def forward(self, x: Tensor) -> Tensor:
        """F(x), (n,)."""
        return self._units(x)[1][-1][:, 0]

    def expand(self, x: Tensor) -> Expansion:
        """The derivatives of F at x (n, d)."""
        net, _, curves, (_, side_slopes, side_seconds) = self._units(x)
        slopes = [slope for _, slope, _ in curves]
        at_chain, at_main, at_side = net.backward(x.new_ones(len(x), 1), slopes)
        curvatures = [rate * second for rate, (_, _, second) in zip(at_main, curves, strict=True)]
        gradient = at_chain @ net.main + (at_side * side_slopes) @ net.side
        return Expansion(net, gradient, slopes, curvatures, side_slopes, at_side * side_seconds)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Sets the ActNorms, first to last, so that each gives mean 0 and standard deviation 1 at points x (n, d)."""
        for k, norm in enumerate(self._norms()):
            b, scale = norm.affine(x.dtype)
            norm.initialize(self._units(x)[1][k] / scale - b)

    def _units(self, x: Tensor) -> tuple[Folded, list[Tensor], list[Curve], Curve]:
        """The matrices, A_1..A_K, the curves of A_1..A_{K-1}, and that of the side units (e, e', e'')."""
        net, activation = self._fold(x.dtype), ACTIVATIONS[self.activation]
        before = torch.addmm(net.side_bias, x, net.side.T)
        value, slope, second = activation(before)
        side = (value - 0.5 * before, slope - 0.5, second)
        x_parts = torch.addmm(net.main_bias, x, net.main.T).split([len(matrix) for matrix in net.chain], dim=1)
        chain, curves, main = list[Tensor](), list[Curve](), x[:, :0]
        for k, from_side in enumerate(net.by_layer(side[0])):
            chain.append(torch.addmm(x_parts[k], torch.cat([main, from_side], 1), net.chain[k].T))
            if k < len(net.chain) - 1:
                curves.append(activation(chain[-1]))
                main = curves[-1][0]
        return net, chain, curves, side

    def _fold(self, dtype: torch.dtype) -> Folded:
        """In the dtype of the points, which may be finer than the parameters'."""
        first, *positive = cast("list[nn.Linear]", list(self.Wzs))
        direct, side = cast("list[nn.Linear]", list(self.Wxs)), cast("list[nn.Linear]", list(self.Wx2s))
        main, main_bias, chain = list[Tensor](), list[Tensor](), list[Tensor]()
        for z, x, norm in zip(positive, direct, self._norms(), strict=True):
            b, scale = norm.affine(dtype)
            chain.append(softplus(z.weight.to(dtype)) * (scale[:, None] / z.in_features))
            main.append(x.weight.to(dtype) * scale[:, None])
            main_bias.append(scale * (b if z.bias is None else b + x.bias.to(dtype) + z.bias.to(dtype) / z.in_features))
        return Folded(
            torch.cat([layer.weight.to(dtype) for layer in (first, *side)]),
            torch.cat([layer.bias.to(dtype) for layer in (first, *side)]),
            torch.cat(main), torch.cat(main_bias), chain,
        )  # fmt: skip

    def _norms(self) -> list[ActNorm]:
        return cast("list[ActNorm]", list(self.actnorms))
