r"""The velocity and Hutchinson's estimate of its divergence with their reverse derivatives written out.

Automatic differentiation keeps every array that an evaluation makes until the backward pass, and there are four
evaluations in a step. Here an evaluation keeps its hidden layers, and each of its products is one for the velocity and
the tangent together. Values and derivatives are those of the plain formula, which is called where a derivative will
itself be differentiated.

Notation: as in :mod:`third_party.ffjord.network`, :math:`h_k = \sigma(W_k^\top h_{k-1} + b_k)` with :math:`h_{-1} = y`,
slopes :math:`S_k = h_k (1 - h_k)`, tangents :math:`\tau_k = S_k \circ W_k^\top \tau_{k-1}` with :math:`\tau_{-1} = e`.
One sample is a column: products with few rows are faster than those with few columns. Names that start with `g_` are
gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Rate = tuple[Tensor, Tensor]


def with_written_gradient(formula: Callable[..., Rate]) -> Callable[..., Rate]:
    r"""The estimate as a function of (y (n, d), e (n, d), W_0 (in, out), b_0, W_1, ...).

    It gives the velocity (n, d) and :math:`e^\top (\partial v / \partial y)\, e`, (n,), and has no gradient in e.
    formula: the same, plainly.
    """

    class Written(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Rate:
            velocity, estimate, pairs = _forward(*inputs)
            ctx.n_inputs = len(inputs)
            ctx.save_for_backward(*inputs, *pairs)
            return velocity, estimate

        @staticmethod
        def backward(ctx: Any, g_velocity: Tensor, g_estimate: Tensor) -> tuple[Tensor | None, ...]:
            inputs, pairs = ctx.saved_tensors[: ctx.n_inputs], ctx.saved_tensors[ctx.n_inputs :]
            if torch.is_grad_enabled():  # this derivative will itself be differentiated
                gradients: tuple[Tensor, ...] = torch.func.vjp(formula, *inputs)[1]((g_velocity, g_estimate))
                return gradients
            return _backward(inputs, pairs, g_velocity, g_estimate)

    return lambda *inputs: Written.apply(*inputs)


def _times_slope_(x: Tensor, h: Tensor) -> Tensor:
    """x S in the place of x."""
    product: Tensor = torch.ops.aten.sigmoid_backward.grad_input(x, h, grad_input=x)
    return product


def _forward(y: Tensor, e: Tensor, *layers: Tensor) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Also (h_k, tau_k) side by side, (width, 2 n), from k = -1."""
    n, weights, biases = len(y), layers[::2], layers[1::2]
    pairs = [torch.cat((y.T, e.T), 1)]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        pair = weight.T @ pairs[-1]
        value = pair[:, :n].add_(bias[:, None]).sigmoid_()
        _times_slope_(pair[:, n:], value)
        pairs.append(pair)
    last = weights[-1].T @ pairs[-1]
    return (last[:, :n] + biases[-1][:, None]).T, (last[:, n:] * e.T).sum(0), pairs


def _backward(
    inputs: Sequence[Tensor], pairs: Sequence[Tensor], g_velocity: Tensor, g_estimate: Tensor
) -> tuple[Tensor | None, ...]:
    y, e, *layers = inputs
    n, weights = len(y), layers[::2]
    gradients: list[Tensor] = []
    g_pair = torch.cat((g_velocity.T, e.T * g_estimate), 1)  # in what affine map k gives, and in its tangent
    for k in reversed(range(len(weights))):
        gradients[:0] = [pairs[k] @ g_pair.T, g_pair[:, :n].sum(1)]
        if k > 0:
            g_pair = weights[k] @ g_pair
            g_value, g_tangent = g_pair[:, :n], g_pair[:, n:]
            value, tangent = pairs[k][:, :n], pairs[k][:, n:]
            # the slope depends on h, with derivative 1 - 2 h; times the slope it is in the tangent already
            bent = g_tangent * tangent
            _times_slope_(g_value, value).add_(bent.addcmul_(bent, value, value=-2))
            _times_slope_(g_tangent, value)
    return (weights[0] @ g_pair[:, :n]).T, None, *gradients
