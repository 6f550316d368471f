"""A fitted rotation: orthogonal, best, in the dtype of the points."""

from __future__ import annotations

import pytest
import torch

from gpot.errors import BadInput
from gpot.gp.rotation import check_orthogonal, fit_rotation
from gpot.maths.transport import procrustes, transport_cost


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("allow_reflection", [False, True])
def test_fit_is_procrustes_in_float64(dtype: torch.dtype, allow_reflection: bool) -> None:
    z = torch.randn(300, 5, dtype=dtype)
    x = z @ torch.randn(5, 5, dtype=dtype) + 100.0  # far from the origin: float32 moments would lose digits
    q = fit_rotation(x, z, allow_reflection)
    assert q.dtype == dtype
    torch.testing.assert_close(q, procrustes(x.double(), z.double(), allow_reflection).to(dtype), rtol=0.0, atol=0.0)
    assert (q.T @ q - torch.eye(5, dtype=dtype)).abs().max() < 16 * torch.finfo(dtype).eps
    assert transport_cost(x, z @ q.T).mean() < transport_cost(x, z).mean()


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
