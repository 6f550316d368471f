"""The released velocity on random weights, at three times and 64 points, from the pure function with its own (p, r).

The released wall is q_j = x_j^2 - b with b = 1 - 2^-23, of the sign opposite to our p; v is quadratic in q, so that
(p, r) = (b - x^2, 2 x) and v = p w give it exactly. Trajectories and the rest: test_golden_flow.py.
"""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gpot.gp.velocity import MLPVelocity
from gpot.maths.charts import Chart
from gpot.maths.divergence_free import mlp_field
from tests.conftest import shared_path

WALL = 1.0 - 2.0**-23


@pytest.fixture(params=["d2_blocks1", "d4_blocks2", "d10_blocks9"])
def golden(request: pytest.FixtureRequest) -> dict[str, Tensor]:
    """The tensors of one golden file."""
    return load_file(shared_path(f"reference/golden/gp_flow_{request.param}.safetensors"))


def layers(golden: dict[str, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases of the golden network, in order."""
    n_layers = sum(name.endswith(".weight") for name in golden)
    return tuple([golden[f"denses.{k}.{kind}"] for k in range(n_layers)] for kind in ("weight", "bias"))


def test_velocity_with_the_released_wall(golden: dict[str, Tensor]) -> None:
    x = golden["x"]
    w, p = mlp_field(*layers(golden), x.shape[1]), WALL - x**2
    for t, v in zip(golden["t"], golden["v"], strict=True):
        torch.testing.assert_close(p * w(x, t, p, 2.0 * x), v, rtol=1e-12, atol=1e-12)


def test_module_differs_by_the_wall_alone(golden: dict[str, Tensor]) -> None:
    """v(b) = (b - x^2) w(b), w linear in b: from b = 1 - e to 1 it moves by e |dv/db|, bounded from v at b = 0, 1."""
    weights, _ = layers(golden)
    x = golden["x"]
    hidden = tuple(weight.shape[0] for weight in weights[:-1])
    velocity = MLPVelocity(x.shape[1], hidden, weights[-1].shape[0] // x.shape[1]).double()
    velocity.load_state_dict({name: value for name, value in golden.items() if name.startswith("denses.")})
    w = mlp_field(*layers(golden), x.shape[1])
    for t, v in zip(golden["t"], golden["v"], strict=True):
        at_0, at_1 = w(x, t, -(x**2), 2.0 * x), w(x, t, 1.0 - x**2, 2.0 * x)
        rate = at_1 + (1.0 - x**2) * (at_1 - at_0)  # d/db of (b - x^2) (w_0 + b (w_1 - w_0)) at b = 1
        moved = velocity(t, x, Chart.cube) - v
        second_order = 2.0**-46 * float((at_1 - at_0).abs().max())
        torch.testing.assert_close(moved, 2.0**-23 * rate, rtol=0.0, atol=1e-12 + second_order)
