"""The path of a ridge field with written derivatives is that of the plain formula, in every kind of differentiation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.maths import ridge_path as module
from gpot.maths.charts import Chart
from gpot.maths.divergence_free import ridge_field
from gpot.maths.integrate import Method, trajectory
from gpot.maths.ridge_path import ridge_path

METHODS = list(Method)


def weights(dim: int, width: int, seed: int = 0) -> tuple[Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    shapes = ((width, dim), (width,), (width,), (width, dim), (width, dim))
    scales = (1.5, 1.0, 1.0, 0.4, 0.4)
    return tuple(
        (scale * torch.randn(shape, generator=draw, dtype=torch.float64)).requires_grad_()
        for shape, scale in zip(shapes, scales, strict=True)
    )


def start(n: int, dim: int, seed: int = 1) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


def plain(y: Tensor, n_steps: int, method: Method, t0: float, t1: float, parameters: tuple[Tensor, ...]) -> Tensor:
    field = ridge_field(*parameters)
    return trajectory(lambda t, z: field(z, t, None, z), y, n_steps, method, t0, t1).points


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("dim", "n", "cells"), [(2, 9, 70_000), (3, 150, 7 * 64), (10, 131, 65 * 7)])
@pytest.mark.parametrize("times", [(0.0, 1.0), (1.0, 0.25)])
def test_points_and_derivatives_are_those_of_the_plain_formula(
    method: Method, dim: int, n: int, cells: int, times: tuple[float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CELLS", cells)  # chunks of particles that divide n, and that do not
    parameters, y = weights(dim, 7), start(n, dim)
    found, expected = (path(y, 3, method, *times, parameters) for path in (ridge_path, plain))
    torch.testing.assert_close(found, expected)
    probe = torch.randn(found.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    gradients = [torch.autograd.grad((points * probe).sum(), (y, *parameters)) for points in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_every_other_kind_of_differentiation() -> None:
    parameters, y = weights(3, 5), start(4, 3)
    tangents = tuple(torch.randn_like(p) for p in parameters)

    def of(path, *values: Tensor) -> Tensor:
        return path(values[0], 2, Method.rk4, 0.0, 1.0, values[1:])[-1]

    values, along = (y, *parameters), (torch.randn_like(y), *tangents)
    for transform in (
        lambda path: torch.func.jvp(lambda *v: of(path, *v), values, along),
        lambda path: torch.func.jvp(lambda row: of(path, row, *parameters), (y,), along[:1]),
        lambda path: torch.func.vmap(torch.func.jacrev(lambda row: of(path, row[None], *parameters)[0]))(y),
        lambda path: torch.func.vmap(torch.func.jacfwd(lambda row: of(path, row[None], *parameters)[0]))(y),
        lambda path: torch.func.vmap(lambda w: of(path, y, w, *parameters[1:]))(torch.stack([parameters[0]] * 2)),
        lambda path: torch.func.hessian(lambda row: of(path, row[None], *parameters).pow(2).sum())(y[0]),
    ):
        torch.testing.assert_close(transform(ridge_path), transform(plain))
    twice = []
    for path in (ridge_path, plain):
        (first,) = torch.autograd.grad(of(path, *values).pow(3).sum(), y, create_graph=True)
        twice.append(torch.autograd.grad(first.pow(2).sum(), parameters))
    torch.testing.assert_close(*twice)


def test_no_steps_and_single_precision() -> None:
    parameters, y = weights(4, 6), start(5, 4)
    assert torch.equal(ridge_path(y, 0, Method.rk4, 0.0, 1.0, parameters), y[None])
    single = ridge_path(y.float(), 4, Method.rk4, 0.0, 1.0, tuple(p.float() for p in parameters))
    torch.testing.assert_close(single.double(), plain(y, 4, Method.rk4, 0.0, 1.0, parameters), rtol=1e-4, atol=1e-4)


def test_it_is_what_a_flow_in_the_chart_direct_takes() -> None:
    from gpot.gp.flow import GaussianPreservingFlow
    from gpot.gp.velocity import RidgeVelocity

    z = start(20, 3).detach()
    for chart in Chart:
        gp = GaussianPreservingFlow(RidgeVelocity(3, 8, output_scale=0.1).double(), chart, n_steps=4)
        taken = gp.velocity.points(chart, z, 4, Method.rk4, 0.0, 1.0)
        assert (taken is not None) == (chart is Chart.direct)
        torch.testing.assert_close(gp.transport(z), gp._leave_chart(gp._map(gp._enter_chart(z))))
        torch.testing.assert_close(gp.inverse(gp.transport(z), refine=4), z)
