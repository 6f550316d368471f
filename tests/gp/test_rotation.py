"""A fitted rotation: orthogonal, best, in the dtype of the points."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.gp.rotation import check_orthogonal, descend_rotation, fit_rotation
from gpot.maths.costs import L1, Cost, Lp, Mahalanobis, squared_euclidean
from gpot.maths.transport import procrustes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("allow_reflection", [False, True])
def test_fit_is_procrustes_in_float64(dtype: torch.dtype, allow_reflection: bool) -> None:
    z = torch.randn(300, 5, dtype=dtype)
    x = z @ torch.randn(5, 5, dtype=dtype) + 100.0  # far from the origin: float32 moments would lose digits
    q = fit_rotation(x, z, allow_reflection)
    assert q.dtype == dtype
    torch.testing.assert_close(q, procrustes(x.double(), z.double(), allow_reflection).to(dtype), rtol=0.0, atol=0.0)
    assert (q.T @ q - torch.eye(5, dtype=dtype)).abs().max() < 16 * torch.finfo(dtype).eps
    assert squared_euclidean(x, z @ q.T).mean() < squared_euclidean(x, z).mean()


def test_no_gradient_enters_the_rotation() -> None:
    z = torch.randn(20, 2, requires_grad=True)
    assert not fit_rotation(2.0 * z, z).requires_grad


def test_what_cannot_be_fitted_is_refused() -> None:
    z = torch.randn(10, 3)
    with pytest.raises(BadInput, match=r"\(10, 3\) and z of shape \(10, 2\)"):
        fit_rotation(z, z[:, :2])
    with pytest.raises(BadInput, match="finite"):
        fit_rotation(torch.where(z > 1.0, torch.nan, z), z)


def test_orthogonality_is_checked() -> None:
    q = torch.linalg.qr(torch.randn(4, 4)).Q
    assert check_orthogonal(q) is q
    check_orthogonal(q.double())  # stored in float32 and converted
    with pytest.raises(BadInput, match="would change the density"):
        check_orthogonal(1.001 * q)
    with pytest.raises(BadInput, match=r"shape \(4, 3\)"):
        check_orthogonal(q[:, :3])
    with pytest.raises(BadInput, match="nan"):
        check_orthogonal(torch.full((2, 2), torch.nan))


# -- other costs -----------------------------------------------------------------


def pairs_of(dim: int, n: int = 400) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(dim)
    z = torch.randn(n, dim, dtype=torch.float64, generator=draws)
    z = (z - z.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(z.T, correction=0)).T)  # covariance I
    x = torch.tanh(z @ torch.randn(dim, dim, dtype=torch.float64, generator=draws)) + 0.5
    return x, z


@pytest.mark.parametrize("dim", [2, 4])
def test_mahalanobis_has_a_closed_form_on_white_points(dim: int) -> None:
    x, z = pairs_of(dim)
    cost = Mahalanobis(torch.diag(torch.arange(1.0, dim + 1.0, dtype=torch.float64) ** 2))
    q = fit_rotation(x, z, cost=cost)
    found = cost(x, z @ q.T).mean().item()
    descended = descend_rotation(lambda turn: cost(x, z @ turn.T).mean(), [q])
    assert cost(x, z @ descended.T).mean().item() == pytest.approx(found, rel=1e-9)  # nothing below it nearby
    draws = torch.Generator().manual_seed(0)
    for _ in range(20):
        other = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64, generator=draws)).Q
        other[:, 0] *= torch.linalg.det(other).sign()
        assert cost(x, z @ other.T).mean().item() >= found


@pytest.mark.parametrize("cost", [L1(), Lp(1.5), Lp(4.0)], ids=["l1", "l1.5", "l4"])
def test_another_cost_is_descended_on_from_procrustes(cost: Cost) -> None:
    x, z = pairs_of(3)
    start, q = fit_rotation(x, z), fit_rotation(x, z, cost=cost)
    assert torch.linalg.det(q).item() == pytest.approx(1.0)
    assert cost(x, z @ q.T).mean() < cost(x, z @ start.T).mean()


def test_in_the_plane_the_descent_finds_the_best_angle() -> None:
    x, z = pairs_of(2)
    cost = Lp(4.0)
    angles = torch.linspace(0, 2 * torch.pi, 721, dtype=torch.float64)
    cos, sin = angles.cos(), angles.sin()
    grid = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    least = min(cost(x, z @ turn.T).mean().item() for turn in grid)
    q = fit_rotation(x, z, cost=cost)
    assert cost(x, z @ q.T).mean().item() <= least + 1e-9


def test_arrays_are_points_and_a_better_reflection_is_spoken_of() -> None:
    z = torch.randn(200, 3, dtype=torch.float64)
    x = z * torch.tensor([-1.0, 1.0, 1.0])
    with pytest.warns(UserWarning, match="allow_reflection=True"):
        fit_rotation(x.numpy(), z.numpy())
    assert torch.linalg.det(fit_rotation(x.numpy(), z.numpy(), allow_reflection=True)) < 0
