r"""Monge-Kantorovich ranks, signs, quantile contours and depth (chernozhukov2017; hallin2021) of any flow.

Symbols: `z = s(f(x))` (n, d), N(0, I) for x of the flow's law; F the distribution function of chi^2 with d degrees.

The order in R^d is that of the Gaussian, carried back by a Monge map M = s o f: z is spherical, so |z|^2 ~ chi^2_d is
independent of the direction z / |z|, uniform on the sphere. The region of content q is the preimage of the ball of
radius r_q, r_q^2 the q quantile of chi^2_d. With f alone in place of s o f the contents are the same, since s keeps
the Gaussian, and the regions are an accident of f; with the Monge map they are those of optimal transport: one
definition, which does not depend on the family of the flow.

A region has its content as far as z is Gaussian. Where the flow has not learned its data well enough for that, points
that no fit has seen give regions of the same shape with the right content whatever the law of z (`calibrate`).

Departure: hallin2021 transports to the uniform law on the ball (spherical uniform), chernozhukov2017 to any reference;
here it is N(0, I), whose ball has the same contents after `distribution`. The contours of the two references differ in
general.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from scipy import stats
from torch import Tensor, nn

from gpot.errors import BadInput
from gpot.flows.base import Flow


def ranks(z: Tensor) -> Tensor:
    """F(|z|^2) in [0, 1] (n,), uniform for z ~ N(0, I): 0 at the centre, 1 far out."""
    half = torch.full_like(z[:, 0], z.shape[1] / 2.0)
    return torch.special.gammainc(half, (z**2).sum(1) / 2.0)


def signs(z: Tensor) -> Tensor:
    """z / |z| (n, d): the direction from the centre, uniform on the sphere and independent of the rank."""
    return z / z.norm(dim=1, keepdim=True)


def distribution(z: Tensor) -> Tensor:
    """The center-outward distribution function, rank times sign (n, d): spherical uniform in the unit ball."""
    return ranks(z)[:, None] * signs(z)


def depth(z: Tensor) -> Tensor:
    """1 - rank (n,): 1 at the centre (the median), 0 far out."""
    return 1.0 - ranks(z)


def radius(content: float, dim: int) -> float:
    """r with P(|z| <= r) = content for z ~ N(0, I) in R^dim."""
    if not 0.0 < content < 1.0:
        raise BadInput(f"a region has a content between 0 and 1, and got {content:g}; 0.5, 0.8, 0.95 are usual")
    return math.sqrt(float(stats.chi2.ppf(content, dim)))


@dataclass(frozen=True)
class Calibrated:
    r"""The ball that the codes of calibration points give for a content (split conformal: vovk2005; lei2018).

    Of n points z_i the radius is the k-th smallest :math:`|z_i|`, k = ceil((n + 1) content). A further point of the
    same law, exchangeable with them, lies inside with the probability k / (n + 1), the law whatever it is: at least the
    content, and less than 1 / (n + 1) above it.
    """

    content: float
    radius: float
    rank: int  # k
    n: int


def calibrate(z: Tensor, contents: Sequence[float] = (0.5, 0.8, 0.95)) -> list[Calibrated]:
    """Balls of the codes z = M(x) (n, d) of points that no fit has seen, in the place of contents everywhere here."""
    distances = _finite(z).norm(dim=1).double().sort().values
    n, balls = len(z), []
    for content in contents:
        radius(content, z.shape[1])  # refuses what is no content
        rank = math.ceil((n + 1) * content)
        if rank > n:
            least = math.ceil(content / (1.0 - content) - 1e-9)
            raise BadInput(
                f"a region of content {content:g} takes at least {least} points to calibrate, and got {n}; pass more, "
                "or a smaller content"
            )
        balls.append(Calibrated(content, distances[rank - 1].item(), rank, n))
    return balls


def inside(z: Tensor, content: float | Calibrated) -> Tensor:
    """Whether each row lies in the region of that content (n,)."""
    return z.norm(dim=1) <= _radius(content, z.shape[1])


def _radius(content: float | Calibrated, dim: int) -> float:
    return content.radius if isinstance(content, Calibrated) else radius(content, dim)


def quantile_contour(
    flow: Flow, content: float | Calibrated, n: int = 200, generator: torch.Generator | None = None
) -> Tensor:
    """n points of the contour, M^-1 of the sphere of radius r (n, d): in the plane in order, around once.

    flow: M, a `MongeMap` (or a flow alone), whose dtype and device the points have; rows are NaN where it has no
    inverse.
    """
    if flow.dim == 2:
        angles = torch.linspace(0.0, 2.0 * math.pi, n)
        directions = torch.stack([angles.cos(), angles.sin()], 1)
    else:
        directions = signs(torch.randn(n, flow.dim, generator=generator))
    first = next(cast(nn.Module, flow).parameters(), directions)
    with torch.no_grad():
        return flow.inverse(_radius(content, flow.dim) * directions.to(first))


@dataclass(frozen=True)
class Coverage:
    """How many of n points fell into the region of a content, against the law of that number: binomial, and for a
    region that was itself calibrated on points beta-binomial."""

    content: float
    inside: int
    n: int
    calibrated: Calibrated | None = None

    @property
    def share(self) -> float:
        """The share that fell in."""
        return self.inside / self.n

    @property
    def error(self) -> float:
        """One standard deviation of the share."""
        if self.calibrated is not None:
            return float(self._counts().std()) / self.n
        return math.sqrt(self.content * (1.0 - self.content) / self.n)

    @property
    def p_value(self) -> float:
        """Of the exact two-sided test: how often chance alone gives a number that is as rare, or rarer."""
        if self.calibrated is None:
            return float(stats.binomtest(self.inside, self.n, self.content).pvalue)
        chances = self._counts().pmf(np.arange(self.n + 1))
        return float(min(1.0, chances[chances <= chances[self.inside] * (1.0 + 1e-7)].sum()))

    def _counts(self) -> Any:
        """The probability of the region, k-th of n uniform order statistics, is Beta(k, n + 1 - k)."""
        assert self.calibrated is not None
        return stats.betabinom(self.n, self.calibrated.rank, self.calibrated.n + 1 - self.calibrated.rank)


def coverage(z: Tensor, contents: Sequence[float | Calibrated] = (0.5, 0.8, 0.95)) -> list[Coverage]:
    """The coverage of each region by points z = M(x) (n, d) that no fit, and no calibration, has seen."""
    _finite(z)
    return [
        Coverage(content.content, int(inside(z, content).sum()), len(z), content)
        if isinstance(content, Calibrated)
        else Coverage(content, int(inside(z, content).sum()), len(z))
        for content in contents
    ]


def _finite(z: Tensor) -> Tensor:
    if z.ndim != 2 or len(z) == 0 or not z.isfinite().all():
        raise BadInput(f"coverage is counted over finite points (n, d), and got shape {tuple(z.shape)}; leave out rows "
                       "that are not finite and say how many")  # fmt: skip
    return z
