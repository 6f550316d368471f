r"""Euler's equations on the square [-1, 1]^2 by a Galerkin method on sines: the baseline of Figure 4.

Symbols: c in [-1, 1]^2; theta_i = pi (c_i + 1) / 2 in [0, pi]; m, n = 1..M. The stream function psi is psi_12 of
:mod:`gpot.maths.divergence_free` and has its sign, :math:`v = (\partial_2 \psi, -\partial_1 \psi)`; omega is the curl
of v.

.. math:: \psi = \sum_{mn} \frac{b_{mn}}{k_{mn}} \sin m\theta_1 \sin n\theta_2, \qquad
          k_{mn} = \frac\pi2 \sqrt{m^2 + n^2}, \qquad
          \omega = \partial_1 v_2 - \partial_2 v_1 = -\Delta\psi
          = \sum_{mn} k_{mn} b_{mn} \sin m\theta_1 \sin n\theta_2

So v = sum_mn b_mn phi_mn with phi orthonormal in L^2 of the square, div v = 0, and v . n = 0 on the walls, whatever b
(M, M). Euler's equation d_t omega + v . grad omega = 0 is projected on the M^2 sines: this keeps energy and enstrophy
exactly, and time steps keep them to their order.

Every omega of the basis is zero on the walls (a property that Euler's equations conserve, the walls being
streamlines). A flow with vorticity on the walls is approached at the slow rate of its sine series.

Reference: Canuto et al. (2007): Galerkin methods, and the 3/2 rule.
Departure: the paper gives no details. The released code takes the 28 divergence-free polynomials of degree at most 9
and a semi-implicit scheme of first order, under which the energy drifts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor

from gpot.constants import SQRT_2, SQRT_PI_OVER_2
from gpot.errors import BadInput
from gpot.maths.charts import to_cube
from gpot.maths.integrate import Trajectory, trajectory
from gpot.maths.written_gradients import with_written_gradient

HALF_PI = math.pi / 2.0

Factors = Callable[[Tensor], tuple[Tensor, Tensor]]
Slopes = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


# -- the coefficients and their equation ---------------------------------------------------------------


def _orders(b: Tensor) -> Tensor:
    """m = 1..M as a column (M, 1), in the dtype and on the device of b (..., M, M); its transpose is n."""
    if b.ndim < 2 or b.shape[-1] != b.shape[-2] or b.shape[-1] < 1:
        raise BadInput(
            f"sine coefficients have the shape (..., M, M) with M >= 1, found {tuple(b.shape)}; "
            "pass the parameter `initial` of a SpectralVelocity, say"
        )
    return torch.arange(1, b.shape[-1] + 1, dtype=b.dtype, device=b.device)[:, None]


def wavenumbers(b: Tensor) -> Tensor:
    """k_mn = (pi / 2) sqrt(m^2 + n^2), shape (M, M), for coefficients b (..., M, M)."""
    m = _orders(b)
    return HALF_PI * torch.sqrt(m**2 + m.T**2)


def energy(b: Tensor) -> Tensor:
    r"""Mean over the square of :math:`|v|^2 / 2`, which is :math:`\sum b^2 / 8`. b (..., M, M); returns (...)."""
    return (b**2).sum((-2, -1)) / 8.0


def euler_rate(like: Tensor) -> Callable[[Tensor], Tensor]:
    r"""Euler's equation for the coefficients: b (M, M) to db/dt (M, M), exact to rounding.

    .. math:: k_{mn} \frac{d b_{mn}}{dt} = \int_{[-1,1]^2} (\partial_1 \psi\, \partial_2 \omega
              - \partial_2 \psi\, \partial_1 \omega)\, \sin m\theta_1 \sin n\theta_2\; dc

    The bracket is a sum of sines up to the order 2 M, so the grid theta = pi j / N, 0 < j < N, gives its projection on
    the first M without aliasing as soon as 2 N > 3 M (the 3/2 rule). A transform is a product with a small matrix: M^3
    operations, against M^4 for a table of the triads that interact.

    Arguments:
        like: coefficients (M, M), for their number, dtype and device.
    """
    orders, k = _orders(like), wavenumbers(like)
    modes = len(orders)
    n_grid = 3 * modes // 2 + 1
    angles = (math.pi / n_grid) * orders * torch.arange(1, n_grid, dtype=k.dtype, device=k.device)
    sines, slopes = torch.sin(angles), HALF_PI * orders * torch.cos(angles)  # (M, N - 1)
    along_1 = torch.cat((slopes, sines), dim=1).T  # d_1 differentiates the first factor, d_2 the second
    along_2 = torch.stack((sines, slopes))
    to_psi_and_omega, per_k = torch.cat((1.0 / k, k), dim=1), 1.0 / k
    back = (2.0 / n_grid) * sines

    def rate(b: Tensor) -> Tensor:
        rows = torch.mm(along_1, torch.cat((b, b), dim=1) * to_psi_and_omega)
        grid = torch.bmm(rows.view(2, -1, modes), along_2).view(2, -1, 2, n_grid - 1)
        (d1_psi, d1_omega), (d2_psi, d2_omega) = (derivative.unbind(1) for derivative in grid.unbind(0))
        bracket = torch.addcmul(d1_psi * d2_omega, d2_psi, d1_omega, value=-1)
        return torch.mm(torch.mm(back, bracket), back.T) * per_k

    return rate


def solve_euler(b: Tensor, n_steps: int) -> Trajectory:
    """Path of the coefficients over [0, 1] from b (M, M), by `n_steps` steps of Runge-Kutta 4, differentiable in b.

    Returns: times (N+1,), points b (N+1, M, M), velocities db/dt (N+1, M, M).
    """
    rate = euler_rate(b)
    return trajectory(lambda _, coefficients: rate(coefficients), b, n_steps)


def hermite(path: Trajectory) -> Callable[[Tensor | float], Tensor]:
    """Cubic Hermite interpolation of a path in time: once differentiable, error O(dt^4).

    Before the first and after the last time the nearest cubic goes on.
    Arguments:
        path: one step or more, points and velocities (N+1, ...).
    Returns: t to points, shape (*t.shape, ...), for t a number, or of shape () or (n,).
    """
    if path.n_steps < 1:
        raise BadInput(f"interpolation needs a path of at least one step, found {path.n_steps}; take n_steps=15, say")
    start, rise = path.points[:-1], path.points[1:] - path.points[:-1]
    first, last = path.dt * path.velocities[:-1], path.dt * path.velocities[1:]
    pieces = torch.stack((start, first, 3.0 * rise - 2.0 * first - last, first + last - 2.0 * rise), 1).flatten(2)
    begin, per_step = path.times[0], 1.0 / path.dt

    def at(t: Tensor | float) -> Tensor:
        elapsed = (torch.as_tensor(t, dtype=pieces.dtype, device=pieces.device) - begin) * per_step
        step = elapsed.detach().floor().clamp(0, len(pieces) - 1)
        u = elapsed - step
        square = u * u
        powers = torch.stack((torch.ones_like(u), u, square, square * u), dim=-1)
        values = torch.matmul(powers[..., None, :], pieces.index_select(0, step.long().reshape(-1)))
        return values.view(*elapsed.shape, *start.shape[1:])

    return at


# -- the velocity at particles ---------------------------------------------------------------


def stream_weights(b: Tensor) -> Tensor:
    """Coefficients of d_1 psi, transposed, and of d_2 psi, in units of pi / 2: (..., M, M) to (..., 2, M, M)."""
    m, psi = _orders(b), b / wavenumbers(b)
    return torch.stack(((m * psi).transpose(-2, -1), m.T * psi), dim=-3)


def cube_factors(c: Tensor) -> tuple[Tensor, Tensor]:
    r"""x and sigma for dc/dt, elementwise: :math:`x = \cos\theta = -\sin(\pi c/2)`, :math:`\sigma = \tfrac\pi2
    \sin\theta = \tfrac\pi2 \cos(\pi c/2)`."""
    return -torch.sin(HALF_PI * c), HALF_PI * torch.cos(HALF_PI * c)


def gaussian_factors(z: Tensor) -> tuple[Tensor, Tensor]:
    r"""x and sigma for dz/dt: those of the cube at c(z), sigma divided by dc/dz without cancellation, elementwise.

    With :math:`1 - |c| = \mathrm{erfc}(|z|/\sqrt 2) = e^{-z^2/2}\, \mathrm{erfcx}(|z|/\sqrt 2)`,

    .. math:: \sigma(z) = \frac{\pi^2}{4} \sqrt{\frac\pi2}\; \mathrm{erfcx}(|z|/\sqrt 2)\;
              \mathrm{sinc}\frac{1 - |c|}{2}, \qquad \mathrm{sinc}\, a = \frac{\sin \pi a}{\pi a}

    Smooth, even, decreasing in |z| to :math:`\pi^2 / (4 |z|)`.
    """
    scaled = torch.special.erfcx(z.abs() / SQRT_2)
    to_wall = torch.exp(-0.5 * z * z) * scaled
    return -torch.sin(HALF_PI * to_cube(z)), (HALF_PI**2 * SQRT_PI_OVER_2) * scaled * torch.sinc(0.5 * to_wall)


def _cube_slopes(_: Tensor, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of x and sigma in c, from their values."""
    return -sigma, HALF_PI**2 * x


