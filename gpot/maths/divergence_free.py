r"""Velocities that preserve the Gaussian by construction, for any antisymmetric psi (eq. 14 to 19).

Notation: y position, shape (n, d), in the coordinates of a chart; t time; psi(t, y) antisymmetric, d x d; p, r weights, shape (n, d).
Every field here is

.. math:: w_i = \sum_j \left( p_j\, \partial_j \psi_{ij} - r_j\, \psi_{ij} \right).

==========  ==================  ==================  ==============================================================
chart       (p, r)              velocity            why the law is kept
==========  ==================  ==================  ==============================================================
cube        (1 - c^2, 2 c)      dc/dt = p w         div v = 0, and v . n = 0 on every face (Lemma 2, eq. 17)
gaussian    the same, at c(z)   dz/dt = gamma(z) w  the same flow seen in z
direct      (1, z)              dz/dt = w           div w - z . w = 0, for psi a function of z
==========  ==================  ==================  ==============================================================

In the paper psi comes from d - 1 blocks of functions a^n (eq. 14): with m^n_i = 1 for i >= n (counted from 0),

.. math:: \psi_{ij} = \sum_n m^n_i m^n_j (a^n_i - a^n_j).

The a^n are the linear outputs of one tanh network (eq. 18), so psi is linear in its last hidden layer h as well,
:math:`\psi_{ij} = \Psi_{ij} \cdot h + \beta_{ij}`, and (Psi, beta) depend on the output weights alone (:func:`antisymmetric_weights`):
the blocks cost nothing per particle. What is left is the derivative of h along each coordinate: d tangents stacked, one matrix product
per layer, and one product with Psi at the end (:func:`tangent_field`); for d = 2, where psi is one stream function, one reverse sweep
(:func:`stream_field`).

Hidden layers are computed as h = 2 g - 1, g = sigmoid(2 .), with the 2 and the 1 folded into the weights (:func:`sigmoid_layers`): the
same functions, and PyTorch's sigmoid takes a tenth of the time of its tanh on a CPU.

Departure: eq. (15) is printed with its indices exchanged (the entry is d_j u_i; with the printed order Lemma 3 fails) and eq. (19) with the
network's Jacobian inside sigma'. The released code builds the Jacobian of all d (d - 1) outputs, and d x d matrices per block.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def antisymmetric_weights(weight: Tensor, bias: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    r"""Output weights of the blocks a^n turned into output weights of psi (eq. 14, summed over its blocks).

    .. math:: \Psi_{ij} = \sum_{n \le \min(i, j)} (M^n_i - M^n_j), \qquad \beta_{ij} = \sum_{n \le \min(i, j)} (b^n_i - b^n_j)

    Arguments: weight: M, shape (d B, H), row `component * B + block`; bias: b, shape (d B,); dim: d.
    Returns: Psi, shape (d, d, H), and beta, shape (d, d), both antisymmetric in (i, j).
    Departure: block n keeps its own components i >= n and ignores the others (as the released code does, and as the text of Appendix A
    says), while eq. (14) shifts the index; the sets of functions are the same.
    """
    blocks = torch.cat((weight, bias[:, None]), dim=1).view(dim, -1, weight.shape[1] + 1)
    acts = weight.new_ones(dim, blocks.shape[1]).tril()  # acts[i, n] = m^n_i
    one_side = torch.matmul(acts, blocks * acts[:, :, None])  # [i, j] = sum over n of m^n_j m^n_i M^n_i
    psi = one_side - one_side.transpose(0, 1)
    return psi[:, :, :-1], psi[:, :, -1]


def sigmoid_layers(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    r"""The layers of a tanh network, rewritten for sigmoid: same outputs, since :math:`\tanh(x) = 2\,\mathrm{sigmoid}(2x) - 1`.

    Arguments: weights, biases: one per layer, the last one linear; shapes (H', H) and (H',).
    Returns: weights and biases of the same shapes.
    """
    scales = [2.0] + [4.0] * (len(weights) - 2) + [2.0]  # into a sigmoid: times 2; out of one: times 2
    new_biases = [2.0 * biases[0]]
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        new_biases.append(2.0 * (bias - weight.sum(1)))
    new_biases.append(biases[-1] - weights[-1].sum(1))
    return [scale * weight for scale, weight in zip(scales, weights, strict=True)], new_biases


def first_bias(bias: Tensor, in_time: Tensor, t: Tensor | float) -> Tensor:
    """Bias of a layer whose input has the time as one more component: shape (H,), or (n, H) for one time per particle."""
    if isinstance(t, Tensor) and t.ndim == 1:
        return bias + t[:, None] * in_time
    return bias + t * in_time


def stream_field(y: Tensor, p: Tensor | None, r: Tensor, *layers: Tensor) -> Tensor:
    r"""The field w for d = 2, psi_12 = psi one function: :math:`w = (p_2 \partial_2 \psi - r_2 \psi,\; -p_1 \partial_1 \psi + r_1 \psi)`.

    The gradient of psi is one reverse sweep through the sigmoid network, written out.

    Arguments: y, p, r: shape (n, 2), p None for 1; layers: A_1 (H, 2), c_1 (H,) or (n, H), A_2, c_2, ..., then m (H,) and k (): psi = m . g + k.
    Returns: shape (n, 2).
    """
    weights, biases = layers[:-2:2], layers[1:-2:2]
    m, k = layers[-2:]
    hidden = [y]
    for weight, bias in zip(weights, biases, strict=True):
        hidden.append(torch.sigmoid(torch.addmm(bias, hidden[-1], weight.t())))
    psi = torch.mv(hidden[-1], m) + k
    gradient = m
    for weight, g in zip(reversed(weights), reversed(hidden), strict=False):
        gradient = torch.mm(gradient * (g - g * g), weight)
    if p is not None:
        gradient = p * gradient
    rotated = gradient - r * psi[:, None]
    return torch.stack((rotated[:, 1], -rotated[:, 0]), dim=1)


def tangent_field(y: Tensor, p: Tensor | None, r: Tensor, *layers: Tensor) -> Tensor:
    r"""The field w for any d: tangents G_j = d_j g of the last hidden layer, then :math:`w_i = \sum_j p_j \Psi_{ij} \cdot G_j - r_j \psi_{ij}`.

    Arguments: y, p, r: shape (n, d), p None for 1; layers: A_1 (H, d), c_1 (H,) or (n, H), A_2, c_2, ..., then Psi (d, d, H) and beta (d, d).
    Returns: shape (n, d).
    Largest arrays: (d, n, H), two per hidden layer; psi itself is (d, n, d).
    """
    weights, biases = layers[:-2:2], layers[1:-2:2]
    from_hidden, offset = layers[-2].permute(1, 2, 0), layers[-1].t()  # [j, :, i] and [j, i]
    g, tangents = y, None
    for weight, bias in zip(weights, biases, strict=True):
        tangents = weight.t()[:, None, :] if tangents is None else torch.matmul(tangents, weight.t())
        g = torch.sigmoid(torch.addmm(bias, g, weight.t()))
        tangents = tangents * (g - g * g)
    derivative = torch.matmul(tangents, from_hidden)  # [j, :, i] = d_j psi_ij
    psi = torch.matmul(g, from_hidden) + offset[:, None, :]
    if p is not None:
        derivative = p.t()[:, :, None] * derivative
    return (derivative - r.t()[:, :, None] * psi).sum(0)


def ridge_field(
    y: Tensor,
    t: Tensor | float,
    p: Tensor | None,
    r: Tensor,
    w: Tensor,
    o: Tensor,
    b: Tensor,
    alpha: Tensor,
    beta: Tensor,
) -> Tensor:
    r"""The field of :math:`\psi = \sum_k (\alpha_k \beta_k^\top - \beta_k \alpha_k^\top) h_k`, with :math:`h_k = \tanh(w_k \cdot y + o_k t + b_k)`.

    .. math:: \sum_k \alpha_k (\beta_k \cdot Y_k) - \beta_k (\alpha_k \cdot Y_k),
        \qquad \beta_k \cdot Y_k = (1 - h_k^2)\; p \cdot (\beta_k * w_k) - h_k\; r \cdot \beta_k

    Matrix products of n x d by d x K only: no (n, K, d) array, cost linear in d. With h = 2 g - 1, g = sigmoid(2 .), the last term is
    (2 g - 1) r . beta; its constant part is the product of r with one d x d matrix.

    Arguments: y, p, r: shape (n, d), p None for 1; t: number or shape () or (n,); w, alpha, beta: shape (K, d); o, b: shape (K,).
    Returns: shape (n, d).
    Departure: not in the paper.
    """
    width = w.shape[0]
    pairs = torch.cat((beta, alpha))
    back = torch.cat((alpha, -beta))
    g = torch.sigmoid(torch.addmm(first_bias(2.0 * b, 2.0 * o, t), y, (2.0 * w).t()))[:, None, :]
    steep = 4.0 * pairs * torch.cat((w, w))  # 1 - h^2 = 4 (g - g^2)
    slope = steep.sum(1) if p is None else torch.mm(p, steep.t())
    slope = slope.view(-1, 2, width)
    total = slope - torch.mm(r, (2.0 * pairs).t()).view(-1, 2, width)
    along = g * (total - g * slope)
    return torch.addmm(torch.mm(r, torch.mm(pairs.t(), back)), along.view(-1, 2 * width), back)
