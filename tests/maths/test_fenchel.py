"""The Fenchel-Young gap is an upper bound whatever the potential and whatever Newton's method has done."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.convex_network import ConvexNetwork
from gpot.maths.fenchel import conjugates, envelope_gap, gaps_of, newton_step
from tests.maths.test_convex_network import draw, large


def gaussian(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=draw(seed), dtype=torch.float64)


@pytest.mark.parametrize("steps", [0, 1, 2, 50])
@pytest.mark.parametrize("seed", range(4))
def test_never_negative_for_any_pairs(seed: int, steps: int) -> None:
    u = large(3, (8, 8), seed)
    x, z = 5.0 * gaussian(300, 3, seed), 3.0 * gaussian(300, 3, seed + 50)
    assert (conjugates(u, x, z, steps=steps).gap >= 0.0).all()


@pytest.mark.parametrize("dim", [2, 10, 32])
def test_zero_for_the_gradient_of_the_potential(dim: int) -> None:
    u, z = large(dim, (16, 16)), gaussian(200, dim, 3)
    assert conjugates(u, u.gradient(z), z).gap.max() < 1e-12


@pytest.mark.parametrize("dim", [2, 10, 32])
@pytest.mark.parametrize("steps", [0, 3, 50])
def test_bounds_the_true_gap_whatever_the_potential(dim: int, steps: int) -> None:
    # a permutation of the images keeps their law exactly, so the optimum of the pairs is known without sampling error
    truth, z0 = large(dim, (12, 12), 7), gaussian(400, dim, 4)
    x = truth.gradient(z0)
    z = z0[torch.randperm(len(z0), generator=draw(5))]
    true_gap = ((x - z) ** 2).sum(1).mean() - ((x - z0) ** 2).sum(1).mean()
    for seed in range(3):
        u = large(dim, (10, 10), seed)
        assert 2.0 * conjugates(u, x, z, steps=steps).gap.mean() >= true_gap > 0.0
    if steps == 50:
        assert 2.0 * conjugates(truth, x, z).gap.mean() == pytest.approx(true_gap.item(), rel=1e-9)


def test_more_steps_lower_the_gap_to_the_conjugate_of_a_quadratic() -> None:
    root = gaussian(4, 4, 1)
    u = ConvexNetwork(root, gaussian(1, 4, 2)[0], 0.3)
    x, z = gaussian(100, 4, 3), gaussian(100, 4, 4)
    hessian = root @ root.T + 0.3 * torch.eye(4, dtype=torch.float64)
    residual = x - z @ hessian - u.linear
    expected = 0.5 * (residual * torch.linalg.solve(hessian, residual.T).T).sum(1)
    torch.testing.assert_close(conjugates(u, x, z).gap, expected)
    assert (conjugates(u, x, z, steps=0).gap >= expected).all()


def test_newton_ends_at_the_argmax_from_far_away() -> None:
    u = large(5, (10, 10, 10), 2)
    found = conjugates(u, 10.0 * gaussian(200, 5, 1), 10.0 * gaussian(200, 5, 2))
    # values of some 1e4 have a rounding of 1e-12, and a residual of its root lowers them by no more
    assert found.residual.max() < 1e-4
    torch.testing.assert_close(u.gradient(found.points), 10.0 * gaussian(200, 5, 1), rtol=0.0, atol=1e-4)


def test_float32_pairs_are_computed_in_float64() -> None:
    u, z = large(3, (8, 8)), gaussian(100, 3, 1).float()
    x = gaussian(100, 3, 2).float()
    found = conjugates(u, x, z).gap
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, conjugates(u, x.double(), z.double()).gap, rtol=0.0, atol=0.0)


def test_derivative_by_the_envelope_theorem() -> None:
    x, z, step = gaussian(50, 3, 1), gaussian(50, 3, 2), 1e-5
    u = large(3, (6, 6)).map(lambda p: p.requires_grad_(True))
    argmax = conjugates(u, x, z).points
    loss = envelope_gap(u, x, z, argmax).mean()
    for k, derivative in enumerate(torch.autograd.grad(loss, u.tensors())):
        direction = torch.randn(derivative.shape, generator=draw(k), dtype=torch.float64)

        def moved(size: float, k: int = k, direction: Tensor = direction) -> Tensor:
            numbers = iter(range(len(u.tensors())))
            changed = u.map(lambda p: p.detach() + size * direction if next(numbers) == k else p.detach())
            return conjugates(changed, x, z).gap.mean()

        difference = (moved(step) - moved(-step)) / (2.0 * step)
        torch.testing.assert_close((derivative * direction).sum(), difference, rtol=1e-5, atol=1e-7)


def test_one_step_is_newtons_and_no_longer_than_allowed() -> None:
    u = ConvexNetwork(torch.eye(2).double(), torch.zeros(2).double(), 1.0)
    x, a = gaussian(20, 2, 1), torch.zeros(20, 2).double()
    torch.testing.assert_close(newton_step(u, x, a, longest=100.0), x / 2.0)
    assert newton_step(u, 100.0 * x, a, longest=0.5).norm(dim=1).max() <= 0.5 + 1e-12


def test_clouds_that_are_not_pairs_are_refused() -> None:
    u = large(2, (3,))
    with pytest.raises(BadInput, match="pairs"):
        conjugates(u, torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(BadInput, match="finite"):
        conjugates(u, torch.full((3, 2), torch.nan), torch.zeros(3, 2))


@pytest.mark.parametrize("dim", [2, 10])
def test_one_maximization_serves_every_map_from_the_same_points(dim: int) -> None:
    u, x = large(dim, (8, 8), 1), 5.0 * gaussian(300, dim, 2)
    reached = conjugates(u, x, x)
    for seed in (3, 4):
        z = 3.0 * gaussian(300, dim, seed)
        torch.testing.assert_close(gaps_of(u, x, z, reached), conjugates(u, x, z).gap, rtol=1e-9, atol=1e-9)
    near = reached.points + 1e-9 * gaussian(300, dim, 5)  # where rounding decides which point is better
    assert (gaps_of(u, x, near, reached) >= 0.0).all() and gaps_of(u, x, reached.points, reached).max() < 1e-11


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_a_maximization_that_was_not_finished_raises_the_gap(steps: int) -> None:
    u, x, z = large(3, (8, 8), 1), 5.0 * gaussian(300, 3, 2), 3.0 * gaussian(300, 3, 3)
    early, done = gaps_of(u, x, z, conjugates(u, x, x, steps=steps)), conjugates(u, x, z).gap
    excess = early / done - 1.0
    assert excess.min() > -1e-9 and excess.max() > 1e-4
