"""Costs against scipy's distances, their limits and gradients; what is refused."""

from __future__ import annotations

import pytest
import torch
from scipy.spatial.distance import cdist
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.costs import (
    L1,
    ControlledEuclidean,
    Cost,
    Euclidean,
    Lp,
    Mahalanobis,
    as_cost,
    check_cost,
    descended,
    lp,
    pairwise,
    smooth_l1,
    squared_euclidean,
)

DTYPE = torch.float64


def clouds(n: int = 30, m: int = 40, dim: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    x = 3.0 * torch.randn(n, dim, dtype=DTYPE, generator=draws)
    return x, torch.randn(m, dim, dtype=DTYPE, generator=draws) - 1.0


def metric(dim: int, seed: int = 0) -> Tensor:
    root = torch.randn(dim, dim, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))
    return root @ root.T + 0.1 * torch.eye(dim, dtype=DTYPE)


COSTS: dict[str, Cost] = {
    "euclidean": Euclidean(), "l1": L1(), "l1.5": Lp(1.5), "l4": Lp(4.0), "mahalanobis": Mahalanobis(metric(3)),
    "l1 smoothed": L1().smoothed(0.5),
}  # fmt: skip


# -- values ------------------------------------------------------------------


@pytest.mark.parametrize("p", [1.0, 1.5, 3.0, 4.0])
def test_lp_is_the_power_of_scipys_distance(p: float) -> None:
    x, y = clouds()
    ours = pairwise(lambda a, b: lp(a, b, p), x, y)
    torch.testing.assert_close(ours, torch.from_numpy(cdist(x, y, "minkowski", p=p) ** p), rtol=1e-12, atol=0)


def test_the_others_are_scipys_distances() -> None:
    x, y = clouds()
    m = metric(3)
    expected = {
        "euclidean": cdist(x, y, "sqeuclidean"), "l1": cdist(x, y, "cityblock"),
        "mahalanobis": cdist(x, y, "mahalanobis", VI=m.numpy()) ** 2,
    }  # fmt: skip
    for name, values in expected.items():
        torch.testing.assert_close(pairwise(COSTS[name], x, y), torch.from_numpy(values), rtol=1e-12, atol=1e-12)


def test_pairs_in_blocks_are_the_pairs_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = clouds()
    whole = pairwise(Lp(3.0), x, y)
    monkeypatch.setattr("gpot.maths.costs._NUMBERS", 7 * y.numel())
    assert torch.equal(pairwise(Lp(3.0), x, y), whole)
    assert torch.equal(whole.diagonal(), Lp(3.0)(x, y[:30]))


def test_mahalanobis_is_the_squared_distance_of_whitened_points() -> None:
    x = clouds(200)[0] @ metric(3, seed=1)
    cost = Mahalanobis.of(x)
    root = torch.linalg.cholesky(cost.metric)
    white = x @ root
    torch.testing.assert_close(torch.cov(white.T), torch.eye(3, dtype=DTYPE), rtol=0, atol=1e-10)
    torch.testing.assert_close(cost(x, x.flip(0)), squared_euclidean(white, white.flip(0)))
    torch.testing.assert_close(Mahalanobis(torch.eye(3, dtype=DTYPE))(x, x.flip(0)), Euclidean()(x, x.flip(0)))


# -- limits and gradients ----------------------------------------------------


def test_smoothing_rises_to_l1_and_stays_within_its_bound() -> None:
    x, y = clouds(40)
    exact = L1()(x, y)
    last = torch.zeros_like(exact)
    for smoothing in (10.0, 1.0, 0.1, 0.01):
        smooth = smooth_l1(x, y, smoothing)
        assert ((smooth > last) & (smooth <= exact) & (exact - smooth <= 3 * smoothing)).all()
        last = smooth
    assert smooth_l1(x, x + 1e-9, 1.0) == pytest.approx(1.5e-18, rel=1e-6)  # d^2 / (2 eps), with no cancellation


@pytest.mark.parametrize("name", COSTS)
def test_gradients(name: str) -> None:
    x, y = clouds(40)
    assert torch.autograd.gradcheck(COSTS[name], (x[:5].requires_grad_(), y[:5].requires_grad_()))


@pytest.mark.parametrize("name", COSTS)
def test_at_rest_the_cost_and_its_gradient_are_zero(name: str) -> None:
    x = clouds()[0].requires_grad_()
    values = COSTS[name](x, x.detach())
    (gradient,) = torch.autograd.grad(values.sum(), x)
    assert (values == 0).all() and (gradient == 0).all()


