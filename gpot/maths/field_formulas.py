r"""The fields of :mod:`gpot.maths.divergence_free` as plain formulas, for networks of sigmoid layers.

Notation: w_i = sum_j (p_j d_j psi_ij - r_j psi_ij), at positions y, with weights p and r, all of shape (n, d). A layer is a pair A (H', H),
c (H',), or (n, H') for the first one when each particle has its own time; g = sigmoid(A y + c).
These functions can be differentiated in every way; :mod:`gpot.maths.written_gradients` makes their first reverse derivative cheap.
"""

from __future__ import annotations

import torch
from torch import Tensor


def slope(g: Tensor) -> Tensor:
    """Derivative of the sigmoid from its value: g - g^2."""
    return torch.addcmul(g, g, g, value=-1)


def hidden_layers(y: Tensor, layers: tuple[Tensor, ...]) -> list[Tensor]:
    """Values g of the layers (A_1, c_1, A_2, c_2, ...) at y, each (n, H)."""
    values = []
    for weight, bias in zip(layers[::2], layers[1::2], strict=True):
        y = torch.sigmoid(torch.addmm(bias, y, weight.t()))
        values.append(y)
    return values


def stream_formula(y: Tensor, p: Tensor, r: Tensor, m: Tensor, k: Tensor, *layers: Tensor) -> Tensor:
    r"""d = 2, psi_12 = m . g + k a single stream function: :math:`w = (p_2 \partial_2 \psi - r_2 \psi,\; r_1 \psi - p_1 \partial_1 \psi)`.

    The gradient of psi is one reverse sweep through the layers, written out.

    Arguments: y, p, r: shape (n, 2); m: (H,); k: (); layers: A_1, c_1, A_2, c_2, ...
    Returns: shape (n, 2).
    """
    hidden = hidden_layers(y, layers)
    psi = torch.mv(hidden[-1], m) + k
    gradient = m
    for weight, g in zip(reversed(layers[::2]), reversed(hidden), strict=True):
        gradient = torch.mm(gradient * slope(g), weight)
    turned = p * gradient - r * psi[:, None]
    return torch.stack((turned[:, 1], -turned[:, 0]), dim=1)


def tangent_formula(y: Tensor, p: Tensor, r: Tensor, big_psi: Tensor, offset: Tensor, *layers: Tensor) -> Tensor:
    r"""Any d, :math:`\psi_{ij} = \Psi_{ij} \cdot g + \beta_{ij}`: tangents G_j = d_j g, then :math:`w_i = \sum_j p_j \Psi_{ij} \cdot G_j - r_j \psi_{ij}`.

    Arguments: y, p, r: shape (n, d); big_psi: Psi as [j, :, i], shape (d, H, d); offset: beta as [j, i], shape (d, d); layers: A_1, c_1, ...
    Returns: shape (n, d).
    The largest arrays are (d, n, H), two per layer; psi itself is (d, n, d).
    """
    hidden = hidden_layers(y, layers)
    tangents = layers[0].t()[:, None, :] * slope(hidden[0])
    for weight, g in zip(layers[2::2], hidden[1:], strict=True):
        tangents = torch.matmul(tangents, weight.t()) * slope(g)
    derivative = torch.matmul(tangents, big_psi)  # [j, :, i] = d_j psi_ij
    psi = torch.matmul(hidden[-1], big_psi) + offset[:, None, :]
    return (p.t()[:, :, None] * derivative - r.t()[:, :, None] * psi).sum(0)


def ridge_formula(y: Tensor, r: Tensor, steep: Tensor, weight: Tensor, bias: Tensor, pairs: Tensor, back: Tensor) -> Tensor:
    r"""Sum over the rows of `pairs` of :math:`\mathrm{back}\, (\mathrm{steep} (g - g^2) - g\, r \cdot \mathrm{pair})`, g = sigmoid(A y + c).

    Two rows (first and second half of `pairs`) share one neuron.

    Arguments: y, r: shape (n, d); steep: shape (n, 2 K) or (1, 2 K); weight, bias: the layer A (K, d), c; pairs, back: shape (2 K, d).
    Returns: shape (n, d).
    """
    width = weight.shape[0]
    g = torch.sigmoid(torch.addmm(bias, y, weight.t()))[:, None, :]
    steep = steep.view(-1, 2, width)
    total = steep - torch.mm(r, pairs.t()).view(-1, 2, width)
    return torch.mm((g * (total - g * steep)).view(-1, 2 * width), back)
