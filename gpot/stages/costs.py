"""The cost of a config as a function, and what keys depend on of it: nothing for |x - s|^2, whose keys came first."""

from __future__ import annotations

from typing import Any

from gpot.config.plain import without
from gpot.config.schema import CostConfig, EuclideanCost, L1Cost, LpCost, MahalanobisCost
from gpot.maths.costs import L1, Cost, Euclidean, Lp, Mahalanobis
from gpot.store import Artifact


def cost_settings(cost: CostConfig) -> dict[str, Any]:
    """{"cost": what it depends on}, or {} for |x - s|^2."""
    if isinstance(cost, EuclideanCost):
        return {}
    return {"cost": {"kind": cost.kind} | without(cost, "name")}


def needs_pairs(cost: CostConfig) -> bool:
    """Whether the cost depends on the pairs that the GP flow is trained on."""
    return isinstance(cost, MahalanobisCost)


def cost_of(cost: CostConfig, pairs: Artifact | None) -> Cost:
    """The cost as a function. pairs: their x is what Mahalanobis takes its metric from, and no other cost looks at."""
    if isinstance(cost, L1Cost):
        return L1(cost.start, cost.end)
    if isinstance(cost, LpCost):
        return Lp(cost.p)
    if isinstance(cost, MahalanobisCost):
        assert pairs is not None
        return Mahalanobis.of(pairs.tensors("pairs.safetensors")["x_train"])
    return Euclidean()
