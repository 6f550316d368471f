"""Costs against exact discrete OT, Bures' formula, Procrustes against other rotations, Jacobians against autograd."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.costs import squared_euclidean
from gpot.maths.transport import (
    exact_log_det,
    gaussian_log_density,
    gelbrich,
    jacobian,
    procrustes,
)

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps


def orthogonal(dim: int, det: float) -> Tensor:
    q = torch.linalg.qr(torch.randn(dim, dim, dtype=DTYPE)).Q
    q[:, 0] *= torch.linalg.det(q).sign() * det
    return q


def covariance(dim: int) -> Tensor:
    root = torch.randn(dim, dim, dtype=DTYPE)
    return root @ root.T


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    return x.mean(0), torch.cov(x.T, correction=0)


def root(matrix: Tensor) -> Tensor:
    """By Denman and Beavers' iteration: not the route of the code under test."""
    y, z = matrix, torch.eye(len(matrix), dtype=matrix.dtype)
    for _ in range(50):
        y, z = 0.5 * (y + torch.linalg.inv(z)), 0.5 * (z + torch.linalg.inv(y))
    return y


def bend(x: Tensor) -> Tensor:
    """A smooth map with a full Jacobian, row by row."""
    return torch.sin(x @ torch.linspace(-1.0, 2.0, x.shape[1] ** 2, dtype=x.dtype).view(x.shape[1], -1)) + x**3


# -- cost and density ---------------------------------------------------------------


@pytest.mark.parametrize("dim", [1, 3])
def test_cost_is_never_below_exact_discrete_transport(dim: int) -> None:
    ot = pytest.importorskip("ot")
    n = 200
    x, z = torch.randn(n, dim, dtype=DTYPE) ** 3, torch.randn(n, dim, dtype=DTYPE) - 1.0
    costs = ot.dist(x.numpy(), z.numpy(), metric="sqeuclidean")
    weights = torch.full((n,), 1.0 / n, dtype=DTYPE).numpy()
    floor = ot.emd2(weights, weights, costs)
    assert squared_euclidean(x, z).shape == (n,)
    assert squared_euclidean(x, z).mean() > floor
    best = torch.from_numpy(ot.emd(weights, weights, costs)).argmax(1)
    assert squared_euclidean(x, z[best]).mean().item() == pytest.approx(floor, rel=1e-10)


def test_gaussian_log_density() -> None:
    z = 3.0 * torch.randn(20, 4, dtype=DTYPE)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(gaussian_log_density(z), expected, rtol=1e-13, atol=1e-13)


# -- Procrustes ---------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 3, 7])
@pytest.mark.parametrize("det", [1.0, -1.0])
def test_procrustes_recovers_the_rotation_of_the_data(dim: int, det: float) -> None:
    q = orthogonal(dim, det)
    z = torch.randn(50, dim, dtype=DTYPE)
    torch.testing.assert_close(procrustes(z @ q.T, z, allow_reflection=det < 0), q, rtol=0.0, atol=1e3 * EPS)


@pytest.mark.parametrize("allow_reflection", [False, True])
def test_procrustes_is_the_best_of_all(allow_reflection: bool) -> None:
    dim = 4
    mixing = covariance(dim) @ orthogonal(dim, -1.0)  # the best of all is a reflection
    z = torch.randn(100, dim, dtype=DTYPE)
    x = z @ mixing.T + 0.3 * torch.randn(100, dim, dtype=DTYPE)
    best = procrustes(x, z, allow_reflection)
    torch.testing.assert_close(best @ best.T, torch.eye(dim, dtype=DTYPE), rtol=0.0, atol=1e2 * EPS)
    assert torch.linalg.det(best).item() == pytest.approx(-1.0 if allow_reflection else 1.0)
    least = squared_euclidean(x, z @ best.T).mean()
    for scale in (1e-2, 1.0, 10.0):
        for _ in range(50):
            skew = scale * torch.randn(dim, dim, dtype=DTYPE)
            other = best @ torch.linalg.matrix_exp(skew - skew.T)
            assert squared_euclidean(x, z @ other.T).mean() >= least * (1.0 - 10 * EPS)
    other_kind = procrustes(x, z, not allow_reflection)
    assert bool(squared_euclidean(x, z @ other_kind.T).mean() > least) == allow_reflection


