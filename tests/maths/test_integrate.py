"""Order, reversal and bookkeeping of the time integration, against fields whose flow is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.integrate import Method, integrate, integrate_tangents, trajectory

METHODS = list(Method)


def swirl(t: Tensor, y: Tensor) -> Tensor:
    """dy/dt = cos(t) r^2 (-y2, y1): a rotation by r^2 sin(t), at a speed of its own on each circle."""
    angular = torch.cos(t) * (y**2).sum(1, keepdim=True)
    return angular * torch.stack((-y[:, 1], y[:, 0]), 1)


def swirled(y: Tensor, t: float) -> Tensor:
    angle = (y**2).sum(1) * math.sin(t)
    cos, sin = angle.cos(), angle.sin()
    return torch.stack((cos * y[:, 0] - sin * y[:, 1], sin * y[:, 0] + cos * y[:, 1]), 1)


@pytest.fixture
def start() -> Tensor:
    return 3.0 * torch.rand(20, 2, dtype=torch.float64) - 1.5


@pytest.mark.parametrize("method", METHODS)
def test_measured_order(method: Method, start: Tensor) -> None:
    exact = swirled(start, 1.0)
    coarse, fine = ((integrate(swirl, start, n_steps, method) - exact).abs().max().item() for n_steps in (80, 160))
    assert fine > 1e3 * torch.finfo(start.dtype).eps  # the error is that of the method, not of rounding
    assert abs(math.log2(coarse / fine) - method.order) < 0.1


@pytest.mark.parametrize("method", METHODS)
def test_forward_then_backward_returns(method: Method, start: Tensor) -> None:
    def gap(n_steps: int) -> float:
        there = integrate(swirl, start, n_steps, method)
        assert (there - start).abs().max() > 0.5
        return (integrate(swirl, there, n_steps, method, t0=1.0, t1=0.0) - start).abs().max().item()

    coarse, fine = gap(80), gap(160)
    # the backward step undoes the leading error of a scheme of even order, so the order may be higher, and is not lower
    assert fine < 1.2 * 2.0**-method.order * coarse


@pytest.mark.parametrize("method", METHODS)
def test_zero_steps_is_the_identity(method: Method, start: Tensor) -> None:
    assert torch.equal(integrate(swirl, start, 0, method), start)
    path = trajectory(swirl, start, 0, method, t0=0.25)
    assert path.n_steps == 0 and torch.equal(path.points[0], start)
    torch.testing.assert_close(path.velocities[0], swirl(torch.tensor(0.25, dtype=start.dtype), start))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("t0", "t1"), [(0.0, 1.0), (0.9, -0.2)])
def test_trajectory_is_the_same_path(method: Method, t0: float, t1: float, start: Tensor) -> None:
    path = trajectory(swirl, start, 7, method, t0, t1)
    assert path.points.shape == path.velocities.shape == (8, 20, 2) and path.n_steps == 7
    torch.testing.assert_close(path.times, torch.linspace(t0, t1, 8, dtype=start.dtype))
    assert float(path.dt) == pytest.approx((t1 - t0) / 7)
    assert torch.equal(path.points[-1], integrate(swirl, start, 7, method, t0, t1))
    for t, point, velocity in zip(path.times, path.points, path.velocities, strict=True):
        torch.testing.assert_close(velocity, swirl(t, point))


@pytest.mark.parametrize(("method", "stages"), [(Method.euler, 1), (Method.midpoint, 2), (Method.rk4, 4)])
def test_no_evaluation_is_wasted(method: Method, stages: int, start: Tensor) -> None:
    times: list[float] = []

    def counted(t: Tensor, y: Tensor) -> Tensor:
        times.append(float(t))
        return swirl(t, y)

    integrate(counted, start, 5, method)
    assert len(times) == 5 * stages and min(times) == 0.0 and max(times) <= 1.0
    times.clear()
    trajectory(counted, start, 5, method)
    assert len(times) == 5 * stages + 1 and times[-1] == 1.0


def test_gradients_pass_through_the_steps(start: Tensor) -> None:
    y = start[:3].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda y: integrate(swirl, y, 4), y)


def test_dtype_follows_the_input() -> None:
    y = torch.randn(3, 2, dtype=torch.float32)
    assert integrate(swirl, y, 3).dtype == torch.float32
    assert trajectory(swirl, y, 3).times.dtype == torch.float32


def test_negative_steps_are_refused(start: Tensor) -> None:
    with pytest.raises(BadInput, match="at least 0, and got -1"):
        integrate(swirl, start, -1)


@pytest.mark.parametrize("method", METHODS)
def test_tangents_are_those_of_the_steps_as_they_are(method: Method, start: Tensor) -> None:
    """At four steps, where the derivative of the exact flow is another one; from t = .2 back to -.5."""

    def along(t: Tensor, y: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        slopes = [torch.func.jvp(lambda rows: swirl(t, rows), (y,), (rate,))[1] for rate in u]
        return swirl(t, y), torch.stack(slopes)

    u = torch.randn(3, *start.shape, dtype=start.dtype)
    end, tangents = integrate_tangents(along, start, u, 4, method, 0.2, -0.5)
    for direction, tangent in zip(u, tangents, strict=True):
        steps, product = torch.func.jvp(lambda y: integrate(swirl, y, 4, method, 0.2, -0.5), (start,), (direction,))
        torch.testing.assert_close(end, steps, rtol=0.0, atol=1e-13)
        torch.testing.assert_close(tangent, product, rtol=1e-12, atol=1e-12)
