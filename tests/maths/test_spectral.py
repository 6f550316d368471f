"""The spectral solver of Euler's equations: its basis, its right-hand side, what it conserves, its orders."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy import special
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths import spectral
from gpot.maths.charts import cube_density, to_cube
from gpot.maths.integrate import Trajectory
from gpot.maths.spectral import (
    cube_factors,
    cube_field,
    energy,
    euler_rate,
    gaussian_factors,
    gaussian_field,
    hermite,
    solve_euler,
    stream_weights,
    wavenumbers,
)
from gpot.maths.transport import jacobian
from tests.conftest import shared_path

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps


def random_state(modes: int, level: float = 0.3, seed: int = 0) -> Tensor:
    """Coefficients of the given energy; particles then move by about sqrt(2 level)."""
    b = torch.randn(modes, modes, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))
    return b * (level / energy(b)).sqrt()


def square_rule(n: int) -> tuple[Tensor, Tensor]:
    """Gauss-Legendre on the square: points (n^2, 2), weights (n^2,)."""
    nodes, weights = (torch.from_numpy(array) for array in np.polynomial.legendre.leggauss(n))
    return torch.cartesian_prod(nodes, nodes), torch.outer(weights, weights).flatten()


def stream(b: Tensor, c: Tensor, power: float = -1.0) -> Tensor:
    """sum of k^power b_mn sin sin at c (n, 2), term by term: psi, or omega with power = 1."""
    orders = torch.arange(1, len(b) + 1, dtype=DTYPE)
    sines = torch.sin(0.5 * math.pi * (c[:, :, None] + 1.0) * orders)
    return torch.einsum("mn,im,in->i", b * wavenumbers(b) ** power, sines[:, 0], sines[:, 1])


def gradient(value: Tensor, c: Tensor) -> Tensor:
    return torch.autograd.grad(value.sum(), c, create_graph=True)[0]


def velocity(b: Tensor, c: Tensor) -> Tensor:
    return cube_field(c, stream_weights(b))


# -- the basis ---------------------------------------------------------------


@pytest.mark.parametrize("modes", [1, 2, 7, 12])
def test_velocity_is_the_turned_gradient_of_the_stream_function(modes: int) -> None:
    b = random_state(modes, 10.0)
    c = (2.0 * torch.rand(50, 2, dtype=DTYPE) - 1.0).requires_grad_()
    slope = gradient(stream(b, c), c)
    torch.testing.assert_close(velocity(b, c), torch.stack((slope[:, 1], -slope[:, 0]), 1), rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("modes", [1, 2, 7, 12])
def test_no_divergence_no_flux_and_the_curl_is_omega(modes: int) -> None:
    b = random_state(modes, 10.0)
    c = 2.0 * torch.rand(50, 2, dtype=DTYPE) - 1.0
    jac = jacobian(lambda rows: velocity(b, rows), c)
    size = jac.abs().max()
    assert size > 1.0
    assert (jac[:, 0, 0] + jac[:, 1, 1]).abs().max() < 1e3 * EPS * size
    torch.testing.assert_close(jac[:, 1, 0] - jac[:, 0, 1], stream(b, c, 1.0), rtol=0.0, atol=1e3 * EPS * float(size))
    for side in (-1.0, 1.0):
        for axis in (0, 1):
            wall = c.clone()
            wall[:, axis] = side
            v = velocity(b, wall)
            assert v[:, axis].abs().max() < 1e3 * EPS * v.abs().max()


def enstrophy(b: torch.Tensor) -> torch.Tensor:
    """Mean over the square of omega^2 / 2, which is the sum of (k b)^2 / 8."""
    return energy(wavenumbers(b) * b)


def test_energy_and_enstrophy_are_means_over_the_square() -> None:
    b = random_state(6, 2.0)
    c, weights = square_rule(40)
    kinetic = 0.5 * (velocity(b, c) ** 2).sum(1)
    torch.testing.assert_close((weights * kinetic).sum() / 4.0, energy(b))
    torch.testing.assert_close((weights * 0.5 * stream(b, c, 1.0) ** 2).sum() / 4.0, enstrophy(b))
    torch.testing.assert_close(energy(torch.stack((b, 2.0 * b))), torch.tensor([2.0, 8.0], dtype=DTYPE))


# -- the charts ---------------------------------------------------------------


def test_gaussian_field_is_the_cube_field_over_the_slope_of_the_chart() -> None:
    weights = stream_weights(random_state(9, 5.0))
    z = torch.linspace(-3.0, 3.0, 101, dtype=DTYPE)
    z = torch.stack((z, z.flip(0).roll(13)), 1)
    expected = cube_field(to_cube(z), weights) / cube_density(z)
    # cos(pi c / 2) near the wall inherits the rounding of c: eps / (1 - |c|), with 1 - |c| > 2.6e-3
    torch.testing.assert_close(gaussian_field(z, weights), expected, rtol=0.0, atol=1e3 * EPS * expected.abs().max())


@pytest.mark.parametrize("dtype", [torch.float32, DTYPE])
def test_gaussian_factor_has_no_cancellation_far_out(dtype: torch.dtype) -> None:
    """Beyond |z| = 9, sin(pi (1 - |c|) / 2) is pi (1 - |c|) / 2 to rounding, and the ratio is that of erfcx."""
    z = torch.tensor([-60.0, -38.5, -13.0, 9.0, 13.5, 25.0], dtype=dtype, requires_grad=True)
    x, sigma = gaussian_factors(z)
    mills = torch.from_numpy(special.erfcx(z.detach().double().abs().numpy() / math.sqrt(2.0)))
    expected = math.pi**2 / 4.0 * math.sqrt(math.pi / 2.0) * mills
    torch.testing.assert_close(sigma.detach(), expected.to(dtype), rtol=8.0 * torch.finfo(dtype).eps, atol=0.0)
    assert torch.equal(x.detach(), -z.detach().sign())
    slope = gradient(sigma, z).detach()
    assert slope.isfinite().all() and (slope * z.sign() < 0.0).all()


@pytest.mark.parametrize(("field", "factors"), [(cube_field, cube_factors), (gaussian_field, gaussian_factors)])
def test_written_gradient_is_that_of_the_formula(field, factors) -> None:
    y = (1.5 * torch.randn(20, 2, dtype=DTYPE)).requires_grad_()
    weights = torch.randn(2, 5, 5, dtype=DTYPE, requires_grad=True)
    probe = torch.randn(20, 2, dtype=DTYPE)
    formula = spectral._field_formula(y, weights, factors)
    assert torch.equal(field(y, weights), formula)
    written = torch.autograd.grad(field(y, weights), (y, weights), probe)
    for ours, plain in zip(written, torch.autograd.grad(formula, (y, weights), probe), strict=True):
        torch.testing.assert_close(ours, plain, rtol=0.0, atol=1e4 * EPS * float(plain.abs().max()))
    assert torch.autograd.gradgradcheck(field, (y[:3].detach().requires_grad_(), weights))


@pytest.mark.parametrize("field", [cube_field, gaussian_field])
def test_one_time_per_particle(field) -> None:
    y = torch.rand(6, 2, dtype=DTYPE)
    each = torch.randn(6, 2, 4, 4, dtype=DTYPE)
    expected = torch.cat([field(row[None], weights) for row, weights in zip(y, each, strict=True)])
    torch.testing.assert_close(field(y, each), expected)


# -- the equation ---------------------------------------------------------------


@pytest.mark.parametrize("modes", [1, 2, 3, 6, 9])
def test_rate_is_the_projection_of_the_transport_of_omega(modes: int) -> None:
    """k db/dt against quadrature of -v . grad omega: 40 Gauss nodes integrate sines up to the order 27 to rounding."""
    b = random_state(modes)
    c, weights = square_rule(40)
    c.requires_grad_()
    transported = -(velocity(b, c) * gradient(stream(b, c, 1.0), c)).sum(1).detach()
    unit = torch.eye(modes**2, dtype=DTYPE).view(-1, modes, modes)
    expected = torch.stack([(weights * transported * stream(mode, c.detach(), 0.0)).sum() for mode in unit])
    torch.testing.assert_close(wavenumbers(b) * euler_rate(b)(b), expected.view(modes, modes), rtol=0.0, atol=1e-11)


def test_the_grid_of_the_rate_is_just_fine_enough() -> None:
    """The same b with zeros above gives the same rates of the low modes: nothing is folded back onto them."""
    for modes in range(2, 13):
        b = random_state(modes)
        padded = torch.nn.functional.pad(b, (0, 7, 0, 7))
        torch.testing.assert_close(euler_rate(padded)(padded)[:modes, :modes], euler_rate(b)(b), rtol=0.0, atol=1e-11)


@pytest.mark.parametrize("modes", [3, 8, 12])
def test_rate_conserves_energy_and_enstrophy(modes: int) -> None:
    b = random_state(modes)
    rate, k = euler_rate(b)(b), wavenumbers(b)
    size = float(k.max() ** 2 * b.norm() * rate.norm())
    assert rate.norm() > 0.1
    assert abs(float((b * rate).sum())) < 100.0 * EPS * size
    assert abs(float((k**2 * b * rate).sum())) < 100.0 * EPS * size


@pytest.mark.parametrize("level", [0.1, 0.3])
def test_energy_and_enstrophy_along_the_path(level: float) -> None:
    b = random_state(8, level)
    for quantity in (energy, enstrophy):
        drifts = []
        for n_steps in (15, 30, 60):
            values = quantity(solve_euler(b, n_steps).points)
            drifts.append(float((values / values[0] - 1.0).abs().max()))
        assert drifts[0] < 1e-3
        assert math.log2(drifts[0] / drifts[1]) > 3.5 and math.log2(drifts[1] / drifts[2]) > 3.5


@pytest.mark.parametrize("modes", [(3, 5), (1, 7), (5, 5)])
def test_stationary_solutions_stay(modes: tuple[int, int]) -> None:
    """Omega is a multiple of psi for a single mode, and for any modes of one m^2 + n^2: 50 = 1 + 49 = 25 + 25."""
    b = torch.zeros(8, 8, dtype=DTYPE)
    b[modes[0] - 1, modes[1] - 1] = 1.5
    if sum(m * m for m in modes) == 50:
        b[0, 6], b[6, 0], b[4, 4] = 1.0, -0.7, 0.4
    end = solve_euler(b, 15).points[-1]
    torch.testing.assert_close(end, b, rtol=0.0, atol=1e-12)


def test_a_state_that_is_not_stationary_moves() -> None:
    path = solve_euler(random_state(8, 0.1), 15)
    assert (path.points[-1] - path.points[0]).norm() > 0.3 * path.points[0].norm()


def test_solver_has_order_four_and_time_can_be_reversed() -> None:
    b = random_state(8)
    reference = solve_euler(b, 240).points[-1]
    errors, returns = [], []
    for n_steps in (20, 40, 80):
        end = solve_euler(b, n_steps).points[-1]
        errors.append(float((end - reference).norm()))
        returns.append(float((solve_euler(-end, n_steps).points[-1] + b).norm()))  # -v runs the film backward
    for kind in (errors, returns):
        assert kind[-1] > 1e3 * EPS
        assert all(3.6 < math.log2(a / b) < 5.5 for a, b in pairwise(kind))


def test_gradient_through_the_solver() -> None:
    b = random_state(6).requires_grad_()
    target, direction = torch.randn(6, 6, dtype=DTYPE), torch.randn(6, 6, dtype=DTYPE)

    def functional(start: Tensor) -> Tensor:
        path = solve_euler(start, 10)
        return (path.points[-1] * target).sum() + (path.velocities[3] ** 2).sum()

    slope = float((torch.autograd.grad(functional(b), b)[0] * direction).sum())
    step = 1e-5
    with torch.no_grad():
        difference = float(functional(b + step * direction) - functional(b - step * direction)) / (2.0 * step)
    assert abs(slope) > 1e-2
    assert slope == pytest.approx(difference, rel=1e-7)


# -- interpolation in time ---------------------------------------------------------------


def test_hermite_is_exact_on_cubics() -> None:
    coefficients = torch.randn(4, 3, 2, dtype=DTYPE)
    times = torch.linspace(0.0, 1.0, 6, dtype=DTYPE)

    def cubic(t: Tensor, order: int = 0) -> Tensor:
        factor = [math.perm(k, order) * t ** max(k - order, 0) for k in range(4)]
        return torch.einsum("k...,kij->...ij", torch.stack(factor), coefficients)

    at = hermite(Trajectory(times, cubic(times), cubic(times, 1)))
    t = torch.tensor([-0.1, 0.0, 0.2, 0.37, 0.6, 0.999, 1.0, 1.05], dtype=DTYPE)  # the outer ones: the cubic goes on
    torch.testing.assert_close(at(t), cubic(t), rtol=0.0, atol=1e-13)
    torch.testing.assert_close(at(0.37), cubic(t[3]), rtol=0.0, atol=1e-13)
    slope = torch.func.jvp(at, (t,), (torch.ones_like(t),))[1]
    torch.testing.assert_close(slope, cubic(t, 1), rtol=0.0, atol=1e-12)


def test_hermite_has_order_four() -> None:
    b, t = random_state(8), torch.linspace(0.0, 1.0, 241, dtype=DTYPE)
    reference = solve_euler(b, 240).points
    errors = [float((hermite(solve_euler(b, n))(t) - reference).norm(dim=(1, 2)).max()) for n in (20, 40)]
    assert errors[1] > 1e4 * EPS and 3.6 < math.log2(errors[0] / errors[1]) < 5.5


def test_errors_say_what_to_change() -> None:
    with pytest.raises(BadInput, match=r"\(2, 3\)"):
        solve_euler(torch.zeros(2, 3), 15)
    with pytest.raises(BadInput, match="at least one step, found 0"):
        hermite(solve_euler(torch.zeros(2, 2), 0))


# -- the released solver ---------------------------------------------------------------


def test_golden_polynomial_solver() -> None:
    """The polynomials' initial velocity projected on sines: the same flow, up to what either basis leaves out.

    psi = (c_1^2 - 1)(c_2^2 - 1) q has vorticity on the walls, so its sine coefficients decay slowly, and the golden
    space of degree 9 is not closed under the equation either: it misses a solution with degree 21 by 0.0097 (root mean
    square at t = 1, where |v| is 0.2), so no number of sines comes nearer to it than about that.
    """
    golden = load_file(shared_path("reference/golden/spectral_euler_2d.safetensors"))
    points, expected = golden["x"], golden["velocity_half_steps"][::10]
    c, weights = square_rule(60)
    monomials = (c[:, 0, None] ** golden["stream_exponents"][:, 0]) * (
        c[:, 1, None] ** golden["stream_exponents"][:, 1]
    )
    psi = ((c**2 - 1.0).prod(1) * (monomials @ golden["stream_coefficients"])).detach()

    def distances(modes: int) -> tuple[Tensor, Tensor]:
        sines = torch.sin(0.5 * math.pi * (c[:, :, None] + 1.0) * torch.arange(1, modes + 1, dtype=DTYPE))
        psi_hat = torch.einsum("i,im,in->mn", weights * psi, sines[:, 0], sines[:, 1])
        b = psi_hat * wavenumbers(psi_hat)
        values = torch.stack([velocity(state, points) for state in solve_euler(b, 30).points[::10]])
        return ((values - expected) ** 2).sum(2).mean(1).sqrt(), energy(b)

    rows, energies = zip(*(distances(modes) for modes in (4, 8, 12, 16)), strict=True)
    for coarse, fine in pairwise(rows):
        assert (fine < coarse).all()
    moved = ((expected[-1] - expected[0]) ** 2).sum(1).mean().sqrt()
    assert rows[-1][0] < 0.2 * moved and rows[-1][-1] < 0.3 * moved  # standing still would miss by `moved`
    true_energy = golden["kinetic_energy_half_steps"][0] / 8.0
    gaps = [float(1.0 - value / true_energy) for value in energies]
    assert gaps == sorted(gaps, reverse=True) and 0.0 < gaps[-1] < 5e-3  # Bessel's inequality
