"""Fields and rotations of a context: the Gaussian is kept at every one of them, at random large weights."""

from __future__ import annotations

import pytest
import torch

from gpot.maths.contexts import contextual_ridge_field, rotations
from gpot.maths.divergence_free import ridge_field
from gpot.maths.integrate import integrate
from gpot.maths.transport import exact_log_det, jacobian

N, K = 40, 12


def weights(d: int) -> tuple[torch.Tensor, ...]:
    g = torch.Generator().manual_seed(d)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    return draw(K, d), draw(K), 2 * draw(N, K), 2 * draw(N, K), draw(K, d), draw(K, d), draw(N, d)


@pytest.mark.parametrize("d", [2, 3, 5])
def test_divergence_against_the_gaussian_is_zero_at_every_context(d: int) -> None:
    *parameters, z = weights(d)
    field = contextual_ridge_field(*parameters)
    velocity = field(0.3, z)
    divergence = jacobian(lambda y: field(0.3, y), z).diagonal(dim1=1, dim2=2).sum(1)
    torch.testing.assert_close(divergence, (velocity * z).sum(1), rtol=0, atol=1e-10 * velocity.abs().max().item())
    assert divergence.abs().max() > 1  # and not because nothing moves


@pytest.mark.parametrize("d", [2, 4])
def test_log_determinant_is_analytic_up_to_the_order_of_the_steps(d: int) -> None:
    w, o, bias, gain, alpha, beta, z = weights(d)
    field = contextual_ridge_field(w, o, bias, 0.1 * gain, alpha, beta)

    def error(n_steps: int) -> float:
        s = integrate(field, z, n_steps)
        exact = exact_log_det(lambda y: integrate(field, y, n_steps), z, N)
        return (exact - 0.5 * ((s**2).sum(1) - (z**2).sum(1))).abs().mean().item()

    coarse, fine = error(32), error(64)
    assert fine < coarse / 8 and fine < 1e-3  # of order 4: a factor of 16


def test_one_context_for_all_rows_is_the_ridge_field() -> None:
    w, o, bias, _, alpha, beta, z = weights(3)
    plain = ridge_field(w, o, bias[0], alpha, beta)(z, 0.7, None, z)
    for rows in (bias[:1], bias[:1].expand(N, K)):
        ours = contextual_ridge_field(w, o, rows, torch.ones(1, K, dtype=torch.float64), alpha, beta)(0.7, z)
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("d", [2, 3, 6])
def test_rotations_are_rotations(d: int) -> None:
    angles = 3 * torch.randn(7, d * (d - 1) // 2, dtype=torch.float64)
    turns = rotations(angles, d)
    torch.testing.assert_close(turns @ turns.transpose(1, 2), torch.eye(d).double().expand(7, d, d), atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.linalg.det(turns), torch.ones(7).double())
    assert torch.equal(rotations(0 * angles, d)[0], torch.eye(d).double())
    if d == 2:
        torch.testing.assert_close(turns[:, 0, 1], angles[:, 0].sin())
