"""Euler's penalty on fields whose total derivative is known, and the kinetic energy of a rotation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gpot.constants import finite_difference_step
from gpot.errors import BadInput
from gpot.maths.euler import (
    antisymmetric_penalty,
    euler_penalty,
    kinetic_energy,
    total_derivative,
    total_derivative_exact,
)
from gpot.maths.integrate import Field, trajectory

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps
TIME = torch.tensor(0.3, dtype=DTYPE)


def wild(t: Tensor, y: Tensor) -> Tensor:
    """A field with no structure: its total derivative is no gradient."""
    return torch.stack((torch.sin(2.0 * y[:, 1] + t), y[:, 2] * y[:, 0] - t**2, torch.cos(y[:, 0] * y[:, 1] * t)), 1)


def wild_total_derivative(t: Tensor, y: Tensor) -> Tensor:
    """By hand: d_t v + (grad v) v."""
    v = wild(t, y)
    y0, y1, y2 = y.unbind(1)
    first = torch.cos(2.0 * y1 + t) * (1.0 + 2.0 * v[:, 1])
    second = -2.0 * t + v[:, 2] * y0 + y2 * v[:, 0]
    third = -torch.sin(y0 * y1 * t) * (y0 * y1 + t * (v[:, 0] * y1 + y0 * v[:, 1]))
    return torch.stack((first, second, third), 1)


def probes(like: Tensor) -> tuple[Tensor, Tensor]:
    return torch.randn_like(like), torch.randn_like(like)


def test_exact_total_derivative() -> None:
    y = 2.0 * torch.randn(50, 3, dtype=DTYPE)
    w = total_derivative_exact(wild, TIME, y)
    torch.testing.assert_close(w, wild_total_derivative(TIME, y), rtol=1e-13, atol=1e-13)


def test_finite_difference_converges_at_first_order() -> None:
    y = 2.0 * torch.randn(50, 3, dtype=DTYPE)
    exact = wild_total_derivative(TIME, y)
    errors = [(total_derivative(wild, TIME, y, step) - exact).abs().max().item() for step in (4e-4, 2e-4, 1e-4)]
    assert errors[0] / errors[1] == pytest.approx(2.0, rel=0.02)
    assert errors[1] / errors[2] == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_default_step_balances_truncation_and_rounding(dtype: torch.dtype) -> None:
    y = torch.randn(50, 3, dtype=dtype)
    t = TIME.to(dtype)
    exact = wild_total_derivative(t.double(), y.double())
    h = finite_difference_step(dtype)
    scale = 10.0 * exact.abs().max().item() ** 2  # of the second derivatives along the particle
    assert (total_derivative(wild, t, y).double() - exact).abs().max() < scale * h


@pytest.mark.parametrize("exact", [False, True])
def test_total_derivative_is_differentiable_in_points_and_parameters(exact: bool) -> None:
    mixing = torch.randn(3, 3, dtype=DTYPE, requires_grad=True)
    y = torch.randn(4, 3, dtype=DTYPE, requires_grad=True)

    def value(mixing: Tensor, y: Tensor) -> Tensor:
        def field(t: Tensor, y: Tensor) -> Tensor:
            return torch.tanh(y @ mixing.T + t)

        return total_derivative_exact(field, TIME, y) if exact else total_derivative(field, TIME, y, 1e-2)

    assert torch.autograd.gradcheck(value, (mixing, y))


def test_expectation_on_linear_fields() -> None:
    dim, n = 4, 40_000
    jac = torch.randn(dim, dim, dtype=DTYPE)
    y = torch.randn(n, dim, dtype=DTYPE, requires_grad=True)
    values = antisymmetric_penalty(y @ jac.T, y, *probes(y))
    expected = ((jac - jac.T) ** 2).sum()
    assert abs(values.mean() - expected) < 4.0 * values.std() / math.sqrt(n)
    assert values.std() / math.sqrt(n) < 0.05 * expected


def test_integrand_is_the_formula_row_by_row() -> None:
    y = torch.randn(6, 3, dtype=DTYPE, requires_grad=True)
    a, b = probes(y)
    values = antisymmetric_penalty(wild(TIME, y), y, a, b)
    for i in range(len(y)):
        jac = torch.autograd.functional.jacobian(lambda row: wild(TIME, row[None])[0], y[i].detach())
        torch.testing.assert_close(values[i], (a[i] @ jac @ b[i] - b[i] @ jac @ a[i]) ** 2)
    shared = antisymmetric_penalty(wild(TIME, y), y, a[0], b[0])
    torch.testing.assert_close(shared, antisymmetric_penalty(wild(TIME, y), y, a[:1].expand(6, 3), b[:1].expand(6, 3)))


def test_zero_on_gradients() -> None:
    y = torch.randn(30, 3, dtype=DTYPE, requires_grad=True)
    potential = torch.sin(2.0 * y[:, 0] * y[:, 1]) + torch.exp(y[:, 2]) * y[:, 0] ** 3
    (gradient,) = torch.autograd.grad(potential.sum(), y, create_graph=True)
    values = antisymmetric_penalty(gradient, y, *probes(y))
    assert values.max() < (1e3 * EPS) ** 2 * 1e4
    rotated = gradient @ torch.tensor([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=DTYPE)
    assert antisymmetric_penalty(rotated, y, *probes(y)).mean() > 1.0


@pytest.mark.parametrize("exact", [False, True])
def test_zero_on_rigid_rotation(exact: bool) -> None:
    """v = omega x y has the total derivative -|omega|^2 times the distance from the axis: a gradient."""

    def rotation(t: Tensor, y: Tensor) -> Tensor:
        return 3.0 * torch.stack((-y[:, 1], y[:, 0], torch.zeros_like(y[:, 2])), 1)

    points = torch.randn(2, 40, 3, dtype=DTYPE)
    times = torch.tensor([0.0, 0.5], dtype=DTYPE)
    y = points[0].requires_grad_()
    w = total_derivative_exact(rotation, TIME, y) if exact else total_derivative(rotation, TIME, y)
    expected = -9.0 * y * torch.tensor([1.0, 1.0, 0.0], dtype=DTYPE)
    rounding = 64 * EPS if exact else 64 * EPS / finite_difference_step(DTYPE)
    torch.testing.assert_close(w, expected, rtol=0.0, atol=rounding)
    # the products with J are rounded like w, and multiplied by two probes
    assert euler_penalty(rotation, times, points.detach(), exact=exact) < (1e2 * rounding) ** 2
    assert euler_penalty(wild, times, points.detach(), exact=exact) > 1e-2


def test_zero_where_the_field_does_not_depend_on_the_point() -> None:
    def uniform(t: Tensor, y: Tensor) -> Tensor:
        return t * torch.ones_like(y)

    assert euler_penalty(uniform, TIME.reshape(1), torch.randn(1, 5, 3, dtype=DTYPE)) == 0.0


def test_penalty_is_the_sum_over_times_of_the_mean_over_particles() -> None:
    times = torch.linspace(0.0, 0.8, 5, dtype=DTYPE)
    points = torch.randn(5, 7, 3, dtype=DTYPE)
    seeded = lambda: torch.Generator().manual_seed(5)  # noqa: E731
    total = euler_penalty(wild, times, points, probes=2, exact=True, generator=seeded())
    draws, expected = seeded(), 0.0
    for t, point in zip(times, points, strict=True):
        y = point.clone().requires_grad_()
        w = total_derivative_exact(wild, t, y)
        for _ in range(2):
            a, b = torch.randn(2, 7, 3, dtype=DTYPE, generator=draws)
            expected += antisymmetric_penalty(w, y, a, b).mean().item() / 2
    assert total.item() == pytest.approx(expected, rel=1e-13)
    integral = euler_penalty(wild, times, points, 2, True, seeded(), "integral")
    assert integral.item() == pytest.approx(expected / 5, rel=1e-13)


@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("exact", [True, False])
def test_all_times_at_once_give_the_same_number_and_gradients(exact: bool, probes: int) -> None:
    times, points = torch.linspace(0.0, 0.8, 5, dtype=DTYPE), torch.randn(5, 7, 3, dtype=DTYPE)
    results = []
    for at_once in (False, True):
        scale, moved = (value.clone().requires_grad_() for value in (torch.tensor(1.3, dtype=DTYPE), points))
        draws = torch.Generator().manual_seed(3)
        field = lambda t, y, scale=scale: wild(t, scale * y)  # noqa: E731
        penalty = euler_penalty(field, times, moved, probes, exact, draws, step=1e-3, at_once=at_once)
        results.append((penalty, *torch.autograd.grad(penalty, (scale, moved))))
    assert results[0][0] > 1e-2
    rounding = 1e-11 if exact else 1e-8  # the difference quotient divides by its step
    torch.testing.assert_close(results[1], results[0], rtol=rounding, atol=rounding)


@pytest.mark.parametrize("at_once", [True, False])
def test_penalty_gradient_reaches_parameters_and_points(at_once: bool) -> None:
    def value(scale: Tensor, points: Tensor) -> Tensor:
        draws, times = torch.Generator().manual_seed(1), torch.stack((TIME, 2.0 * TIME))
        field = lambda t, y: wild(t, scale * y)  # noqa: E731
        return euler_penalty(field, times, points, exact=True, generator=draws, at_once=at_once)

    scale = torch.tensor(1.3, dtype=DTYPE, requires_grad=True)
    points = torch.randn(2, 3, 3, dtype=DTYPE, requires_grad=True)
    assert torch.autograd.gradcheck(value, (scale, points))


def test_penalty_without_gradients_is_the_same_number() -> None:
    points = torch.randn(1, 6, 3, dtype=DTYPE)
    draws = [torch.Generator().manual_seed(2) for _ in range(2)]
    with torch.no_grad():
        plain = euler_penalty(wild, TIME.reshape(1), points, generator=draws[0])
    assert not plain.requires_grad
    torch.testing.assert_close(plain, euler_penalty(wild, TIME.reshape(1), points, generator=draws[1]).detach())


@pytest.mark.parametrize("probes", [1, 3])
@pytest.mark.parametrize("step", [None, 1e-2])
def test_probes_carried_forward_give_the_same_number_and_gradients(probes: int, step: float | None) -> None:
    times, points = torch.linspace(0.0, 0.8, 5, dtype=DTYPE), torch.randn(5, 7, 3, dtype=DTYPE)
    results = []
    for carried in (False, True):
        scale, moved = (value.clone().requires_grad_() for value in (torch.tensor(1.3, dtype=DTYPE), points))
        field = lambda t, y, scale=scale: wild(t, scale * y)  # noqa: E731

        def along(t: Tensor, y: Tensor, u: Tensor, field: Field = field) -> tuple[Tensor, Tensor]:
            derivatives = [torch.func.jvp(lambda at: field(t, at), (y,), (direction,))[1] for direction in u]
            return field(t, y), torch.stack(derivatives)

        draws = torch.Generator().manual_seed(3)
        penalty = euler_penalty(
            field, times, moved, probes, generator=draws, step=step, along=along if carried else None
        )
        results.append((penalty, *torch.autograd.grad(penalty, (scale, moved))))
    assert results[0][0] > 1e-2
    rounding = 1e3 * EPS / (finite_difference_step(DTYPE) if step is None else step)  # the quotient divides by its step
    torch.testing.assert_close(results[1], results[0], rtol=rounding, atol=rounding)


def test_penalty_refuses_what_does_not_match() -> None:
    points = torch.randn(3, 4, 3, dtype=DTYPE)
    with pytest.raises(BadInput, match="2 times and 3 sets of points"):
        euler_penalty(wild, torch.zeros(2, dtype=DTYPE), points)
    with pytest.raises(BadInput, match="0 probes"):
        euler_penalty(wild, torch.zeros(3, dtype=DTYPE), points, probes=0)
    with pytest.raises(BadInput, match="'mean'"):
        euler_penalty(wild, torch.zeros(3, dtype=DTYPE), points, reduction="mean")  # type: ignore[arg-type]


def test_kinetic_energy_of_a_rigid_rotation() -> None:
    """A turn at angular speed omega keeps |v| = omega |y|: the energy is omega^2 |y|^2 / 2 whatever the path."""
    omega = 2.0
    y = torch.randn(50, 2, dtype=DTYPE)
    path = trajectory(lambda t, y: omega * torch.stack((-y[:, 1], y[:, 0]), 1), y, 200)
    energy = kinetic_energy(path.velocities[:-1], path.dt)
    expected = 0.5 * omega**2 * (y**2).sum(1).mean()
    # one RK4 step multiplies a radius by 1 - (omega h)^6 / 144 + ...
    torch.testing.assert_close(energy, expected, rtol=200 * (omega / 200) ** 6 / 72, atol=0.0)
