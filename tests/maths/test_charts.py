"""The cube and the Gaussian side: round trip, density ratio, and no cancellation far out."""

from __future__ import annotations

import math

import mpmath
import torch

from gpot.maths.charts import count_outside, cube_density, from_cube, gaussian_factors, to_cube


def test_round_trip() -> None:
    z = torch.linspace(-4, 4, 81, dtype=torch.float64)
    # erfinv's error is that of c over dc/dz: eps / density
    error = (from_cube(to_cube(z)) - z).abs() * cube_density(z)
    assert error.max() < 16 * torch.finfo(torch.float64).eps


def test_image_of_the_gaussian_is_uniform() -> None:
    """dc/dz = 2 N(z; 0, 1): the density of c is 1/2 on (-1, 1) (eq. 3 in the chart)."""
    z = torch.linspace(-6, 6, 49, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(to_cube(z).sum(), z)
    normal = torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    torch.testing.assert_close(slope, 2 * normal, rtol=1e-13, atol=0)
    torch.testing.assert_close(cube_density(z), slope, rtol=1e-13, atol=0)


def test_wall_and_gamma_far_out() -> None:
    """q = 1 - c^2 and gamma = q / (dc/dz) against 50 digits, out to where 1 - c^2 in float64 would be 0."""
    mpmath.mp.dps = 50
    z = torch.tensor([-12.0, -8.0, -3.0, -0.5, 0.0, 0.25, 2.0, 8.0, 20.0], dtype=torch.float64)
    assert 1 - to_cube(z)[-1] ** 2 == 0
    c, walls, gammas = gaussian_factors(z)
    assert torch.equal(c, to_cube(z))
    for at, q, g in zip(z.tolist(), walls.tolist(), gammas.tolist(), strict=True):
        a = mpmath.fabs(at) / mpmath.sqrt(2)
        exact = mpmath.erfc(a) * (1 + mpmath.erf(a))
        assert math.isclose(q, exact, rel_tol=1e-15 * (16 + 4 * at**2)), at  # rounding of z grows by z dq/dz / q ~ z^2
        speed = exact * mpmath.sqrt(mpmath.pi / 2) * mpmath.exp(mpmath.mpf(at) ** 2 / 2)
        assert math.isclose(g, speed, rel_tol=1e-13), at


def test_gamma_is_smooth_and_bounded() -> None:
    z = torch.linspace(-30, 30, 601, dtype=torch.float64)
    values = gaussian_factors(z)[2]
    at_zero = gaussian_factors(torch.zeros((), dtype=torch.float64))[2]
    assert math.isclose(at_zero, math.sqrt(math.pi / 2), rel_tol=1e-15)
    assert values.max() <= math.sqrt(math.pi / 2) * (1 + 1e-15) and values.min() > 0


def test_count_outside() -> None:
    c = torch.tensor([[0.0, 0.5], [1.0, 0.0], [0.0, -1.5], [float("nan"), 0.0]])
    assert count_outside(c) == 3
