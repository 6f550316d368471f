"""The released flow on random weights: trajectories, reverse, energy, penalty, Gaussian-side map, log-determinants.

The released code is not quite the paper's formula: its wall is at b = 1 - 2^-23, it pairs the position after a step
with the time before it, sums the penalty over steps without dt, shares the probes over the batch, and clips the cube
to 1 - 2^-23. These slips are made here, in the test, around our functions.
"""

from __future__ import annotations

import math

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gpot.gp.velocity import MLPVelocity
from gpot.maths.charts import Chart, from_cube, to_cube
from gpot.maths.euler import antisymmetric_penalty, kinetic_energy, total_derivative
from gpot.maths.integrate import Field, integrate, trajectory
from gpot.maths.transport import exact_log_det
from tests.conftest import shared_path

EPS_32 = 2.0**-23
WALL = 1.0 - EPS_32
STEP = torch.tensor(2.0 * math.sqrt(EPS_32), dtype=torch.float32).item()  # the released step is rounded to float32
EXACT = {"rtol": 1e-12, "atol": 1e-12}
CASES = {"d2_blocks1": ((15, 15), 1), "d4_blocks2": ((7, 5), 2), "d10_blocks9": ((50, 50, 50), 9)}


@pytest.fixture(params=CASES)
def golden(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], Field]:
    """The golden tensors, and the released velocity made of ours.

    With y = x / sqrt(b) the released q_j = x_j^2 - b is b (y_j^2 - 1), so v_released(x) = b^(3/2) v(y) for a network
    whose input weights are multiplied by sqrt(b).
    """
    data = load_file(shared_path(f"reference/golden/gp_flow_{request.param}.safetensors"))
    hidden, n_blocks = CASES[request.param]
    velocity = MLPVelocity(data["x"].shape[1], hidden, n_blocks).double()
    velocity.load_state_dict({name: value for name, value in data.items() if name.startswith("denses.")})
    with torch.no_grad():
        velocity.denses[0].weight[:, :-1] *= math.sqrt(WALL)
    velocity.requires_grad_(False)

    def released(t: Tensor, x: Tensor) -> Tensor:
        return WALL**1.5 * velocity(t, x / math.sqrt(WALL), Chart.cube)

    return data, released


def test_velocity(golden: tuple[dict[str, Tensor], Field]) -> None:
    data, field = golden
    values = torch.stack([field(t, data["x"]) for t in data["t"]])
    torch.testing.assert_close(values, data["v"], **EXACT)


def test_trajectory_and_reverse(golden: tuple[dict[str, Tensor], Field]) -> None:
    data, field = golden
    n_steps = len(data["trajectory"]) - 1
    path = trajectory(field, data["trajectory"][0], n_steps)
    torch.testing.assert_close(path.points, data["trajectory"], **EXACT)
    back = integrate(field, data["trajectory"][-1], n_steps, t0=1.0, t1=0.0)
    torch.testing.assert_close(back, data["x_back"], **EXACT)


def test_energy_with_the_released_pairing(golden: tuple[dict[str, Tensor], Field]) -> None:
    data, field = golden
    path = trajectory(field, data["trajectory"][0], len(data["trajectory"]) - 1)
    shifted = torch.stack([field(t, y) for t, y in zip(path.times[:-1], path.points[1:], strict=True)])
    torch.testing.assert_close(kinetic_energy(shifted, path.dt).reshape(1), data["energy"], **EXACT)
    ours = kinetic_energy(path.velocities[:-1], path.dt)
    assert abs(ours - data["energy"]) > 1e-6 * ours  # the slip can be seen


def test_total_derivative(golden: tuple[dict[str, Tensor], Field]) -> None:
    data, field = golden
    w = total_derivative(field, data["t"][1], data["x"], step=STEP)
    # velocities rounded to some tens of eps (sums over 50 units), their difference divided by the step
    cancellation = 64 * torch.finfo(w.dtype).eps * data["v"].abs().max().item() / STEP
    torch.testing.assert_close(w, data["lagrangian_derivative_fd_t1"], rtol=0.0, atol=cancellation)


def test_euler_penalty_with_the_released_pairing(golden: tuple[dict[str, Tensor], Field]) -> None:
    data, field = golden
    path = trajectory(field, data["trajectory"][0], len(data["trajectory"]) - 1)
    per_step = []
    for k, t in enumerate(path.times[:-1]):
        y = path.points[k + 1].clone().requires_grad_()
        w = total_derivative(field, t, y, step=STEP)
        per_step.append(antisymmetric_penalty(w, y, data["euler_z"][k], data["euler_w"][k]).mean().detach())
    torch.testing.assert_close(torch.stack(per_step), data["euler_penalty_per_step"], rtol=1e-9, atol=0.0)
    torch.testing.assert_close(torch.stack(per_step).sum().reshape(1), data["euler_penalty_sum"], rtol=1e-9, atol=0.0)


def test_gaussian_side_and_log_det(golden: tuple[dict[str, Tensor], Field]) -> None:
    data, field = golden

    def released_map(z: Tensor) -> Tensor:
        c = integrate(field, to_cube(z), len(data["trajectory"]) - 1)
        return from_cube(c.clamp(-1.0 + EPS_32, 1.0 - EPS_32))

    z = data["x_gauss"]
    s = released_map(z)
    torch.testing.assert_close(s, data["s_gauss"], **EXACT)
    torch.testing.assert_close(0.5 * ((s**2).sum(1) - (z**2).sum(1)), data["logdet_analytic"], **EXACT)
    torch.testing.assert_close(exact_log_det(released_map, z[:16]), data["logdet_autograd_first16"], **EXACT)
