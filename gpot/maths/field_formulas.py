r"""The fields of :mod:`gpot.maths.divergence_free` as plain formulas, for networks of sigmoid layers.

Notation: w_i = sum_j (p_j d_j psi_ij - r_j psi_ij), at positions y, with weights p and r, all of shape (n, d). A layer
is a pair A (H', H), c (H',), or (n, H') for the first one when each particle has its own time; its value is g =
sigmoid(A y + c). Names that end in `_t` hold one particle per column: products with few rows are several times faster
than with few columns.

These functions can be differentiated in every way; :mod:`gpot.maths.written_gradients` makes their first reverse
derivative cheap.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def slope(g: Tensor) -> Tensor:
    """Derivative of the sigmoid from its value: g - g^2."""
    return torch.addcmul(g, g, g, value=-1)


def hidden_layers(y: Tensor, layers: Sequence[Tensor]) -> list[Tensor]:
    """Values of the layers (A_1, c_1, A_2, c_2, ...) at y, each (H, n)."""
    value_t, values = y.t(), []
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        value_t = torch.sigmoid(torch.addmm(bias.t() if bias.ndim == 2 else bias[:, None], weight, value_t))
        values.append(value_t)
    return values


def stream_formula(y: Tensor, p: Tensor, r: Tensor, m: Tensor, k: Tensor, *layers: Tensor) -> Tensor:
    r"""d = 2, psi_12 = m . g + k a single stream function: :math:`w = (p_2 \partial_2 \psi - r_2 \psi,\; r_1 \psi - p_1
    \partial_1 \psi)`.

    The gradient of psi is one reverse sweep through the layers, written out.

    Arguments:
        y, p, r: shape (n, 2).
        m: (H,).
        k: ().
        layers: A_1, c_1, A_2, c_2, ...
    Returns: shape (n, 2).
    """
    hidden_t = hidden_layers(y, layers)
    psi = torch.mv(hidden_t[-1].t(), m) + k
    gradient_t = m[:, None]
    for weight, value_t in zip(reversed(layers[::2]), reversed(hidden_t), strict=True):
        gradient_t = torch.mm(weight.t(), gradient_t * slope(value_t))
    turned_t = p.t() * gradient_t - r.t() * psi
    return torch.stack((turned_t[1], -turned_t[0]), dim=1)


def tangents_of(layers: Sequence[Tensor], hidden_t: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Derivatives along each coordinate, [k, j, :] = d_j of unit k: before and after the sigmoid of each layer, (H, d,
    n)."""
    before = [layers[0][:, :, None]]
    after = [before[0] * slope(hidden_t[0])[:, None, :]]
    for weight, value_t in zip(layers[2::2], hidden_t[1:], strict=True):
        before.append(torch.mm(weight, after[-1].flatten(1)).view(-1, *after[-1].shape[1:]))
        after.append(before[-1] * slope(value_t)[:, None, :])
    return before, after


def tangent_formula(y: Tensor, p: Tensor, r: Tensor, big_psi: Tensor, offset: Tensor, *layers: Tensor) -> Tensor:
    r"""Any d, :math:`\psi_{ij} = \Psi_{ij} \cdot g + \beta_{ij}`: tangents G_j = d_j g, then :math:`w_i = \sum_j
    \Psi_{ij} \cdot (p_j G_j - r_j g) - r_j \beta_{ij}`.

    Arguments:
        y, p, r: shape (n, d).
        big_psi: Psi as [i, (k, j)], shape (d, H d).
        offset: beta, shape (d, d).
        layers: A_1, c_1, ...
    Returns: shape (n, d).
    The largest arrays are (H, d, n), two per layer.
    """
    hidden_t = hidden_layers(y, layers)
    _, after = tangents_of(layers, hidden_t)
    summands = torch.addcmul(p.t().contiguous() * after[-1], r.t().contiguous(), hidden_t[-1][:, None, :], value=-1)
    return (torch.mm(big_psi, summands.flatten(0, 1)) - torch.mm(offset, r.t())).t().contiguous()


def ridge_formula(
    y: Tensor, p: Tensor, r: Tensor, weight: Tensor, bias: Tensor, steep: Tensor, pairs: Tensor, back: Tensor
) -> Tensor:
    r"""Sum over the rows e, f, b of `steep`, `pairs`, `back` of :math:`b\, ((g - g^2)\, p \cdot e - g\, r \cdot f)`, g
    = sigmoid(A y + c).

    The first and the second half of the rows share the same neurons.

    Arguments:
        y, r: shape (n, d).
        p: shape (n, d), or (1, d) for all particles.
        weight, bias: the layer A (K, d), c.
        steep, pairs, back: (2 K, d).
    Returns: shape (n, d).
    """
    (gate,) = hidden_layers(y, (weight, bias))
    halves = (2, weight.shape[0], -1)
    slopes = torch.mm(steep, p.t()).view(halves)
    values = torch.mm(pairs, r.t()).view(halves)
    return torch.mm(back.t(), (gate * (slopes - gate * slopes - values)).flatten(0, 1)).t().contiguous()
