r"""An input-convex network with its gradient and its Hessian in closed form (amos2017icnn).

.. math:: u(z) = \tfrac12 |C^\top z|^2 + \tfrac{\alpha}{2} |z|^2 + \langle c, z \rangle
          + \sum_l \langle p_l, h_l \rangle,
          \qquad a_l = W_l z + P_l h_{l-1} + b_l, \quad h_l = \mathrm{softplus}(a_l), \quad h_0 = 0

is convex in z for p_l, P_l >= 0, since softplus is convex and increasing, and strongly so with the modulus alpha > 0.
The entries of p_l and P_l are softplus of free numbers, so that every value of the parameters is a convex function.

With :math:`J_l = \partial a_l / \partial z` and :math:`g_l = \partial u / \partial h_l`:

.. math:: \nabla u = (C C^\top + \alpha) z + c + \sum_l W_l^\top (g_l \sigma(a_l)),
          \qquad \nabla^2 u = C C^\top + \alpha + \sum_l J_l^\top \mathrm{diag}(g_l \sigma'(a_l)) J_l.

Symbols: `z` (n, d), rows are particles; H_l the width of layer l; sigma the logistic function, softplus' derivative.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gpot.maths.quadratic import Quadratic


@dataclass(frozen=True)
class ConvexLayer:
    """One layer: W (H, d), b (H,), and of P (H, H of the layer below; None for the first) and p (H,) the free numbers
    whose softplus they are."""

    weight: Tensor
    bias: Tensor
    mixing: Tensor | None
    output: Tensor


@dataclass(frozen=True)
class ConvexNetwork(Quadratic):
    """u above. layers: none is a quadratic alone."""

    layers: tuple[ConvexLayer, ...] = ()

    def tensors(self) -> list[Tensor]:
        """All parameters, in a fixed order."""
        parts = [self.root, self.linear]
        for layer in self.layers:
            parts += [t for t in (layer.weight, layer.bias, layer.mixing, layer.output) if t is not None]
        return parts

    def map(self, change: Callable[[Tensor], Tensor]) -> ConvexNetwork:
        """The network of changed parameters, in the order of `tensors`: `network.map(Tensor.double)`."""
        root, linear = change(self.root), change(self.linear)
        layers = [
            ConvexLayer(
                change(layer.weight), change(layer.bias),
                None if layer.mixing is None else change(layer.mixing), change(layer.output),
            )
            for layer in self.layers
        ]  # fmt: skip
        return ConvexNetwork(root, linear, self.modulus, tuple(layers))

    def value(self, z: Tensor) -> Tensor:
        """u(z), (n,)."""
        value = self.quadratic_value(z)
        hidden: Tensor | None = None
        for layer in self.layers:
            hidden = softplus(_affine(layer, z, hidden))
            value = value + hidden @ softplus(layer.output)
        return value

    def gradient(self, z: Tensor) -> Tensor:
        """Gradient of u at z, (n, d)."""
        slopes: list[Tensor] = []
        hidden: Tensor | None = None
        for layer in self.layers:
            before = _affine(layer, z, hidden)
            hidden = softplus(before)
            slopes.append(torch.sigmoid(before))
        return self._gradient(z, slopes)[0]

    def gradient_and_hessian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (n, d) and Hessian (n, d, d) of u at z."""
        n, d = z.shape
        slopes: list[Tensor] = []
        jacobians: list[Tensor] = []  # (d, n, H)
        hidden: Tensor | None = None
        for layer in self.layers:
            own = layer.weight.T[:, None, :]
            if layer.mixing is None:
                jacobians.append(own.expand(d, n, -1))
            else:
                carried = torch.matmul(jacobians[-1] * slopes[-1], softplus(layer.mixing).T)
                jacobians.append(carried + own)
            before = _affine(layer, z, hidden)
            hidden = softplus(before)
            slopes.append(torch.sigmoid(before))
        gradient, received = self._gradient(z, slopes)
        hessian = self.quadratic_hessian().expand(n, d, d)
        for jacobian, slope, g in zip(jacobians, slopes, received, strict=True):
            rows = jacobian.permute(1, 0, 2)
            hessian = hessian + torch.bmm(rows * (g * slope * (1.0 - slope))[:, None, :], rows.transpose(1, 2))
        return gradient, hessian

    def _gradient(self, z: Tensor, slopes: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The gradient, and what each layer receives from above, g_l (n, H_l), from sigma(a_l)."""
        gradient = self.quadratic_gradient(z)
        received: list[Tensor] = []
        g: Tensor | None = None
        for index in reversed(range(len(self.layers))):
            layer = self.layers[index]
            own = softplus(layer.output).expand_as(slopes[index])
            received.insert(0, own if g is None else g + own)
            through = received[0] * slopes[index]
            gradient = gradient + through @ layer.weight
            g = None if layer.mixing is None else through @ softplus(layer.mixing)
        return gradient, received


def convex_network(
    dim: int, widths: Sequence[int], modulus: float, generator: torch.Generator, *, quadratic: float, scale: float = 0.3
) -> ConvexNetwork:
    r"""A fresh network in float32: quadratic part (quadratic + modulus) / 2 |z|^2, layers of `widths` units.

    W_1 ~ N(0, 1), W_l ~ N(0, 1/4), b_l ~ N(0, 4), so that the kinks lie where a standard Gaussian does; the rows of P_l
    sum to about 1, the entries of p_l to `scale`.
    """
    layers: list[ConvexLayer] = []
    for index, width in enumerate(widths):
        weight = torch.randn(width, dim, generator=generator) * (1.0 if index == 0 else 0.5)
        bias = 2.0 * torch.randn(width, generator=generator)
        mixing = None
        if index > 0:
            below = widths[index - 1]
            mixing = inverse_softplus(1.0 / below) + 0.5 * torch.randn(width, below, generator=generator)
        layers.append(ConvexLayer(weight, bias, mixing, torch.full((width,), inverse_softplus(scale / width))))
    return ConvexNetwork(math.sqrt(quadratic) * torch.eye(dim), torch.zeros(dim), modulus, tuple(layers))


def inverse_softplus(value: float) -> float:
    """The number whose softplus is `value` > 0."""
    return math.log(math.expm1(value))


def _affine(layer: ConvexLayer, z: Tensor, hidden: Tensor | None) -> Tensor:
    """a_l (n, H) from z and the layer below."""
    before = torch.addmm(layer.bias, z, layer.weight.T)
    if layer.mixing is None:
        return before
    assert hidden is not None
    return torch.addmm(before, hidden, softplus(layer.mixing).T)
