r"""Costs c(x, y) of moving a point x to y: what a transport map is the best for.

Symbols: `x`, `y` points (..., d), rows are particles; `d_i = x_i - y_i`. A cost is any function of (x, y) that returns
(...), one value per pair: those here, or a user's own. No cost has a half or a root: `Euclidean` is |x - y|^2.

| class | formula | Monge map from a density to a density |
| --- | --- | --- |
| `Euclidean` | sum_i d_i^2 | one, the gradient of a convex function (brenier1991) |
| `Lp` | sum_i abs(d_i)^p, p > 1 | one, x - (grad c)^-1(grad u), u c-concave (gangbo1996) |
| `L1` | sum_i abs(d_i) | several (ambrosio2004); the smoothed cost has one and chooses among them |
| `Mahalanobis` | d^T M d, M positive definite | one; that of `Euclidean` in the coordinates M^(1/2) x |

L1 has no gradient where a coordinate does not move and no curvature elsewhere. It is descended on as
:func:`smooth_l1`, whose smoothing falls during the training, and reported as it is: calling `L1` gives the exact cost,
`L1.smoothed` what the training sees. `descended` asks any cost for that.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.transport import square_root

Cost = Callable[[Tensor, Tensor], Tensor]

_NUMBERS = 2**22  # in the largest array of `pairwise`


def squared_euclidean(x: Tensor, y: Tensor) -> Tensor:
    r""":math:`|x - y|^2` (paper, eq. 2). x, y (..., d); returns (...)."""
    return ((x - y) ** 2).sum(-1)


def lp(x: Tensor, y: Tensor, p: float) -> Tensor:
    r""":math:`|x - y|_p^p = \sum_i |x_i - y_i|^p`, p >= 1. x, y (..., d); returns (...).

    Its gradient p |d|^(p-1) sign(d) is 0 at d = 0 for p > 1; for p < 2 its curvature is not bounded there.
    """
    return (x - y).abs().pow(p).sum(-1)


def smooth_l1(x: Tensor, y: Tensor, smoothing: float) -> Tensor:
    r""":math:`\sum_i \sqrt{d_i^2 + \epsilon^2} - \epsilon`, the pseudo-Huber cost. x, y (..., d); returns (...).

    Strictly convex for epsilon > 0, below :math:`|d|_1` by at most d epsilon, and like :math:`d_i^2 / (2 \epsilon)` for
    small moves; it rises to the exact cost as epsilon falls to 0.
    """
    # of the forms of sqrt(d^2 + e^2) - e the one that does not cancel for d << e
    square = (x - y) ** 2
    return (square / ((square + smoothing**2).sqrt() + smoothing)).sum(-1)


def mahalanobis(x: Tensor, y: Tensor, metric: Tensor) -> Tensor:
    r""":math:`(x - y)^\top M (x - y)` (mahalanobis1936, there with M the inverse of a covariance).

    Arguments:
        x, y: shape (..., d).
        metric: M, shape (d, d), symmetric.
    Returns: shape (...).
    """
    difference = x - y
    return ((difference @ metric) * difference).sum(-1)


@dataclass(frozen=True)
class Euclidean:
    """|x - y|^2: see `squared_euclidean`."""

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return squared_euclidean(x, y)


@dataclass(frozen=True, eq=False)
class ControlledEuclidean:
    r"""|x - y|^2 between points x of a known mean m and covariance and Gaussian y; descended on with a control variate.

    .. math:: |x - y|^2 + \langle y, (A - I)\, y \rangle + 2 \langle m, y \rangle - \mathrm{tr}(A - I), \qquad
              A = \mathrm{Cov}(x)^{1/2}

    What is added has the mean 0 under N(0, I), whichever x a y belongs to: so all maps that preserve the Gaussian have
    the cost that they had, at every step as well as at the optimum. But the gradient in y is 2 (m + A y - x), and
    y -> A y + m is the best linear map back to x (gelbrich1990): at the optimum single points pull only by what a
    linear map leaves unexplained, and not by all that they move. It is also |A^{-1/2} (x - m) - A^{1/2} y|^2 up to a
    function of x, the cost in the coordinates in which that map is the identity.

    Only for y that are Gaussian: of images of data under a flow that is not exact the mean is not 0.
    Departure: ours; the paper descends on the cost itself.
    """

    matrix: Tensor
    mean: Tensor

    @classmethod
    def of(cls, x: Tensor) -> ControlledEuclidean:
        """A and m from points x (n, d), found in float64."""
        points = x.detach().double()
        return cls(square_root(torch.atleast_2d(points.T.cov())).to(x), points.mean(0).to(x))

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return squared_euclidean(x, y)

    def smoothed(self, progress: float) -> Cost:
        """With the control variate; the same all the time."""
        return self.controlled

    def controlled(self, x: Tensor, y: Tensor) -> Tensor:
        """The formula above, (...)."""
        matrix, mean = self.matrix.to(y), self.mean.to(y)
        trace = matrix.diagonal().sum() - len(matrix)
        return squared_euclidean(x, y) + ((y @ matrix - y + 2.0 * mean) * y).sum(-1) - trace


@dataclass(frozen=True)
class Lp:
    """sum_i |x_i - y_i|^p: see `lp`. p > 1, for a strictly convex cost; p = 1 is `L1`."""

    p: float

    def __post_init__(self) -> None:
        if not self.p > 1.0:
            raise BadInput(f"the cost Lp is strictly convex for p > 1, and got p={self.p:g}; for p = 1 take L1()")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return lp(x, y, self.p)


@dataclass(frozen=True)
class L1:
    """sum_i |x_i - y_i|; descended on with a smoothing that falls geometrically from `start` to `end`.

    Both are lengths in the units of the data: `start` of the size of the moves, `end` of what the map is to resolve.
    """

    start: float = 0.5
    end: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 < self.end <= self.start:
            raise BadInput(
                f"the smoothing of L1 falls from start to end > 0, and got start={self.start:g}, end={self.end:g}; "
                "type L1(start=0.5, end=0.01)"
            )

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return lp(x, y, 1.0)

    def smoothing(self, progress: float) -> float:
        """start^(1-t) end^t at the share t of the training that is done, in [0, 1]."""
        return self.start ** (1.0 - progress) * self.end**progress

    def smoothed(self, progress: float) -> Cost:
        """`smooth_l1` with the smoothing of that moment."""
        smoothing = self.smoothing(progress)
        return lambda x, y: smooth_l1(x, y, smoothing)


@dataclass(frozen=True, eq=False)
class Mahalanobis:
    """(x - y)^T M (x - y) with M `metric` (d, d), positive definite; `of` takes M from data."""

    metric: Tensor

    def __post_init__(self) -> None:
        m = self.metric
        square = m.ndim == 2 and m.shape[0] == m.shape[1]
        if not square or not torch.equal(m, m.T) or torch.linalg.cholesky_ex(m.double()).info.item() != 0:
            raise BadInput(
                f"the metric of the Mahalanobis cost is a symmetric positive definite matrix (d, d), and one of shape "
                f"{tuple(m.shape)} is not; type Mahalanobis.of(x) for the inverse covariance of the points x"
            )

    @classmethod
    def of(cls, x: Tensor) -> Mahalanobis:
        """M the inverse covariance of the points x (n, d), found in float64."""
        covariance = torch.atleast_2d(torch.cov(x.detach().double().T))
        values = torch.linalg.eigvalsh(covariance)
        if not values[0] > len(values) * torch.finfo(values.dtype).eps * values[-1]:
            raise BadInput(
                f"the covariance of {len(x)} points of dimension {x.shape[1]} has no inverse; leave out columns that "
                "are constant or sums of others, or pass a metric: Mahalanobis(metric)"
            )
        inverse = torch.linalg.inv(covariance)
        return cls(((inverse + inverse.T) / 2).to(x))

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return mahalanobis(x, y, self.metric.to(x))


def as_cost(cost: str | Cost | None) -> Cost:
    """A cost from its name: "euclidean", "l1", "l1.5", "l4" (any p >= 1; "l2" is "euclidean"); a function is itself.

    None is the default, `Euclidean`. Mahalanobis has no name here, since it needs a metric.
    """
    if cost is None or cost == "euclidean":
        return Euclidean()
    if callable(cost):
        return cost
    named = re.fullmatch(r"l(\d+(?:\.\d+)?)", cost)
    if named is None:
        raise BadInput(
            f"a cost is 'euclidean', 'l1', 'l1.5' and so on, or a function of (x, y) that returns one value per row; "
            f"found {cost!r}. For Mahalanobis pass gpot.maths.costs.Mahalanobis.of(x)"
        )
    p = float(named[1])
    return L1() if p == 1.0 else Euclidean() if p == 2.0 else Lp(p)


def descended(cost: Cost, progress: float) -> Cost:
    """What a training descends on at the share `progress` in [0, 1] of its steps: the cost itself unless it has a
    method `smoothed` (`L1`, `ControlledEuclidean`)."""
    smoothed: Callable[[float], Cost] | None = getattr(cost, "smoothed", None)
    return cost if smoothed is None else smoothed(progress)


def check_cost(cost: Cost, x: Tensor, y: Tensor) -> Tensor:
    """cost(x, y) for x, y (n, d), if it is (n,), finite, and nowhere below 0; otherwise BadInput says what came."""
    values = cost(x, y)
    if values.shape != x.shape[:1]:
        raise BadInput(
            f"a cost returns one value per pair, shape ({len(x)},) here, and {tuple(values.shape)} came; sum over the "
            "last axis, as in lambda x, y: ((x - y) ** 2).sum(-1)"
        )
    if not (values.isfinite() & (values >= 0)).all():
        raise BadInput(
            f"a cost is finite and at least 0, and of {len(x)} pairs {int((~(values >= 0)).sum())} are below 0 or NaN "
            f"and {int(values.isinf().sum())} infinite; check it at x = y, where roots and logarithms fail"
        )
    return values


def pairwise(cost: Cost, x: Tensor, y: Tensor) -> Tensor:
    """cost(x_i, y_j) of all pairs, (n, m), for x (n, d) and y (m, d); a block of rows at a time bounds the memory."""
    block = max(1, _NUMBERS // max(1, y.numel()))
    rows = []
    for part in x.split(block):
        left = part[:, None, :].expand(-1, len(y), -1).reshape(-1, x.shape[1])
        rows.append(cost(left, y.repeat(len(part), 1)).view(len(part), len(y)))
    return torch.cat(rows)
