r"""The fields of :mod:`gpot.maths.field_formulas` with their derivatives along directions of y: values and tangents
that share the hidden layers.

Euler's penalty (:mod:`gpot.maths.euler`) needs no Jacobian of a velocity, only its products with a few directions. Each
function here takes the arguments of its formula and three stacks of tangents, u_y, u_p and u_r, of shape (k, n, d), and
returns w (n, d) and

.. math:: w'_l = (\partial_y w)\, u_{y,l} + (\partial_p w)\, u_{p,l} + (\partial_r w)\, u_{r,l}, \qquad (k, n, d).

Both can be differentiated once more by reverse mode. Notation: of the formulas; arrays that end in `_t` hold one
particle per column, (H, n), their tangents (H, k, n).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.maths.field_formulas import hidden_layers, slope, tangents_of

WithTangents = tuple[Tensor, Tensor]


def _columns(tangents: Tensor) -> Tensor:
    """(k, n, d) as (d, k, n)."""
    return tangents.permute(2, 0, 1)


def _times(matrix: Tensor, tangents: Tensor) -> Tensor:
    """A matrix (H', H) times (H, ...)."""
    return torch.mm(matrix, tangents.reshape(len(tangents), -1)).view(-1, *tangents.shape[1:])


def stream_along(
    y: Tensor, p: Tensor, r: Tensor, u_y: Tensor, u_p: Tensor, u_r: Tensor, m: Tensor, k: Tensor, *layers: Tensor
) -> WithTangents:
    r"""Of :func:`gpot.maths.field_formulas.stream_formula`, for any number of directions at the cost of two: psi is
    scalar, so its gradient and its Hessian have all of them.

    .. math:: \partial_i \partial_j \psi = \sum_h \nu_h\, \sigma''(s_h)\, \partial_i s_h\, \partial_j s_h

    over the neurons h of all layers, with s what enters a sigmoid and nu the derivative of psi in its value.
    """
    hidden_t = hidden_layers(y, layers)
    slopes = [slope(value) for value in hidden_t]
    rates = [layers[0][:, :, None]]  # derivatives of s along both coordinates, (H, 2, n), the first for all particles
    for weight, steep in zip(layers[2::2], slopes[:-1], strict=True):
        rates.append(_times(weight, rates[-1] * steep[:, None, :]))
    psi, adjoint, hessian_t = torch.mv(hidden_t[-1].t(), m) + k, m[:, None], []  # hessian_t: 11, 12, 22 as (3, n)
    for index in reversed(range(len(hidden_t))):
        through = adjoint * slopes[index]
        bent = torch.addcmul(through, through, hidden_t[index], value=-2.0)
        one, two = rates[index].unbind(1)
        if index == 0:
            hessian_t.append(torch.mm(torch.stack((one * one, one * two, two * two))[..., 0], bent))
        else:
            bent_one, bent_two = bent * one, bent * two
            products = bent_one * one, bent_one * two, bent_two * two
            hessian_t.append(torch.stack([product.sum(0) for product in products]))
        adjoint = torch.mm(layers[2 * index].t(), through)
    h_11, h_12, h_22 = sum(hessian_t[1:], hessian_t[0])
    psi_1, psi_2 = adjoint
    u_1, u_2 = u_y.unbind(-1)
    along, along_1, along_2 = psi_1 * u_1 + psi_2 * u_2, h_11 * u_1 + h_12 * u_2, h_12 * u_1 + h_22 * u_2
    (p_1, p_2), (r_1, r_2), (up_1, up_2), (ur_1, ur_2) = (part.unbind(-1) for part in (p, r, u_p, u_r))
    w = torch.stack((p_2 * psi_2 - r_2 * psi, r_1 * psi - p_1 * psi_1), dim=-1)
    first = up_2 * psi_2 + p_2 * along_2 - ur_2 * psi - r_2 * along
    second = ur_1 * psi + r_1 * along - up_1 * psi_1 - p_1 * along_1
    return w, torch.stack((first, second), dim=-1)


def tangent_along(
    y: Tensor, p: Tensor, r: Tensor, u_y: Tensor, u_p: Tensor, u_r: Tensor, big_psi: Tensor, offset: Tensor,
    *layers: Tensor,
) -> WithTangents:  # fmt: skip
    """Of :func:`gpot.maths.field_formulas.tangent_formula`. The largest arrays are (H, d, k, n)."""
    hidden_t = hidden_layers(y, layers)
    before, after = tangents_of(layers, hidden_t)
    rate, bent = _columns(u_y), None  # of the value of a layer, (H, k, n), and of its derivatives, (H, d, k, n)
    for index, value in enumerate(hidden_t):
        steep = slope(value)[:, None, :]
        rate = _times(layers[2 * index], rate) * steep
        tilt = (rate * (1.0 - 2.0 * value)[:, None, :])[:, None]
        lifted = before[index][:, :, None, :] * tilt
        bent = lifted if bent is None else torch.addcmul(lifted, _times(layers[2 * index], bent), steep[:, None])
    assert bent is not None
    p_t, r_t, last = p.t().contiguous(), r.t().contiguous(), hidden_t[-1][:, None, :]
    w_t = torch.mm(big_psi, (p_t * after[-1] - r_t * last).flatten(0, 1)) - torch.mm(offset, r_t)
    summands = torch.addcmul(_columns(u_p) * after[-1][:, :, None], p_t[:, None], bent)
    summands = summands - _columns(u_r) * last[:, :, None] - r_t[:, None] * rate[:, None]
    along_t = _times(big_psi, summands.flatten(0, 1)) - _times(offset, _columns(u_r))
    return w_t.t(), along_t.permute(1, 2, 0)


def ridge_along(
    y: Tensor, p: Tensor, r: Tensor, u_y: Tensor, u_p: Tensor, u_r: Tensor, weight: Tensor, bias: Tensor,
    steep: Tensor, pairs: Tensor, back: Tensor,
) -> WithTangents:  # fmt: skip
    """Of :func:`gpot.maths.field_formulas.ridge_formula`, where p and r have n rows."""
    (gate,) = hidden_layers(y, (weight, bias))
    halves = (2, *gate.shape)
    slopes, values = torch.mm(steep, p.t()).view(halves), torch.mm(pairs, r.t()).view(halves)
    tilt = _times(weight, _columns(u_y)) * slope(gate)[:, None, :]
    falling = slopes - gate * slopes - values
    w_t = torch.mm(back.t(), (gate * falling).flatten(0, 1))
    shape = (2, *tilt.shape)
    slopes_along, values_along = _times(steep, _columns(u_p)).view(shape), _times(pairs, _columns(u_r)).view(shape)
    level = gate[:, None, :]
    product = level * (slopes_along - level * slopes_along - values_along)
    product = torch.addcmul(product, (falling - gate * slopes)[:, :, None, :], tilt)
    return w_t.t(), _times(back.t(), product.flatten(0, 1)).permute(1, 2, 0)