def _gaussian_slopes(z: Tensor, x: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of x and sigma in z, from their values."""
    return (-2.0 / math.pi) * torch.exp(-z * z) * sigma, z * sigma + HALF_PI**2 * x


def _chebyshev(x_t: Tensor, modes: int) -> Tensor:
    """T_1..T_M of x_1 and of x_2, and U_0..U_(M-1) of x_2 and of x_1, by their recurrence: (2, n) to (4, M, n)."""
    twice, ones = 2.0 * torch.cat((x_t, x_t.flip(0))), torch.ones_like(x_t)
    values = [torch.cat((ones, torch.zeros_like(x_t))), torch.cat((x_t, ones))]
    for _ in range(modes - 1):
        values.append(twice * values[-1] - values[-2])
    return torch.stack(values[1:], dim=1)


@lru_cache
def _chebyshev_slopes(modes: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """T_m' = m U_(m-1) and U_(m-1)' = 2 (j U_(j-1) summed over j = m - 1, m - 3, ...): m as a column (M, 1), and the
    transpose of the matrix of the latter (M, M)."""
    orders = torch.arange(1, modes + 1, dtype=dtype, device=device)[:, None]
    return orders, (2.0 * orders * ((orders - orders.T) % 2 == 1)).triu()


def _field_formula(y: Tensor, weights: Tensor, factors: Factors) -> Tensor:
    x, sigma = factors(y)
    table = _chebyshev(x.t(), weights.shape[-1])
    if weights.ndim == 3:
        turned_t = (torch.bmm(weights, table[:2]) * table[2:]).sum(1)
    else:
        turned_t = torch.einsum("nkij,kjn,kin->kn", weights, table[:2], table[2:])
    return torch.stack((turned_t[1], -turned_t[0]), dim=1) * sigma


def _field_forward(y: Tensor, weights: Tensor, factors: Factors) -> tuple[Tensor, ...]:
    x, sigma = factors(y)
    table = _chebyshev(x.t(), weights.shape[-1])
    half = torch.bmm(weights, table[:2])
    turned_t = (half * table[2:]).sum(1)
    unscaled = torch.stack((turned_t[1], -turned_t[0]), dim=1)
    return unscaled * sigma, x, sigma, unscaled, table, half


def _field_backward(
    inputs: Sequence[Tensor], saved: Sequence[Tensor], grad: Tensor, slopes: Slopes
) -> tuple[Tensor, ...]:
    (y, weights), (x, sigma, unscaled, table, half) = inputs, saved
    orders, u_slopes_t = _chebyshev_slopes(weights.shape[-1], y.dtype, y.device)
    g = grad * sigma
    g_turned_t = torch.stack((-g[:, 1], g[:, 0]))[:, None]
    g_half = g_turned_t * table[2:]
    g_weights = torch.bmm(g_half, table[:2].transpose(1, 2))
    through_t = torch.bmm(orders * weights.transpose(1, 2), g_half)  # of x_1, of x_2
    through_u = torch.matmul(u_slopes_t, g_turned_t * half)  # of x_2, of x_1
    g_x = ((through_u + through_t.flip(0)) * table[2:]).sum(1).flip(0).t()
    x_slope, sigma_slope = slopes(y, x, sigma)
    return g_x * x_slope + grad * unscaled * sigma_slope, g_weights


def _sine_field(factors: Factors, slopes: Slopes) -> Callable[[Tensor, Tensor], Tensor]:
    r"""The velocity as a function of the positions y (n, 2), in the coordinates of `factors`, and of `stream_weights`.

    .. math:: v_1 = \sigma_1 \sum_{mn} \frac{n\, b_{mn}}{k_{mn}} U_{m-1}(x_1)\, T_n(x_2), \qquad
              v_2 = -\sigma_2 \sum_{mn} \frac{m\, b_{mn}}{k_{mn}} T_m(x_1)\, U_{n-1}(x_2)

    T and U are Chebyshev's polynomials, T_m(cos a) = cos m a and U_(m-1)(cos a) = sin m a / sin a: sigma alone
    vanishes at the walls, and each chart has its own. Weights of shape (2, M, M), with the gradient written out, or (n,
    2, M, M), one time per particle.
    """
    formula = partial(_field_formula, factors=factors)
    one_time = with_written_gradient(
        formula, partial(_field_forward, factors=factors), partial(_field_backward, slopes=slopes)
    )
    return lambda y, weights: one_time(y, weights) if weights.ndim == 3 else formula(y, weights)


cube_field = _sine_field(cube_factors, _cube_slopes)
gaussian_field = _sine_field(gaussian_factors, _gaussian_slopes)