def test_a_reflection_costs_less_where_it_is_allowed() -> None:
    z = torch.randn(100, 3, dtype=DTYPE)
    x = z * torch.tensor([1.0, -2.0, 3.0], dtype=DTYPE)
    rotation, reflection = procrustes(x, z), procrustes(x, z, allow_reflection=True)
    torch.testing.assert_close(reflection, torch.diag(x[0] / z[0]).sign(), rtol=0.0, atol=0.2)
    assert squared_euclidean(x, z @ reflection.T).mean() < squared_euclidean(x, z @ rotation.T).mean() - 0.1


# -- Gelbrich ---------------------------------------------------------------


def test_gelbrich_is_bures_for_gaussians() -> None:
    dim = 4
    a, b = covariance(dim), covariance(dim)
    mean_a, mean_b = torch.randn(2, dim, dtype=DTYPE)
    root_a = root(a)
    expected = ((mean_a - mean_b) ** 2).sum() + (a + b - 2.0 * root(root_a @ b @ root_a)).trace()
    torch.testing.assert_close(gelbrich(mean_a, a, mean_b, b), expected, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(gelbrich(mean_b, b, mean_a, a), expected, rtol=1e-8, atol=1e-8)


def test_gelbrich_of_commuting_covariances_and_of_a_singular_one() -> None:
    zero = torch.zeros(3, dtype=DTYPE)
    a, b = torch.tensor([4.0, 1.0, 9.0], dtype=DTYPE), torch.tensor([1.0, 0.0, 4.0], dtype=DTYPE)
    assert gelbrich(zero, torch.diag(a), zero, torch.diag(b)).item() == pytest.approx(1.0 + 1.0 + 1.0)
    line = torch.ones(3, 3, dtype=DTYPE)  # rank one: eigenvalues 3, 0, 0 to rounding
    assert gelbrich(zero, line, zero, line).item() == pytest.approx(0.0, abs=1e-7)


def test_gelbrich_is_reached_by_the_linear_monge_map_and_bounds_every_coupling() -> None:
    dim = 3
    z = torch.randn(2000, dim, dtype=DTYPE)
    spd = covariance(dim)
    image = z @ spd.T + 1.0
    bound = gelbrich(*moments(image), *moments(z)).item()
    assert squared_euclidean(image, z).mean().item() == pytest.approx(bound, rel=1e-9)
    ot = pytest.importorskip("ot")
    x, y = torch.rand(300, dim, dtype=DTYPE) ** 4, z[:300]
    exact = ot.emd2([], [], ot.dist(x.numpy(), y.numpy(), metric="sqeuclidean"))
    assert gelbrich(*moments(x), *moments(y)).item() < exact


def test_gelbrich_refuses_what_is_no_covariance() -> None:
    zero = torch.zeros(2, dtype=DTYPE)
    with pytest.raises(BadInput, match="eigenvalue -1"):
        gelbrich(zero, torch.diag(torch.tensor([1.0, -1.0], dtype=DTYPE)), zero, torch.eye(2, dtype=DTYPE))


# -- Jacobian ---------------------------------------------------------------


def test_jacobian_and_log_det_against_autograd() -> None:
    x = torch.randn(11, 3, dtype=DTYPE)
    expected = torch.stack([torch.autograd.functional.jacobian(lambda row: bend(row[None])[0], row) for row in x])
    torch.testing.assert_close(jacobian(bend, x), expected, rtol=1e-12, atol=1e-12)
    log_det = torch.linalg.slogdet(expected).logabsdet
    for chunk in (1, 4, 11, 100):
        torch.testing.assert_close(exact_log_det(bend, x, chunk), log_det, rtol=1e-10, atol=1e-10)


def test_log_det_of_a_linear_map_of_either_orientation() -> None:
    x = torch.randn(5, 3, dtype=DTYPE)
    for det in (1.0, -1.0):
        matrix = 2.0 * orthogonal(3, det)
        expected = torch.full((5,), 3.0 * math.log(2.0), dtype=DTYPE)
        torch.testing.assert_close(exact_log_det(lambda rows, m=matrix: rows @ m.T, x), expected)


def test_log_det_keeps_no_graph_and_refuses_empty_chunks() -> None:
    x = torch.randn(2, 3, dtype=DTYPE, requires_grad=True)
    assert not exact_log_det(bend, x).requires_grad
    with pytest.raises(BadInput, match="chunk=0"):
        exact_log_det(bend, x, 0)
