"""Known optima: x = grad u0(z0) is a Monge map with the inverse grad u0*, and the scores are 0 at the truth alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.convex_network import ConvexNetwork
from gpot.maths.fenchel import conjugates
from gpot.maths.known_truth import POTENTIALS, excess_cost, unexplained_variance

Make = Callable[[int, torch.Generator], ConvexNetwork]
of_each = pytest.mark.parametrize(("make", "dim"), [(make, dim) for make in POTENTIALS.values() for dim in (2, 5, 16)])


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(n: int, dim: int, seed: int = 1) -> Tensor:
    return torch.randn(n, dim, generator=draw(seed), dtype=torch.float64)


@of_each
def test_the_gradient_is_monotone_with_a_symmetric_positive_jacobian(make: Make, dim: int) -> None:
    u, a, b = make(dim, draw(0)), gaussian(60, dim, 1), gaussian(60, dim, 2)
    inner = ((u.gradient(a) - u.gradient(b)) * (a - b)).sum(1)
    assert (inner >= u.modulus * ((a - b) ** 2).sum(1)).all()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda row: u.gradient(row[None])[0]))(a[:8])
    torch.testing.assert_close(jacobian, jacobian.mT)
    assert torch.linalg.eigvalsh(jacobian).min() >= u.modulus


@of_each
def test_the_conjugate_gradient_takes_x_back_to_z0(make: Make, dim: int) -> None:
    u, z0 = make(dim, draw(0)), gaussian(40, dim)
    found = conjugates(u, u.gradient(z0), torch.zeros_like(z0))
    torch.testing.assert_close(found.points, z0, rtol=0, atol=1e-6)  # where rounding ends the descent


@of_each
def test_far_from_linear_and_of_one_seed(make: Make, dim: int) -> None:
    u, z = make(dim, draw(3)), gaussian(4000, dim)
    x = u.gradient(z)
    torch.testing.assert_close(x, make(dim, draw(3)).gradient(z))
    assert (make(dim, draw(4)).gradient(z) - x).norm() > 0.03 * x.norm()
    design = torch.cat([z, torch.ones(len(z), 1).double()], dim=1)
    residual = x - design @ torch.linalg.lstsq(design, x).solution
    assert (residual**2).sum() > 1e-3 * (x**2).sum()
    assert x.mean(0).abs().max() < 0.3
    hessian = u.gradient_and_hessian(z[:500])[1]
    assert 0.5 < hessian.diagonal(dim1=1, dim2=2).mean() < 4.0


def test_unexplained_variance_is_zero_at_the_truth_and_keeps_rotations() -> None:
    z0, s = gaussian(200, 7), gaussian(200, 7, 2)
    assert (unexplained_variance(z0, z0) == 0.0).all()
    q = torch.linalg.qr(gaussian(7, 7, 3))[0]
    torch.testing.assert_close(unexplained_variance(s @ q.T, z0 @ q.T), unexplained_variance(s, z0))
    order = torch.randperm(7, generator=draw(4))
    torch.testing.assert_close(unexplained_variance(s[:, order], z0[:, order]), unexplained_variance(s, z0))
    assert unexplained_variance(torch.zeros_like(z0), z0).mean() == pytest.approx(100.0, rel=0.1)
    with pytest.raises(BadInput, match="pass"):
        unexplained_variance(s[:3], z0)


@of_each
def test_excess_cost_is_zero_at_the_truth_alone_and_is_the_difference_of_costs(make: Make, dim: int) -> None:
    u, z0 = make(dim, draw(0)), gaussian(20_000, dim)
    x = u.gradient(z0)
    assert excess_cost(u, z0, z0).abs().max() < 1e-10
    # a rotation by the radius of a plane keeps the Gaussian
    angle = z0[:, :2].norm(dim=1)
    turned = z0.clone()
    turned[:, 0] = z0[:, 0] * angle.cos() - z0[:, 1] * angle.sin()
    turned[:, 1] = z0[:, 0] * angle.sin() + z0[:, 1] * angle.cos()
    excess = excess_cost(u, turned, z0)
    difference = ((x - turned) ** 2).sum(1) - ((x - z0) ** 2).sum(1)
    assert excess.min() >= 0.0 and excess.var() < difference.var()
    error = (excess - difference).std() / len(z0) ** 0.5
    assert (excess - difference).mean().abs() < 5.0 * error
