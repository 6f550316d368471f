"""Group `cost`: what a Gaussian-preserving flow makes small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass
class CostConfig:
    """A cost c(x, s) of moving a point, see `gpot.maths.costs`. Each kind has its own settings; kind: its name in
    keys."""

    kind: ClassVar[str]
    name: str


@dataclass
class EuclideanCost(CostConfig):
    """|x - s|^2, the paper's."""

    kind = "euclidean"


@dataclass
class L1Cost(CostConfig):
    kind = "l1"
    start: float  # the smoothing at the first epoch, in the units of the points
    end: float  # and at the last


@dataclass
class LpCost(CostConfig):
    kind = "lp"
    p: float


@dataclass
class MahalanobisCost(CostConfig):
    """With the inverse covariance of the points that the GP flow is trained on."""

    kind = "mahalanobis"
