r"""Monge-Kantorovich ranks, signs, quantile contours and depth (chernozhukov2017; hallin2021) of any flow.

Symbols: `z = s(f(x))` (n, d), N(0, I) for x of the flow's law; F the distribution function of chi^2 with d degrees.

The order in R^d is that of the Gaussian, carried back by a Monge map M = s o f: z is spherical, so |z|^2 ~ chi^2_d is
independent of the direction z / |z|, uniform on the sphere. The region of content q is the preimage of the ball of
radius r_q, r_q^2 the q quantile of chi^2_d. With f alone in place of s o f the contents are the same, since s keeps
the Gaussian, and the regions are an accident of f; with the Monge map they are those of optimal transport: one
definition, which does not depend on the family of the flow.

Departure: hallin2021 transports to the uniform law on the ball (spherical uniform), chernozhukov2017 to any reference;
here it is N(0, I), whose ball has the same contents after `distribution`. The contours of the two references differ in
general.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

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


def inside(z: Tensor, content: float) -> Tensor:
    """Whether each row lies in the region of that content (n,)."""
    return z.norm(dim=1) <= radius(content, z.shape[1])


def quantile_contour(flow: Flow, content: float, n: int = 200, generator: torch.Generator | None = None) -> Tensor:
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
        return flow.inverse(radius(content, flow.dim) * directions.to(first))


@dataclass(frozen=True)
class Coverage:
    """How many of n points fell into the region of a content, against the binomial law of that number."""

    content: float
    inside: int
    n: int

    @property
    def share(self) -> float:
        """The share that fell in."""
        return self.inside / self.n

    @property
    def error(self) -> float:
        """One binomial standard deviation of the share."""
        return math.sqrt(self.content * (1.0 - self.content) / self.n)

    @property
    def p_value(self) -> float:
        """Of the exact two-sided binomial test: how often chance alone is as far off."""
        return float(stats.binomtest(self.inside, self.n, self.content).pvalue)


def coverage(z: Tensor, contents: Sequence[float] = (0.5, 0.8, 0.95)) -> list[Coverage]:
    """The coverage of each region by points z = M(x) (n, d) that no fit has seen."""
    if z.ndim != 2 or len(z) == 0 or not z.isfinite().all():
        raise BadInput(f"coverage is counted over finite points (n, d), and got shape {tuple(z.shape)}; leave out rows "
                       "that are not finite and say how many")  # fmt: skip
    return [Coverage(content, int(inside(z, content).sum()), len(z)) for content in contents]
