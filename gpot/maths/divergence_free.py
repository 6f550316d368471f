r"""Velocities that preserve the Gaussian by construction, for any antisymmetric psi (eq. 14 to 19).

Notation: y position, shape (n, d), in the coordinates of a chart; t time; psi(t, y) antisymmetric, d x d; p, r weights,
shape (n, d). Every field here is

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
:math:`\psi_{ij} = \Psi_{ij} \cdot h + \beta_{ij}`, and (Psi, beta) depend on the output weights alone
(:func:`antisymmetric_weights`): the blocks cost nothing per particle. What is left is the derivative of h along each
coordinate: d tangents stacked, one matrix product per layer, and one product with Psi at the end
(:func:`tangent_field`); for d = 2, where psi is one stream function, one reverse sweep (:func:`stream_field`).

Hidden layers are computed as h = 2 g - 1, g = sigmoid(2 .), with the 2 and the 1 folded into the weights
(:func:`sigmoid_layers`): the same functions, and PyTorch's sigmoid takes a tenth of the time of its tanh on a CPU.

Departure: eq. (15) is printed with its indices exchanged (the entry is d_j u_i; with the printed order Lemma 3 fails)
and eq. (19) with the network's Jacobian inside sigma'. The released code builds the Jacobian of all d (d - 1) outputs,
and d x d matrices per block.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.field_tangents import ridge_along, stream_along, tangent_along
from gpot.maths.written_gradients import ridge_sum, stream_field, tangent_field

WeightedField = Callable[[Tensor, "Tensor | float", "Tensor | None", Tensor], Tensor]
"""w(y, t, p, r), shape (n, d): y, p, r of shape (n, d), p None for 1; t a number, or of shape () or (n,), one time per
particle."""

WeightedAlong = Callable[..., tuple[Tensor, Tensor]]
"""w and its tangents, shapes (n, d) and (k, n, d), as a function of (y, t, p, r, u_y, u_p, u_r): the last three of
shape (k, n, d), directions in which y, p and r move together, while t does not."""


def antisymmetric_weights(weight: Tensor, bias: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    r"""Output weights of the blocks a^n turned into output weights of psi (eq. 14, summed over its blocks).

    .. math:: \Psi_{ij} = \sum_{n \le \min(i, j)} (M^n_i - M^n_j), \qquad \beta_{ij} = \sum_{n \le \min(i, j)} (b^n_i -
    b^n_j)

    Arguments:
        weight: M, shape (d B, H), row `component * B + block`.
        bias: b, shape (d B,).
        dim: d.
    Returns: Psi, shape (d, d, H), and beta, shape (d, d), both antisymmetric in (i, j).
    Departure: block n keeps its own components i >= n and ignores the others (as the released code does, and as the
    text of Appendix A says), while eq. (14) shifts the index; the sets of functions are the same.
    """
    blocks = torch.cat((weight, bias[:, None]), dim=1).view(dim, -1, weight.shape[1] + 1)
    acts = weight.new_ones(dim, blocks.shape[1]).tril()  # acts[i, n] = m^n_i
    one_side = torch.matmul(acts, blocks * acts[:, :, None])  # [i, j] = sum over n of m^n_j m^n_i M^n_i
    psi = one_side - one_side.transpose(0, 1)
    return psi[:, :, :-1], psi[:, :, -1]


def sigmoid_layers(weights: Sequence[Tensor], biases: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    r"""The layers of a tanh network, rewritten for sigmoid: same outputs, since :math:`\tanh(x) =
    2\,\mathrm{sigmoid}(2x) - 1`.

    Arguments:
        weights, biases: one per layer, the last one linear; shapes (H', H) and (H',).
    Returns: weights and biases of the same shapes.
    """
    scales = [2.0] + [4.0] * (len(weights) - 2) + [2.0]  # into a sigmoid: times 2; out of one: times 2
    new_biases = [2.0 * biases[0]]
    for weight, bias in zip(weights[1:-1], biases[1:-1], strict=True):
        new_biases.append(2.0 * (bias - weight.sum(1)))
    new_biases.append(biases[-1] - weights[-1].sum(1))
    return [scale * weight for scale, weight in zip(scales, weights, strict=True)], new_biases


def first_bias(bias: Tensor, in_time: Tensor, t: Tensor | float) -> Tensor:
    """Bias of a layer whose input has the time as one more component.

    Arguments:
        bias, in_time: b and the weights of the time, shape (H,).
        t: a number, or of shape () or (n,), one time per particle.
    Returns: shape (H,), or (n, H) for one time per particle.
    """
    if isinstance(t, Tensor) and t.ndim == 1:
        return bias + t[:, None] * in_time
    return bias + t * in_time


def mlp_field(weights: Sequence[Tensor], biases: Sequence[Tensor], dim: int) -> WeightedField:
    r"""The field w of the paper's construction (eq. 14 to 19), with the blocks a^n from one tanh network.

    Arguments:
        weights, biases: the layers; input (y, t) with time last, at least one hidden layer, d B outputs `component * B
            + block`, 1 <= B <= d - 1.
        dim: d.
    Returns: w as a function of (y, t, p, r). What depends on the weights alone is computed here, once for all
    evaluations. Departure: psi is assembled from the output weights instead of from the outputs and their Jacobians,
    particle by particle.
    """
    field, _, output, layers = _mlp_parts(weights, biases, dim)

    def w(y: Tensor, t: Tensor | float, p: Tensor | None, r: Tensor) -> Tensor:
        p = torch.ones_like(r) if p is None else p
        return field(y, p, r, *output, *layers(t))

    return w


def mlp_along(weights: Sequence[Tensor], biases: Sequence[Tensor], dim: int) -> WeightedAlong:
    """:func:`mlp_field` with its tangents."""
    _, along, output, layers = _mlp_parts(weights, biases, dim)

    def w(y: Tensor, t: Tensor | float, p: Tensor, r: Tensor, *tangents: Tensor) -> tuple[Tensor, Tensor]:
        return along(y, p, r, *tangents, *output, *layers(t))

    return w


def _mlp_parts(
    weights: Sequence[Tensor], biases: Sequence[Tensor], dim: int
) -> tuple[Callable[..., Tensor], WeightedAlong, tuple[Tensor, Tensor], Callable[[Tensor | float], list[Tensor]]]:
    """The formula of the dimension and that with tangents, its output weights, and its layers at a time."""
    if len(weights) < 2 or weights[0].shape[1] != dim + 1 or weights[-1].shape[0] % dim:
        raise BadInput(
            f"a field of dimension {dim} needs layers from {dim + 1} inputs through at least one hidden layer to a "
            f"multiple of {dim} outputs, found shapes {[tuple(weight.shape) for weight in weights]}; pass the weights "
            "of an MLPVelocity of that dimension"
        )
    weights, biases = sigmoid_layers(weights, biases)
    first, in_time = weights[0][:, :dim], weights[0][:, dim]
    upper = [x for pair in zip(weights[1:-1], biases[1:-1], strict=True) for x in pair]

    def layers(t: Tensor | float) -> list[Tensor]:
        return [first, first_bias(biases[0], in_time, t), *upper]

    if dim == 2:
        output = weights[-1][0] - weights[-1][1], biases[-1][0] - biases[-1][1]
        return stream_field, stream_along, output, layers
    psi, offset = antisymmetric_weights(weights[-1], biases[-1], dim)
    return tangent_field, tangent_along, (psi.transpose(1, 2).reshape(dim, -1), offset), layers


def ridge_field(w: Tensor, o: Tensor, b: Tensor, alpha: Tensor, beta: Tensor) -> WeightedField:
    r"""The field of :math:`\psi = \sum_k (\alpha_k \beta_k^\top - \beta_k \alpha_k^\top) h_k`, with :math:`h_k =
    \tanh(w_k \cdot y + o_k t + b_k)`.

    .. math:: \sum_k \alpha_k (\beta_k \cdot Y_k) - \beta_k (\alpha_k \cdot Y_k),
        \qquad \beta_k \cdot Y_k = (1 - h_k^2)\; p \cdot (\beta_k * w_k) - h_k\; r \cdot \beta_k

    Matrix products of n x d by d x K only: no (n, K, d) array, cost linear in d. With h = 2 g - 1 the last term is (2 g
    - 1) r . beta; its constant part is the product of r with one d x d matrix.

    Arguments:
        w, alpha, beta: shape (K, d).
        o, b: shape (K,).
    Returns: the field as a function of (y, t, p, r).
    Departure: not in the paper.
    """
    layer, terms, constant = _ridge_parts(w, o, b, alpha, beta)

    def field(y: Tensor, t: Tensor | float, p: Tensor | None, r: Tensor) -> Tensor:
        p = torch.ones_like(r[:1]) if p is None else p
        return torch.addmm(ridge_sum(y, p, r, *layer(t), *terms), r, constant)

    return field


def ridge_field_along(w: Tensor, o: Tensor, b: Tensor, alpha: Tensor, beta: Tensor) -> WeightedAlong:
    """:func:`ridge_field` with its tangents."""
    layer, terms, constant = _ridge_parts(w, o, b, alpha, beta)

    def field(
        y: Tensor, t: Tensor | float, p: Tensor, r: Tensor, u_y: Tensor, u_p: Tensor, u_r: Tensor
    ) -> tuple[Tensor, Tensor]:
        total, along = ridge_along(y, p, r, u_y, u_p, u_r, *layer(t), *terms)
        return torch.addmm(total, r, constant), along + u_r @ constant

    return field


def _ridge_parts(
    w: Tensor, o: Tensor, b: Tensor, alpha: Tensor, beta: Tensor
) -> tuple[Callable[[Tensor | float], tuple[Tensor, Tensor]], tuple[Tensor, Tensor, Tensor], Tensor]:
    """The layer of sigmoids at a time; steep, pairs and back of the formula; the matrix of the constant part."""
    pairs, back = torch.cat((beta, alpha)), torch.cat((alpha, -beta))
    steep = 4.0 * pairs * torch.cat((w, w))  # 1 - h^2 = 4 (g - g^2)
    twice_w, twice_o, twice_b = 2.0 * w, 2.0 * o, 2.0 * b

    def layer(t: Tensor | float) -> tuple[Tensor, Tensor]:
        return twice_w, first_bias(twice_b, twice_o, t)

    return layer, (steep, 2.0 * pairs, back), torch.mm(pairs.t(), back)