def test_what_is_descended_on_anneals_only_l1() -> None:
    x, y = clouds(40)
    assert descended(Lp(4.0), 0.3) == Lp(4.0)
    cost = L1(start=1.0, end=0.01)
    assert [cost.smoothing(t) for t in (0.0, 0.5, 1.0)] == pytest.approx([1.0, 0.1, 0.01])
    assert torch.equal(descended(cost, 1.0)(x, y), smooth_l1(x, y, 0.01))


# -- names, and what is refused ----------------------------------------------


def test_names() -> None:
    assert as_cost(None) == as_cost("euclidean") == as_cost("l2") == Euclidean()
    assert as_cost("l1") == L1() and as_cost("l1.5") == Lp(1.5) and as_cost("l4") == Lp(4.0)
    assert as_cost(squared_euclidean) is squared_euclidean


@pytest.mark.parametrize("name", ["wasserstein", "l", "l-1", "L2", "l2 "])
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(BadInput, match="a cost is 'euclidean'"):
        as_cost(name)


def test_parameters_that_are_none() -> None:
    with pytest.raises(BadInput, match="take L1"):
        Lp(1.0)
    with pytest.raises(BadInput, match="falls from start to end"):
        L1(start=0.1, end=0.2)
    with pytest.raises(BadInput, match="positive definite"):
        Mahalanobis(torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(BadInput, match="no inverse"):
        Mahalanobis.of(torch.randn(9, 1).expand(-1, 2))


def test_a_function_that_is_no_cost() -> None:
    x, y = clouds(40)
    assert torch.equal(check_cost(Euclidean(), x, y), Euclidean()(x, y))
    with pytest.raises(BadInput, match=r"shape \(40,\) here"):
        check_cost(lambda a, b: (a - b) ** 2, x, y)
    with pytest.raises(BadInput, match="40 are below 0"):
        check_cost(lambda a, b: -squared_euclidean(a, b), x, y)


def gaussian_pairs(n: int = 4000, dim: int = 3) -> tuple[Tensor, Tensor, Tensor]:
    """x = M y + m + noise, and M: y exactly of mean 0 and covariance 1."""
    draw = torch.Generator().manual_seed(3)
    y, noise = (torch.randn(n, dim, generator=draw, dtype=torch.float64) for _ in range(2))
    y = (y - y.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(y.T.cov(correction=0))).T
    root = torch.randn(dim, dim, generator=draw, dtype=torch.float64)
    matrix = root @ root.T + 0.1 * torch.eye(dim, dtype=torch.float64)
    return y @ matrix + 5.0 + 0.1 * noise, y, matrix


def test_the_control_variate_changes_no_mean_whatever_the_pairing() -> None:
    x, y, _ = gaussian_pairs()
    cost = ControlledEuclidean.of(x)
    for order in (torch.arange(len(y)), torch.randperm(len(y), generator=torch.Generator().manual_seed(1))):
        plain, controlled = squared_euclidean(x, y[order]), descended(cost, 0.3)(x, y[order])
        assert torch.equal(cost(x, y[order]), plain)
        assert controlled.mean().item() == pytest.approx(plain.mean().item(), rel=1e-9)


def test_the_control_variate_leaves_single_points_their_residual_alone() -> None:
    x, y, matrix = gaussian_pairs()
    cost = ControlledEuclidean.of(x)
    torch.testing.assert_close(cost.matrix, matrix, rtol=0.05, atol=0.05)
    (pull,) = torch.autograd.grad(cost.controlled(x, at := y.clone().requires_grad_()).sum(), at)
    torch.testing.assert_close(pull, 2.0 * (cost.mean + y @ cost.matrix - x))
    assert pull.var() < 0.05 * (2.0 * (y - x)).var()
    half = torch.linalg.cholesky(cost.matrix)  # |A^(-1/2) (x - m) - A^(1/2) y|^2, with any root
    moved = torch.linalg.solve(half, (x - cost.mean).T).T - y @ half
    difference = cost.controlled(x, y) - moved.pow(2).sum(1)
    of_x = cost.controlled(x, y.flip(0)) - (
        torch.linalg.solve(half, (x - cost.mean).T).T - y.flip(0) @ half
    ).pow(2).sum(1)  # fmt: skip
    torch.testing.assert_close(difference, of_x)
