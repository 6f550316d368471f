"""An input-convex network is convex at any parameters, and its derivatives are those of automatic differentiation."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.convex_network import ConvexNetwork, convex_network, inverse_softplus
from gpot.maths.soft_maxima import SoftMaxima


def draw(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def large(dim: int, widths: tuple[int, ...], seed: int = 0) -> ConvexNetwork:
    """A network of random large parameters."""
    generator = draw(seed)
    fresh = convex_network(dim, widths, 0.1, generator, quadratic=0.5)
    return fresh.map(lambda p: p.double() + torch.randn(p.shape, generator=generator, dtype=torch.float64))


def points(n: int, dim: int, seed: int = 1) -> Tensor:
    return 2.0 * torch.randn(n, dim, generator=draw(seed), dtype=torch.float64)


def check_derivatives(u: ConvexNetwork | SoftMaxima, z: Tensor) -> None:
    """The gradient and Hessian of u at z are those of automatic differentiation of its value."""
    gradient, hessian = u.gradient_and_hessian(z)
    torch.testing.assert_close(gradient, torch.func.vmap(torch.func.grad(lambda row: u.value(row[None])[0]))(z))
    torch.testing.assert_close(hessian, torch.func.vmap(torch.func.hessian(lambda row: u.value(row[None])[0]))(z))
    torch.testing.assert_close(u.gradient(z), gradient)


def check_above_its_tangents(u: ConvexNetwork | SoftMaxima, z: Tensor, other: Tensor) -> None:
    """u is above its tangents, by its modulus: at `other` above those at z."""
    line = u.value(z) + (u.gradient(z) * (other - z)).sum(1) + 0.5 * u.modulus * ((other - z) ** 2).sum(1)
    assert (u.value(other) - line).min() > -1e-9 * u.value(other).abs().max()


@pytest.mark.parametrize("widths", [(), (7,), (7, 5), (6, 8, 4)])
@pytest.mark.parametrize("dim", [1, 2, 5])
def test_derivatives_are_those_of_automatic_differentiation(dim: int, widths: tuple[int, ...]) -> None:
    check_derivatives(large(dim, widths), points(9, dim))


@pytest.mark.parametrize("seed", range(5))
def test_strongly_convex_with_its_modulus(seed: int) -> None:
    u, z = large(4, (8, 8, 8), seed), points(200, 4, seed)
    assert torch.linalg.eigvalsh(u.gradient_and_hessian(z)[1]).min() >= u.modulus - 1e-12
    check_above_its_tangents(u, z, points(200, 4, seed + 100))


def test_parameters_are_all_there_and_a_map_changes_them_all() -> None:
    u = large(3, (5, 4))
    assert len(u.tensors()) == 2 + 3 + 4
    assert all((p == 0.0).all() for p in u.map(torch.zeros_like).tensors())


def test_softplus_of_its_inverse() -> None:
    assert torch.nn.functional.softplus(torch.tensor(inverse_softplus(0.3))).item() == pytest.approx(0.3, rel=1e-6)


def test_a_modulus_of_zero_is_refused() -> None:
    with pytest.raises(BadInput, match="modulus"):
        convex_network(2, (3,), 0.0, draw(0), quadratic=1.0)
