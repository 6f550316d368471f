r"""Displacement interpolation of laws, and interpolation of points through s o f.

Symbols: `x` (n, d) points of P, `y = T(x)` their images, `t` in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.gp.monge import MongeMap


def displace(x: Tensor, y: Tensor, times: Sequence[float] | Tensor) -> Tensor:
    r"""The law between two: each point on the straight line to its image, (T, n, d).

    .. math:: x_t = (1 - t)\, x + t\, T(x), \qquad P_t = ((1 - t)\, \mathrm{id} + t\, T)_\# P

    For a Monge map of the squared Euclidean cost P_t is the geodesic between P and T#P, W_2(P_s, P_t) = |t - s|
    W_2(P, T#P) (mccann1997), and the paths never cross. Of another map it is a path of laws, and not the shortest.
    """
    if x.shape != y.shape or x.ndim != 2:
        raise BadInput(f"points move to their images, pairs (n, d); got {tuple(x.shape)} and {tuple(y.shape)}")
    t = torch.as_tensor(times, dtype=x.dtype, device=x.device).view(-1, 1, 1)
    return (1.0 - t) * x + t * y


def displaced_log_density(log_density: Tensor, jacobian: Tensor, t: float) -> Tensor:
    r"""log p_t(x_t) of the law between, at the points `displace` gives (n,).

    .. math:: \log p_t(x_t) = \log p(x) - \log |\det((1 - t)\, I + t\, T'(x))|

    For a Monge map T' is symmetric and positive, so that the determinant is never 0.

    Arguments:
        log_density: log p(x), shape (n,).
        jacobian: T'(x), shape (n, d, d), as :func:`gpot.maths.transport.jacobian` or `MongeBetween.jacobian` gives it.
        t: in [0, 1].
    Raises: BadInput where it is not positive: the paths of some points have crossed, and p_t has no such formula.
    """
    eye = torch.eye(jacobian.shape[-1], dtype=jacobian.dtype, device=jacobian.device)
    sign, size = torch.linalg.slogdet((1.0 - t) * eye + t * jacobian)
    crossed = int((sign <= 0).sum())
    if crossed:
        raise BadInput(
            f"the law at t={t:g} has a density where det((1 - t) I + t T') > 0, and at {crossed} of {len(sign)} points "
            "it is not: T is no Monge map there. Fit it longer, or leave these points out and say how many"
        )
    return log_density - size


class Path(str, Enum):
    """Between two points of the Gaussian side: the straight line, or the arc (the angle and the norm grow evenly)."""

    line = "line"
    arc = "arc"


def interpolate_points(
    monge: MongeMap, start: Tensor, end: Tensor, times: Sequence[float] | Tensor, path: Path | str = Path.line
) -> Tensor:
    r"""Points between `start` and `end` (n, d), through the Gaussian side of M = s o f: (T, n, d).

    .. math:: x_t = M^{-1}(\gamma(t)), \qquad \gamma(0) = M(x_0), \quad \gamma(1) = M(x_1)

    With M a Monge map its inverse is the gradient of a convex function, so that along a line <gamma(1) - gamma(0), x_t>
    never decreases: the way does not turn back. With f alone nothing of the kind holds. A line passes nearer to the
    origin than its ends, where the density of N(0, I) is higher; an arc keeps the norm between those of its ends, which
    in high dimension is where the mass is.
    """
    if path not in list(Path):
        raise BadInput(f"a path is one of {', '.join(p.value for p in Path)}, found {path!r}")
    if start.shape != end.shape or start.ndim != 2:
        raise BadInput(f"points are paired with points, (n, d); got {tuple(start.shape)} and {tuple(end.shape)}")
    with torch.no_grad():
        a, b = monge.transport(start), monge.transport(end)
        t = torch.as_tensor(times, dtype=a.dtype, device=a.device).view(-1, 1, 1)
        between = (1.0 - t) * a + t * b if Path(path) is Path.line else _arc(a, b, t)
        return torch.stack([monge.inverse(points, 2) for points in between])


def _arc(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """Spherical between the directions, linear between the norms; a line where the directions are the same."""
    norm_a, norm_b = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    u, v = a / norm_a, b / norm_b
    # 2 atan2 of the half-angle: well-conditioned for near and for opposite directions
    angle = 2.0 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))
    small = angle < 1e-4
    safe = torch.where(small, 1.0, angle)
    weight_a = torch.where(small, 1.0 - t, ((1.0 - t) * safe).sin() / safe.sin())
    weight_b = torch.where(small, t, (t * safe).sin() / safe.sin())
    return (weight_a * u + weight_b * v) * ((1.0 - t) * norm_a + t * norm_b)
