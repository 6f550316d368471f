"""The deep ridge field is the weighted divergence of its psi, and its written path that of the plain formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadConfig
from gpot.gp.deep_ridge import DeepRidgeVelocity
from gpot.gp.flow import GaussianPreservingFlow
from gpot.maths import deep_path as module
from gpot.maths.charts import Chart
from gpot.maths.deep_path import deep_along, deep_field, deep_packed, deep_path
from gpot.maths.integrate import Method, trajectory
from tests.maths.test_ridge_path import start


def weights(dim: int, below: int, width: int, seed: int = 0) -> tuple[Tensor, ...]:
    """Large ones: neurons of both layers reach their flat ends."""
    draw = torch.Generator().manual_seed(seed)
    shapes = ((below, dim), below, below, (width, below), (width, dim), width, width, (width, dim), (width, dim))
    scales = (1.5, 1.0, 1.0, 1.0, 0.7, 1.0, 1.0, 0.4, 0.4)
    return tuple(
        (scale * torch.randn(shape, generator=draw, dtype=torch.float64)).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    )


def plain(y: Tensor, n_steps: int, method: Method, t0: float, t1: float, parameters: tuple[Tensor, ...]) -> Tensor:
    return trajectory(deep_field(*deep_packed(*parameters)), y, n_steps, method, t0, t1).points


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.parametrize("t", [0.0, 0.7])
def test_it_is_the_weighted_divergence_of_psi(dim: int, t: float) -> None:
    w, o, b, v, s, q, c, alpha, beta = parameters = weights(dim, 6, 4)

    def psi(y: Tensor) -> Tensor:
        h = torch.tanh(v @ torch.tanh(w @ y + o * t + b) + s @ y + q * t + c)
        half = torch.einsum("ki,kj,k->ij", alpha, beta, h)
        return half - half.T

    y = 2.0 * start(20, dim)
    expected = torch.stack([
        torch.einsum("ijj->i", torch.func.jacfwd(psi)(row)) - psi(row) @ row for row in y
    ])  # fmt: skip
    field = deep_field(*deep_packed(*parameters))
    torch.testing.assert_close(field(torch.tensor(t, dtype=torch.float64), y), expected)
    times = torch.linspace(0.0, 1.0, 20, dtype=torch.float64)  # one of each particle
    torch.testing.assert_close(
        field(times, y), torch.stack([field(t, row[None])[0] for t, row in zip(times, y, strict=True)])
    )


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize(("dim", "below", "width", "n", "cells"), [(2, 3, 7, 9, 70_000), (3, 8, 5, 150, 8 * 64)])
@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, 0.25)])
def test_points_and_derivatives_are_those_of_the_plain_formula(
    method: Method,
    dim: int,
    below: int,
    width: int,
    n: int,
    cells: int,
    times: tuple[float, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_CELLS", cells)  # one chunk of particles, and several of which the last is smaller
    parameters, y = weights(dim, below, width), start(n, dim)
    found, expected = (path(y, 3, method, *times, parameters) for path in (deep_path, plain))
    torch.testing.assert_close(found, expected)
    probe = torch.randn(found.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradients = [torch.autograd.grad((points * probe).sum(), (y, *parameters)) for points in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_other_kinds_of_differentiation_and_no_steps() -> None:
    parameters, y = weights(3, 4, 5), start(4, 3)

    def of(path, *values: Tensor) -> Tensor:
        return path(values[0], 2, Method.rk4, 0.0, 1.0, values[1:])[-1]

    for transform in (
        lambda path: torch.func.jvp(lambda row: of(path, row, *parameters), (y,), (torch.ones_like(y),)),
        lambda path: torch.func.vmap(torch.func.jacrev(lambda row: of(path, row[None], *parameters)[0]))(y),
        lambda path: torch.func.hessian(lambda row: of(path, row[None], *parameters).pow(2).sum())(y[0]),
    ):
        torch.testing.assert_close(transform(deep_path), transform(plain))
    assert torch.equal(deep_path(y, 0, Method.rk4, 0.0, 1.0, parameters), y[None])


def test_its_derivatives_along_directions_and_their_gradients() -> None:
    packed, y = [p.detach().requires_grad_() for p in deep_packed(*weights(3, 4, 5))], start(6, 3)
    t, u = torch.linspace(0.0, 1.0, 6, dtype=torch.float64), torch.randn(2, 6, 3, dtype=torch.float64)
    field = deep_field(*packed)
    value, tangents = deep_along(t, y, u, packed)
    torch.testing.assert_close(value, field(t, y))
    expected = [torch.func.jvp(lambda rows: field(t, rows), (y,), (along,))[1] for along in u]
    torch.testing.assert_close(tangents, torch.stack(expected))
    gradients = [torch.autograd.grad(each.pow(2).sum(), packed) for each in (tangents, torch.stack(expected))]
    torch.testing.assert_close(*gradients)


def test_a_flow_of_it_keeps_the_gaussian_at_the_order_of_its_method() -> None:
    torch.manual_seed(3)
    velocity = DeepRidgeVelocity(4, width=12, below=9, output_scale=0.5).double()
    z = start(50, 4).detach()
    errors = []
    for n_steps in (8, 16):
        gp = GaussianPreservingFlow(velocity, Chart.direct, n_steps)
        errors.append(gp.log_det_error(z).abs().mean().item())
        torch.testing.assert_close(gp.inverse(gp.transport(z), refine=4), z)
        torch.testing.assert_close(gp.transport(z), gp._map(gp._rotate(z)))
    assert (gp.transport(z) - z).norm(dim=1).mean() > 0.1, "it moves"
    assert 8.0 < errors[0] / errors[1] < 40.0 and errors[1] < 1e-4


@pytest.mark.parametrize("chart", [Chart.cube, Chart.gaussian])
def test_it_is_of_one_chart(chart: Chart) -> None:
    gp = GaussianPreservingFlow(DeepRidgeVelocity(3, 4, 4), chart, 2)
    with pytest.raises(BadConfig, match="direct"):
        gp.transport(torch.zeros(2, 3))


def test_both_layers_have_neurons() -> None:
    with pytest.raises(BadConfig, match="at least one neuron"):
        DeepRidgeVelocity(3, 4, 0)
