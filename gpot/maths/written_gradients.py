r"""The fields of :mod:`gpot.maths.divergence_free` with their reverse derivatives written out: faster, and far leaner
in memory.

Automatic differentiation keeps every (d, n, H) array of every evaluation until the backward pass, 60 evaluations for 15
Runge-Kutta steps. Here an evaluation keeps its inputs (where d = 2 also its hidden layers, n x H each), and the
backward pass rebuilds the rest. Values and derivatives are those of the plain formula
(:mod:`gpot.maths.field_formulas`), which itself serves every other kind of differentiation: second derivatives (the
Euler penalty), `torch.func`, and forward mode, in which the ridge field has its Jacobian written out too.

Notation: as in the formulas; `grad` is the gradient in w, shape (n, d), and g_x the gradient in x.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gpot.maths.field_formulas import hidden_layers, ridge_formula, slope, stream_formula, tangent_formula, tangents_of

sigmoid_backward = torch.ops.aten.sigmoid_backward  # (g_value, value) -> g_value * (value - value^2), in one pass

Inputs = Sequence[Tensor]
Forward = Callable[..., tuple[Tensor, ...]]
Backward = Callable[[Inputs, Inputs, Tensor], tuple[Tensor, ...]]
Jacobians = Callable[[Inputs, Sequence[int]], list[Tensor]]

_WRITTEN = 3  # of the inputs, y, p and r


def with_written_gradient(
    formula: Callable[..., Tensor], forward: Forward, backward: Backward, jacobians: Jacobians | None = None
) -> Callable[..., Tensor]:
    """A function equal to `formula`, whose first reverse derivative is `backward`; all other derivatives are those of
    `formula`, or where only y, p and r move in forward mode of `jacobians`.

    Arguments:
        formula: tensors to one tensor.
        forward: the same tensors to (that tensor, *kept).
        backward: (inputs, kept, grad) to the gradient in each input.
        jacobians: (inputs, which of the inputs 0, 1, 2) to those of the result in each row by row, (n, d, d). Of d
            tangents, which `torch.func.vmap` asks for at once, they are computed once.
    """

    class Written(torch.autograd.Function):
        generate_vmap_rule = True

        @staticmethod
        def forward(*inputs: Tensor) -> tuple[Tensor, ...]:
            return forward(*inputs)

        @staticmethod
        def setup_context(ctx: Any, inputs: Inputs, output: Inputs) -> None:
            ctx.set_materialize_grads(False)  # an input that does not move is None, and nothing is multiplied by it
            ctx.n_inputs = len(inputs)
            ctx.mark_non_differentiable(*output[1:])
            ctx.save_for_backward(*inputs, *output[1:])
            ctx.save_for_forward(*inputs, *output[1:])

        @staticmethod
        def backward(ctx: Any, grad: Tensor | None, *_: Tensor) -> tuple[Tensor | None, ...]:
            if grad is None:
                return (None,) * ctx.n_inputs
            inputs, saved = ctx.saved_tensors[: ctx.n_inputs], ctx.saved_tensors[ctx.n_inputs :]
            if torch.is_grad_enabled():  # this derivative will itself be differentiated
                return torch.func.vjp(formula, *inputs)[1](grad)
            return backward(inputs, saved, grad)

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
            inputs, saved = ctx.saved_tensors[: ctx.n_inputs], ctx.saved_tensors[ctx.n_inputs :]
            along = {k: tangent for k, tangent in enumerate(tangents) if tangent is not None}
            if jacobians is not None and max(along) < _WRITTEN:
                matrices = zip(jacobians(inputs, list(along)), along.values(), strict=True)
                products = [matrix @ tangent[..., None] for matrix, tangent in matrices]
                return functools.reduce(torch.add, products)[..., 0], *(None for _ in saved)
            return forward_mode(formula, inputs, along), *(None for _ in saved)

    return lambda *inputs: Written.apply(*inputs)[0]


def forward_mode(formula: Callable[..., Tensor], inputs: Inputs, along: Mapping[int, Tensor]) -> Tensor:
    """The derivative of a formula of `inputs` along tangents of those that move, by their places among them."""

    def of_moving(*values: Tensor) -> Tensor:
        variables = dict(zip(along, values, strict=True))
        return formula(*(variables.get(k, value) for k, value in enumerate(inputs)))

    at = tuple(inputs[k] for k in along)
    derivative: Tensor = torch.func.jvp(of_moving, at, tuple(along.values()))[1]
    return derivative


def _down_the_layers(
    y: Tensor, layers: Inputs, hidden_t: Inputs, g_hidden_t: Inputs, g_weights: Inputs
) -> tuple[Tensor, ...]:
    """Ordinary back-propagation through g = sigmoid(A g' + c), added to what each value and each A has received
    already.

    Returns: gradients in y, A_1, c_1, A_2, c_2, ...
    """
    gradients: list[Tensor] = []
    g_t = g_hidden_t[-1]
    for index in reversed(range(len(hidden_t))):
        weight, bias = layers[2 * index : 2 * index + 2]
        into_t = sigmoid_backward(g_t, hidden_t[index])
        g_weight = torch.addmm(g_weights[index], into_t, hidden_t[index - 1].t() if index else y)
        gradients[:0] = [g_weight, into_t.t() if bias.ndim == 2 else into_t.sum(1)]
        g_t = torch.addmm(g_hidden_t[index - 1], weight.t(), into_t) if index else torch.mm(weight.t(), into_t)
    return g_t.t(), *gradients


def _stream_forward(y: Tensor, p: Tensor, r: Tensor, m: Tensor, k: Tensor, *layers: Tensor) -> tuple[Tensor, ...]:
    hidden_t = hidden_layers(y, layers)
    swept = [m[:, None]]  # gradient of psi in the value of each layer, last first
    for index in reversed(range(1, len(hidden_t))):
        swept.append(torch.mm(layers[2 * index].t(), sigmoid_backward(swept[-1], hidden_t[index])))
    gradient_t = torch.mm(layers[0].t(), sigmoid_backward(swept[-1], hidden_t[0]))
    psi = torch.mv(hidden_t[-1].t(), m).add_(k)
    turned_t = torch.addcmul(p.t() * gradient_t, r.t(), psi, value=-1)
    return torch.stack((turned_t[1], -turned_t[0]), dim=1), psi, gradient_t, *hidden_t, *swept[1:]


def _stream_backward(inputs: Inputs, saved: Inputs, grad: Tensor) -> tuple[Tensor, ...]:
    y, p, r, m, _, *layers = inputs
    n_layers = len(layers) // 2
    psi, gradient_t, *rest = saved
    hidden_t, swept = rest[:n_layers], [*reversed(rest[n_layers:]), m[:, None]]
    g_turned_t = torch.stack((-grad[:, 1], grad[:, 0]))
    g_psi = (g_turned_t * r.t()).sum(0).neg_()

    # the sweep came down the layers, so its gradient goes up: g_handed_t is the one in what a layer handed to the layer
    # below
    g_swept_t, g_weights, g_hidden_t = g_turned_t * p.t(), [], []
    for index, value_t in enumerate(hidden_t):
        g_weights.append(torch.mm(sigmoid_backward(swept[index], value_t), g_swept_t.t()))
        g_handed_t = torch.mm(layers[2 * index], g_swept_t)
        g_swept_t = sigmoid_backward(g_handed_t, value_t)
        product = g_handed_t.mul_(swept[index])
        g_hidden_t.append(torch.addcmul(product, product, value_t, value=-2))
    g_m = torch.addmv(g_swept_t.sum(1), hidden_t[-1], g_psi)
    g_hidden_t[-1].addr_(m, g_psi)
    g_y, *g_layers = _down_the_layers(y, layers, hidden_t, g_hidden_t, g_weights)
    g_r_t = (g_turned_t * psi).neg_()
    return g_y, g_turned_t.mul_(gradient_t).t(), g_r_t.t(), g_m, g_psi.sum(), *g_layers


def _tangent_forward(
    y: Tensor, p: Tensor, r: Tensor, big_psi: Tensor, offset: Tensor, *layers: Tensor
) -> tuple[Tensor, ...]:
    """`tangent_formula`, with the tangents of each layer in the place of those before its slope."""
    hidden_t = hidden_layers(y, layers)
    tangents = layers[0][:, :, None] * slope(hidden_t[0])[:, None, :]
    for weight, value_t in zip(layers[2::2], hidden_t[1:], strict=True):
        tangents = torch.mm(weight, tangents.flatten(1)).view(-1, *tangents.shape[1:])
        tangents.mul_(slope(value_t)[:, None, :])
    tangents.mul_(p.t().contiguous())
    summands = torch.addcmul(tangents, r.t().contiguous(), hidden_t[-1][:, None, :], value=-1)
    return ((torch.mm(big_psi, summands.flatten(0, 1)) - torch.mm(offset, r.t())).t().contiguous(),)


def _tangent_backward(inputs: Inputs, _: Inputs, grad: Tensor) -> tuple[Tensor, ...]:
    y, p, r, big_psi, offset, *layers = inputs
    grad_t, p_t, r_t = grad.t(), p.t().contiguous(), r.t().contiguous()
    hidden_t = hidden_layers(y, layers)
    before, after = tangents_of(layers, hidden_t)
    last = hidden_t[-1][:, None, :]

    summands = p_t * after[-1] - r_t * last
    g_big_psi, g_offset = torch.mm(grad_t, summands.flatten(0, 1).t()), -torch.mm(grad_t, r)
    g_summands = torch.mm(big_psi.t(), grad_t).view(summands.shape)
    g_p_t = (g_summands * after[-1]).sum(0)
    g_r_t = -(g_summands * last).sum(0) - torch.mm(offset.t(), grad_t)
    g_last = -(g_summands * r_t).sum(1)

    g_after = g_summands.mul_(p_t)
    g_weights: list[Tensor] = []
    g_hidden_t: list[Tensor] = []
    for index in reversed(range(len(hidden_t))):
        g_slope_t = (g_after * before[index]).sum(1)
        g_hidden_t.insert(0, torch.addcmul(g_slope_t, g_slope_t, hidden_t[index], value=-2))
        g_before = g_after.mul_(slope(hidden_t[index])[:, None, :]).reshape(len(hidden_t[index]), -1)
        if index > 0:
            g_weights.insert(0, torch.mm(g_before, after[index - 1].flatten(1).t()))
            g_after = torch.mm(layers[2 * index].t(), g_before).view(after[index - 1].shape)
    g_weights.insert(0, g_before.view(after[0].shape).sum(2))
    g_hidden_t[-1] = g_hidden_t[-1] + g_last
    g_y, *g_layers = _down_the_layers(y, layers, hidden_t, g_hidden_t, g_weights)
    return g_y, g_p_t.t(), g_r_t.t(), g_big_psi, g_offset, *g_layers


def _ridge_terms(inputs: Inputs) -> tuple[Tensor, Tensor, Tensor]:
    """Gate g, slopes p . e, and slopes - g slopes - r . f: what the gate multiplies."""
    y, p, r, weight, bias, steep, pairs, _ = inputs
    (gate,) = hidden_layers(y, (weight, bias))
    slopes = torch.mm(steep, p.t())
    falling = torch.addmm(slopes, pairs, r.t(), alpha=-1).view(2, *gate.shape)
    slopes = slopes.view(2, weight.shape[0], -1)
    return gate, slopes, torch.addcmul(falling, gate, slopes, value=-1)


def _ridge_forward(*inputs: Tensor) -> tuple[Tensor, ...]:
    gate, _, falling = _ridge_terms(inputs)
    return (torch.mm(inputs[-1].t(), falling.mul_(gate).flatten(0, 1)).t().contiguous(),)


def _ridge_backward(inputs: Inputs, _: Inputs, grad: Tensor) -> tuple[Tensor, ...]:
    y, p, r, weight, bias, steep, pairs, back = inputs
    gate, slopes, falling = _ridge_terms(inputs)
    width = len(weight)
    g_back = torch.mm((gate * falling).view(2 * width, -1), grad)
    g_product = torch.mm(back, grad.t()).view(falling.shape)
    g_gate = (g_product * torch.addcmul(falling, gate, slopes, value=-1)).sum(0)
    g_values = g_product.mul_(gate)  # with the sign of -r . f
    g_slopes = torch.addcmul(g_values, g_values, gate, value=-1).view(2 * width, -1)
    g_values = g_values.view(2 * width, -1)
    if p.shape[0] == 1:
        g_slopes = g_slopes.sum(1, keepdim=True)
    g_y, g_weight, g_bias = _down_the_layers(y, (weight, bias), [gate], [g_gate], [torch.zeros_like(weight)])
    g_p, g_r = torch.mm(steep.t(), g_slopes).t(), -torch.mm(pairs.t(), g_values).t()
    return g_y, g_p, g_r, g_weight, g_bias, torch.mm(g_slopes, p), -torch.mm(g_values, r), g_back


def _ridge_jacobians(inputs: Inputs, moving: Sequence[int]) -> list[Tensor]:
    r"""In y :math:`\sum b\, ((g - g^2)((1 - 2 g)\, p \cdot e - r \cdot f))\, A`, in p :math:`\sum b\, (g - g^2)\, e`,
    in r :math:`-\sum b\, g f`: each is one product of n x K by K x d^2."""
    _, _, _, weight, _, steep, pairs, back = inputs
    gate, slopes, falling = _ridge_terms(inputs)
    slope_t = gate - gate * gate
    halves = (2, *weight.shape)

    def product(factor: Tensor, rows: Tensor) -> Tensor:
        outer = back.view(halves)[..., :, None] * rows[..., None, :]
        if factor.ndim == 2:  # the same for both halves
            return torch.mm(factor.t(), outer.sum(0).flatten(1))
        return torch.mm(factor.flatten(0, 1).t(), outer.view(-1, outer[0, 0].numel()))

    def one(k: int) -> Tensor:
        if k == 0:
            return product(torch.addcmul(falling, gate, slopes, value=-1) * slope_t, weight.expand(halves))
        return product(slope_t, steep.view(halves)) if k == 1 else product(-gate, pairs.view(halves))

    return [one(k).view(-1, weight.shape[1], weight.shape[1]) for k in moving]


stream_field = with_written_gradient(stream_formula, _stream_forward, _stream_backward)
tangent_field = with_written_gradient(tangent_formula, _tangent_forward, _tangent_backward)
ridge_sum = with_written_gradient(ridge_formula, _ridge_forward, _ridge_backward, _ridge_jacobians)
