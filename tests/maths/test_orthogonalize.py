"""The orthogonal factor is that of the singular value decomposition, for tall, wide and stacked matrices."""

from __future__ import annotations

import pytest
import torch

from gpot.maths.orthogonalize import orthogonal_factor


@pytest.mark.parametrize("shape", [(7, 3), (3, 7), (5, 5), (4, 6, 2), (2, 3, 9)])
def test_it_is_that_of_the_singular_value_decomposition(shape: tuple[int, ...]) -> None:
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 100.0
    u, _, vt = torch.linalg.svd(g, full_matrices=False)
    torch.testing.assert_close(orthogonal_factor(g), u @ vt)
    torch.testing.assert_close(orthogonal_factor(1e-9 * g), u @ vt)
    torch.testing.assert_close(orthogonal_factor(g.float()), (u @ vt).float(), rtol=1e-4, atol=1e-4)


def test_of_a_singular_matrix_it_is_bounded_and_of_zero_it_is_zero() -> None:
    g = torch.outer(torch.arange(1.0, 6.0), torch.tensor([1.0, -2.0, 0.5]))
    assert torch.linalg.matrix_norm(orthogonal_factor(g), 2) == pytest.approx(1.0, abs=1e-4)
    assert torch.equal(orthogonal_factor(torch.zeros(2, 4, 3)), torch.zeros(2, 4, 3))
