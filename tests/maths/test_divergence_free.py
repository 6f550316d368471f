"""Fields that keep the Gaussian: equal to the paper's literal construction, divergence-free, tangent to the walls."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
from gpot.maths.charts import Chart, to_cube
from gpot.maths.divergence_free import antisymmetric_weights, mlp_field, ridge_field
from tests.maths.dense_field import dense_field, mlp_psi, ridge_psi

CASES = [(d, blocks) for d in (2, 3, 5, 10) for blocks in range(1, d)]
DIMS = (2, 3, 5, 10)
TIME = 0.37


def layers(dim: int, n_blocks: int, hidden: tuple[int, ...] = (7, 6)) -> tuple[list[Tensor], list[Tensor]]:
    """Random weights far from a fresh initialization: hidden units from linear to saturated."""
    widths = [dim + 1, *hidden, dim * n_blocks]
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    weights = [torch.randn(o, i, dtype=torch.float64) * 2 / i**0.5 for o, i in shapes]
    return weights, [torch.randn(o, dtype=torch.float64) for o, _ in shapes]


def ridge(dim: int, width: int = 6) -> list[Tensor]:
    w, alpha, beta = (torch.randn(width, dim, dtype=torch.float64) for _ in range(3))
    o, b = torch.randn(2, width, dtype=torch.float64)
    return [w, o, b, alpha, beta]


def weights_of(chart: Chart, n: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    z = torch.randn(n, dim, dtype=torch.float64)
    if chart is Chart.direct:
        return z, torch.ones_like(z), z
    c = to_cube(z)
    return c, 1 - c**2, 2 * c


def large(velocity: Velocity) -> Velocity:
    """float64, every parameter of order one."""
    velocity = velocity.double()
    with torch.no_grad():
        for parameter in velocity.parameters():
            parameter.normal_()
    return velocity


VELOCITIES = {
    "mlp": lambda dim: large(MLPVelocity(dim, hidden=(9, 8))),
    "mlp, one block": lambda dim: large(MLPVelocity(dim, hidden=(9,), n_blocks=1)),
    "ridge": lambda dim: large(RidgeVelocity(dim, width=11)),
}


@pytest.mark.parametrize("chart", list(Chart))
@pytest.mark.parametrize(("dim", "n_blocks"), CASES)
def test_mlp_equals_the_literal_construction(dim: int, n_blocks: int, chart: Chart) -> None:
    weights, biases = layers(dim, n_blocks)
    y, p, r = weights_of(chart, 3, dim)
    expected = dense_field(mlp_psi(weights, biases, dim, TIME), y, p, r)
    found = mlp_field(weights, biases, dim)(y, TIME, None if chart is Chart.direct else p, r)
    assert expected.abs().max() > 0.1  # the test can fail
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("hidden", [(5,), (6, 5, 4)])
def test_any_depth_equals_the_literal_construction(hidden: tuple[int, ...]) -> None:
    for dim in (2, 4):
        weights, biases = layers(dim, dim - 1, hidden)
        y, p, r = weights_of(Chart.cube, 3, dim)
        expected = dense_field(mlp_psi(weights, biases, dim, TIME), y, p, r)
        torch.testing.assert_close(mlp_field(weights, biases, dim)(y, TIME, p, r), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("chart", list(Chart))
@pytest.mark.parametrize("dim", DIMS)
def test_ridge_equals_the_literal_construction(dim: int, chart: Chart) -> None:
    parameters = ridge(dim)
    y, p, r = weights_of(chart, 3, dim)
    expected = dense_field(ridge_psi(*parameters, TIME), y, p, r)
    found = ridge_field(*parameters)(y, TIME, None if chart is Chart.direct else p, r)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dim", (2, 3, 5))
@pytest.mark.parametrize("family", ["mlp", "ridge"])
def test_gradients_equal_those_of_the_literal_construction(family: str, dim: int) -> None:
    """First derivatives in every parameter and in y, p, r: they are written out by hand in gpot."""
    y, p, r = (x.requires_grad_() for x in (torch.randn(3, dim, dtype=torch.float64) for _ in range(3)))
    probe = torch.randn(3, dim, dtype=torch.float64)
    if family == "mlp":
        weights, biases = layers(dim, dim - 1)
        parameters = [x.requires_grad_() for x in (*weights, *biases)]
        dense = dense_field(mlp_psi(weights, biases, dim, TIME), y, p, r)
        fast = mlp_field(weights, biases, dim)(y, TIME, p, r)
    else:
        parameters = [x.requires_grad_() for x in ridge(dim)]
        dense = dense_field(ridge_psi(*parameters, TIME), y, p, r)
        fast = ridge_field(*parameters)(y, TIME, p, r)
    inputs = [y, p, r, *parameters]
    expected = torch.autograd.grad((dense * probe).sum(), inputs, allow_unused=True, materialize_grads=True)
    found = torch.autograd.grad((fast * probe).sum(), inputs, allow_unused=True, materialize_grads=True)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", (2, 4))
@pytest.mark.parametrize("name", list(VELOCITIES))
@pytest.mark.parametrize("chart", list(Chart))
def test_second_and_forward_derivatives(name: str, dim: int, chart: Chart) -> None:
    """Euler's penalty differentiates twice, the exact log-determinant forward: the one against finite differences, the
    other against reverse mode."""
    velocity = VELOCITIES[name](dim)
    z = 0.7 * torch.randn(2, dim, dtype=torch.float64)
    y = (to_cube(z) if chart is Chart.cube else z).requires_grad_()

    def field(at: Tensor) -> Tensor:
        return velocity(TIME, at, chart)

    assert torch.autograd.gradcheck(field, y)
    assert torch.autograd.gradgradcheck(field, y)
    at = y.detach()
    torch.testing.assert_close(torch.func.jacfwd(field)(at), torch.func.jacrev(field)(at), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", list(VELOCITIES))
@pytest.mark.parametrize("dim", DIMS)
def test_law_is_kept(name: str, dim: int) -> None:
    """div v = 0 in the cube; div(dz/dt) = z . dz/dt, the same for the Gaussian weight, in the other charts."""
    velocity = VELOCITIES[name](dim)
    z = torch.randn(4, dim, dtype=torch.float64)
    for chart in Chart:
        y = to_cube(z) if chart is Chart.cube else z
        jacobian = torch.func.vmap(torch.func.jacrev(lambda one, k=chart: velocity(TIME, one[None], k)[0]))(y)
        divergence = jacobian.diagonal(dim1=1, dim2=2).sum(1)
        if chart is not Chart.cube:
            divergence = divergence - (z * velocity(TIME, z, chart)).sum(1)
        scale = jacobian.abs().sum((1, 2))
        assert scale.min() > 1e-3
        assert (divergence.abs() / scale).max() < 1e-12, chart


@pytest.mark.parametrize("name", list(VELOCITIES))
def test_walls_are_not_crossed(name: str) -> None:
    """v . n = 0 on every face of the cube (eq. 6), and v does not vanish there altogether."""
    dim = 4
    velocity = VELOCITIES[name](dim)
    for face in range(dim):
        for side in (-1.0, 1.0):
            c = 2 * torch.rand(5, dim, dtype=torch.float64) - 1
            c[:, face] = side
            v = velocity(TIME, c, Chart.cube)
            assert (v[:, face] == 0).all()
            assert v.abs().max() > 1e-3


@pytest.mark.parametrize("dim", (2, 3, 5))
def test_all_blocks_represent_any_antisymmetric_matrix(dim: int) -> None:
    """Prop. 3: d - 1 blocks give every psi, and fewer do not: rank of the linear map from output weights to Psi."""
    for n_blocks in range(1, dim):
        units = torch.eye(dim * n_blocks, dtype=torch.float64)
        columns = []
        for unit in units:  # the image of each output weight
            psi, _ = antisymmetric_weights(unit[:, None], torch.zeros_like(unit), dim)
            columns.append(psi[:, :, 0].flatten())
        rank = torch.linalg.matrix_rank(torch.stack(columns))
        full = dim * (dim - 1) // 2
        assert (rank == full) == (n_blocks == dim - 1)


def test_time_per_particle() -> None:
    velocity = VELOCITIES["mlp"](3)
    z = torch.randn(3, 3, dtype=torch.float64)
    times = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    each = torch.cat([velocity(t.item(), one[None], Chart.direct) for t, one in zip(times, z, strict=True)])
    torch.testing.assert_close(velocity(times, z, Chart.direct), each)


def test_wrong_layers_are_refused() -> None:
    weights, biases = layers(3, 2)
    with pytest.raises(BadInput, match="dimension 4"):
        mlp_field(weights, biases, 4)
