"""The velocity families: sizes, names, start, and errors. Their mathematics: tests/maths/test_divergence_free.py."""

from __future__ import annotations

import pytest
import torch

from gpot.errors import BadConfig, BadInput
from gpot.gp.deep_ridge import DeepRidgeVelocity
from gpot.gp.velocity import MLPInit, MLPVelocity, RidgeVelocity
from gpot.maths.charts import Chart


@pytest.mark.parametrize(
    ("dim", "hidden", "n_blocks", "count"),
    [(2, (15, 15), 1, 332), (10, (50, 50, 50), 9, 10_290), (10, (50,) * 4, 9, 12_840)],
)
def test_parameter_counts_of_tables_3_and_4(dim: int, hidden: tuple[int, ...], n_blocks: int, count: int) -> None:
    velocity = MLPVelocity(dim, hidden=hidden)
    assert velocity.n_blocks == n_blocks
    assert sum(p.numel() for p in velocity.parameters()) == count


def test_names_of_the_released_checkpoints() -> None:
    names = list(MLPVelocity(3, hidden=(4,)).state_dict())
    assert names == ["denses.0.weight", "denses.0.bias", "denses.1.weight", "denses.1.bias"]


@pytest.mark.parametrize(
    "velocity", [MLPVelocity(5), RidgeVelocity(5), DeepRidgeVelocity(5)], ids=["mlp", "ridge", "deep_ridge"]
)
def test_starts_near_zero_with_gradients_alive(velocity: torch.nn.Module) -> None:
    z = torch.randn(256, 5)
    v = velocity(0.5, z, Chart.direct)
    assert 0 < v.square().mean().sqrt() < 0.1
    ((v - z.flip(1)) ** 2).sum().backward()
    largest = max(float(p.grad.abs().max()) for p in velocity.parameters() if p.grad is not None)
    assert largest > 1.0


def test_released_start_aligns_hidden_units() -> None:
    velocity = MLPVelocity(3, hidden=(8, 8), init=MLPInit.released)
    assert all(float(layer.weight.detach().std()) < 2e-3 and (layer.bias == 0).all() for layer in velocity.denses)


def test_errors_say_what_to_change() -> None:
    with pytest.raises(BadConfig, match="n_blocks"):
        MLPVelocity(3, n_blocks=3)
    with pytest.raises(BadConfig, match="hidden"):
        MLPVelocity(3, hidden=())
    with pytest.raises(BadConfig, match="width"):
        RidgeVelocity(3, width=0)
    with pytest.raises(BadConfig, match="dim"):
        RidgeVelocity(1)
    with pytest.raises(BadInput, match=r"\(n, 3\)"):
        RidgeVelocity(3)(0.0, torch.zeros(2, 4), Chart.direct)
