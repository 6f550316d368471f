r"""Twist couplings: maps that keep the Gaussian exactly, without an ODE (ours; not in the paper).

Symbols: `z`, `s` (n, d) on the Gaussian side, d >= 3; `Q` (d, d) orthogonal; a plane is a pair (p, q) of coordinates,
with squared radius p^2 + q^2 and angle phi. The coordinates are laid out as

.. math:: y = (p_A, q_A, p_B, q_B, o), \qquad p_A, q_A \in R^{m_A},\; p_B, q_B \in R^{m_B},\; o \in R^{d \bmod 2}.

A half-layer turns each plane of A by an angle theta_k(radii of all planes of A, everything outside A). In polar
coordinates phi_k -> phi_k + theta_k, while the radii and the rest stay: the Jacobian is unit triangular, so volume is
kept, and |y| with it. The two together preserve N(0, I), whatever the function theta. An angle that looked at the phi
of any plane that turns with it would break this. The second half-layer turns the planes of B in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from gpot.errors import BadConfig
from gpot.maths.transport import exact_log_det

AngleFunction = Callable[[Tensor], Tensor]
"""Features (n, m + d - 2 m), as `plane_features` lays them out, to the angles (n, m) of the m planes that turn."""


def plane_counts(dim: int) -> tuple[int, int]:
    """m_A and m_B: the d // 2 planes in two halves, the first one larger by a plane where they are odd in number.

    With d = 3 there is one plane, m_B = 0, and a layer is its first half. d < 3 raises BadConfig: with d = 2 an angle
    depends on the radius alone, which no number of layers can make into anything else.
    """
    if dim < 3:
        raise BadConfig(
            f"a twist coupling turns planes by angles that depend on the other coordinates, so it needs dim >= 3, and "
            f"got dim={dim}; take a ridge field, which has any dimension",
            advice={"velocity": "ridge"},
        )
    planes = dim // 2
    return (planes + 1) // 2, planes // 2


def orthogonal(free: Tensor) -> Tensor:
    r"""exp(F - F^T): a rotation (det 1) from a free matrix. F (..., d, d); returns (..., d, d).

    Every rotation is one. Orthogonal to rounding times 1 + |F|.
    """
    return torch.linalg.matrix_exp(free - free.mT)


def plane_features(planes: Tensor, others: Tensor) -> Tensor:
    r"""What an angle may depend on: :math:`((p^2 + q^2) / 2 - 1, \text{others})`.

    Squared radii, because a smooth function of them is smooth at the centre of the plane; centred and scaled, because
    (p^2 + q^2) / 2 has mean 1 and variance 1 under the Gaussian, as the others have mean 0 and variance 1.

    Arguments:
        planes (n, 2 m), all p, then all q.
        others (n, k).
    Returns: (n, m + k).
    """
    p, q = planes.chunk(2, dim=1)
    return torch.cat((0.5 * (p * p + q * q) - 1.0, others), dim=1)


def turn(planes: Tensor, angles: Tensor) -> Tensor:
    """(p cos - q sin, p sin + q cos) in each plane.

    Arguments:
        planes: all p, then all q, shape (n, 2 m).
        angles: shape (n, m).
    """
    p, q = planes.chunk(2, dim=1)
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((p * cos - q * sin, p * sin + q * cos), dim=1)


def tanh_angles(weight_in: Tensor, bias_in: Tensor, weight_out: Tensor, bias_out: Tensor) -> AngleFunction:
    """theta = V tanh(W x + b) + c.

    Arguments:
        weight_in: W, shape (width, k).
        bias_in: b, shape (width,).
        weight_out: V, shape (m, width).
        bias_out: c, shape (m,).
    """

    def angles(features: Tensor) -> Tensor:
        hidden = torch.addmm(bias_in, features, weight_in.mT).tanh()
        return torch.addmm(bias_out, hidden, weight_out.mT)

    return angles


def twist(y: Tensor, first: AngleFunction, second: AngleFunction | None) -> Tensor:
    """The planes of A turned by `first`, then those of B by `second` (None where m_B = 0). y (n, d); returns (n, d)."""
    a, b, odd = _split(y)
    a = turn(a, first(plane_features(a, torch.cat((b, odd), dim=1))))
    if second is not None:
        b = turn(b, second(plane_features(b, torch.cat((a, odd), dim=1))))
    return torch.cat((a, b, odd), dim=1)


def untwist(y: Tensor, first: AngleFunction, second: AngleFunction | None) -> Tensor:
    """The inverse of `twist`: the planes of B, then those of A, by the same angles with their signs changed."""
    a, b, odd = _split(y)
    if second is not None:
        b = turn(b, -second(plane_features(b, torch.cat((a, odd), dim=1))))
    a = turn(a, -first(plane_features(a, torch.cat((b, odd), dim=1))))
    return torch.cat((a, b, odd), dim=1)


def change_frames(frames: Tensor, rotation: Tensor) -> Tensor:
    r"""The matrices between the twists of a chain of layers :math:`y \to Q_l^T \mathrm{twist}_l(Q_l y)` after R.

    .. math:: M_0 = Q_0 R, \qquad M_l = Q_l Q_{l-1}^T, \qquad M_L = Q_{L-1}^T

    One product per layer instead of two.

    Arguments:
        frames: Q, shape (L, d, d).
        rotation: R, shape (d, d).
    Returns: M, shape (L + 1, d, d).
    """
    after = torch.cat((frames, torch.eye(len(rotation), dtype=frames.dtype, device=frames.device)[None]))
    return after @ torch.cat((rotation[None], frames.mT))


def twist_chain(
    z: Tensor, changes: Tensor, first: Sequence[AngleFunction], second: Sequence[AngleFunction | None]
) -> Tensor:
    """s = M_L twist_{L-1}( ... twist_0(M_0 z)), shape (n, d).

    Arguments:
        z: shape (n, d).
        changes: M, shape (L + 1, d, d), as :func:`change_frames` gives it.
        first, second: L angle functions each.
    """
    *into, out = changes.unbind()
    y = z
    for change, angles_a, angles_b in zip(into, first, second, strict=True):
        y = _layer(y, change, angles_a, angles_b)
    return y @ out.mT


def exact_chain_log_det(
    z: Tensor,
    changes: Tensor,
    first: Sequence[AngleFunction],
    second: Sequence[AngleFunction | None],
    chunk: int = 1024,
) -> Tensor:
    r"""log|det ds/dz| of `twist_chain` by automatic differentiation: nothing is assumed of the angles.

    .. math:: \sum_l \log |\det M_l| + \log |\det \nabla\, \mathrm{twist}_l|

    The layers one by one, since the rounding of a log-determinant grows with the condition number, and that of a chain
    is up to the product of those of its layers.

    Arguments:
        z, changes, first, second: of :func:`twist_chain`.
        chunk: of :func:`gpot.maths.transport.exact_log_det`.
    Returns: shape (n,).
    """
    *into, out = changes.unbind()
    y, total = z, torch.linalg.slogdet(out).logabsdet.expand(len(z))
    for change, angles_a, angles_b in zip(into, first, second, strict=True):
        layer = partial(_layer, change=change, first=angles_a, second=angles_b)
        total = total + exact_log_det(layer, y, chunk)
        y = layer(y)
    return total


def untwist_chain(
    s: Tensor, changes: Tensor, first: Sequence[AngleFunction], second: Sequence[AngleFunction | None]
) -> Tensor:
    """z from s = twist_chain(z, ...): exact to rounding. Shapes as there."""
    *into, out = changes.unbind()
    y = s @ out
    for change, angles_a, angles_b in zip(reversed(into), reversed(first), reversed(second), strict=True):
        y = untwist(y, angles_a, angles_b) @ change
    return y


def _layer(y: Tensor, change: Tensor, first: AngleFunction, second: AngleFunction | None) -> Tensor:
    return twist(y @ change.mT, first, second)


def _split(y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The planes of A (n, 2 m_A), those of B (n, 2 m_B), and the odd coordinate (n, d mod 2)."""
    m_a, m_b = plane_counts(y.shape[1])
    a, b, odd = y.split((2 * m_a, 2 * m_b, y.shape[1] - 2 * (m_a + m_b)), dim=1)
    return a, b, odd
