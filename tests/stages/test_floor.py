"""A cost below Gelbrich's floor is an error, not a success."""

from __future__ import annotations

import pytest
import torch

from gpot.errors import FidelityLost
from gpot.stages.evaluate import above_floor


def test_the_monge_map_of_a_gaussian_meets_the_floor_and_a_smaller_cost_is_refused() -> None:
    d, scale, n = 10, 3.0, 20_000
    x = scale * torch.randn(n, d, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    # x -> x / scale is the Monge map to N(0, I); W2^2 = d (scale - 1)^2
    costs = (x - x / scale).square().sum(1)
    cost = {"cost": costs.mean().item(), "cost_stderr": costs.std().item() / n**0.5}
    assert above_floor(x, cost)["gelbrich"] == pytest.approx(d * (scale - 1) ** 2, rel=0.02)
    with pytest.raises(FidelityLost, match="is not Gaussian"):
        above_floor(x, cost | {"cost": 0.9 * cost["cost"]})


def test_few_points_of_the_gaussian_itself_raise_no_alarm() -> None:
    """The identity on n points of N(0, I): cost 0, while the floor of so few points is far above it."""
    for seed in range(20):
        x = torch.randn(100, 10, generator=torch.Generator().manual_seed(seed))
        found = above_floor(x, {"cost": 0.0, "cost_stderr": 0.0})
        assert 0.1 < found["gelbrich"] < 1.5  # d / n + d (d + 1) / (4 n) = 0.375 on average
