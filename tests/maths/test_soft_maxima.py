"""Sums of soft maxima are convex at any parameters, and their derivatives are those of automatic differentiation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.soft_maxima import SoftMaxima, soft_maxima
from tests.maths.test_convex_network import check_above_its_tangents, check_derivatives, draw, points


def large(dim: int, groups: int, pieces: int, seed: int = 0) -> SoftMaxima:
    """A function of random large parameters."""
    generator = draw(seed)
    fresh = soft_maxima(dim, groups, pieces, 0.1, generator, quadratic=0.5)
    return fresh.map(lambda p: p.double() + 2.0 * torch.randn(p.shape, generator=generator, dtype=torch.float64))


@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (5, 2), (4, 7)])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_derivatives_are_those_of_automatic_differentiation(dim: int, shape: tuple[int, int]) -> None:
    check_derivatives(large(dim, *shape), points(9, dim))


@pytest.mark.parametrize("seed", range(5))
def test_strongly_convex_with_its_modulus(seed: int) -> None:
    u, z = large(4, 6, 8, seed), points(200, 4, seed)
    eigenvalues = torch.linalg.eigvalsh(u.gradient_and_hessian(z)[1])
    assert eigenvalues.min() >= u.modulus - 1e-12 * eigenvalues.max()
    check_above_its_tangents(u, z, points(200, 4, seed + 100))


def test_a_group_is_the_logarithm_of_the_sum_of_its_pieces() -> None:
    u, z = large(3, 1, 4), points(5, 3)
    pieces = (z @ u.weight[0].T + u.bias[0]).exp().sum(1).log()
    quadratic = SoftMaxima.quadratic(u.root, u.linear, u.modulus)
    size = (1.0 + u.output.exp()).log()
    torch.testing.assert_close(u.value(z), quadratic.value(z) + size * pieces)


def test_without_a_group_it_is_a_quadratic() -> None:
    root = torch.randn(3, 3, generator=draw(1), dtype=torch.float64)
    linear = torch.randn(3, generator=draw(2), dtype=torch.float64)
    u, z = SoftMaxima.quadratic(root, linear, 0.2), points(6, 3)
    assert u.is_quadratic and not large(3, 1, 1).is_quadratic
    matrix = root @ root.T + 0.2 * torch.eye(3)
    gradient, hessian = u.gradient_and_hessian(z)
    torch.testing.assert_close(u.value(z), 0.5 * ((z @ matrix) * z).sum(1) + z @ linear)
    torch.testing.assert_close(gradient, z @ matrix + linear)
    torch.testing.assert_close(hessian, matrix.expand(6, 3, 3))


def test_no_rows_at_all() -> None:
    gradient, hessian = large(3, 2, 4).gradient_and_hessian(torch.zeros(0, 3, dtype=torch.float64))
    assert gradient.shape == (0, 3) and hessian.shape == (0, 3, 3)


def test_pieces_far_apart_do_not_overflow() -> None:
    u, z = large(2, 3, 5).map(lambda p: 1e3 * p), points(8, 2)
    gradient, hessian = u.gradient_and_hessian(z)
    assert all(part.isfinite().all() for part in (u.value(z), gradient, hessian))


def test_parameters_are_all_there_and_a_map_changes_them_all() -> None:
    changed = large(3, 5, 4).map(torch.zeros_like)
    assert len(changed.tensors()) == 5 and all((p == 0.0).all() for p in changed.tensors())


def test_a_modulus_of_zero_is_refused() -> None:
    with pytest.raises(BadInput, match="modulus"):
        soft_maxima(2, 1, 3, 0.0, draw(0), quadratic=1.0)


def test_a_fresh_one_adds_about_what_was_asked() -> None:
    z: Tensor = torch.randn(2000, 4, generator=draw(3))
    u = soft_maxima(4, 32, 16, 0.02, draw(4), quadratic=0.3)
    mean = u.gradient_and_hessian(z)[1].diagonal(dim1=1, dim2=2).mean().item()
    assert 0.32 + 0.35 < mean < 0.32 + 1.05
