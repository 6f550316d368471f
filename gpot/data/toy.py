r"""Densities in the plane, by name: the laws of the toy data of FFJORD (grathwohl2018ffjord), in the same scales.

Below, xi ~ N(0, I) in the plane, u ~ U(0, 1), theta ~ U(0, 2 pi), k uniform on the labels, e(a) = (cos a, sin a); all
independent, new for every row.
Departure: there some laws are stratified (equal counts of every label, angles on a grid); here rows are i.i.d., so that
the likelihood and the costs are means over independent samples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import i0e, logsumexp

from gpot.errors import BadInput

Array = NDArray[np.float64]
Density = Callable[[int, np.random.Generator], Array]
LogDensity = Callable[[Array], Array]

GAUSSIANS_RADIUS, GAUSSIANS_STD = 4.0 / 1.414, 0.5 / 1.414  # 1.414 as released, not sqrt 2
MOONS_STD = 0.2
CIRCLES_RADII, CIRCLES_STD = np.array([3.0, 1.5]), 0.24
RINGS_RADII, RINGS_STD = np.array([3.0, 2.25, 1.5, 0.75]), 0.08
ROLL_STD = 0.2
CHUNK = 4096  # rows at a time in `log_density`: bounds the memory at CHUNK x (nodes of a curve)


def _unit(angle: NDArray[Any]) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


# -- the laws ------------------------------------------------------------------


def eight_gaussians(n: int, rng: np.random.Generator) -> Array:
    """x = (4 e(k pi / 4) + 0.5 xi) / 1.414, k in 0..7. E|x|^2 = 8.252.

    Entropy 2.832 nats: log 8 + log 2 pi e + 2 log(0.5 / 1.414) = 2.838 less 0.006 for the overlap of neighbours.
    """
    centre = _unit(rng.integers(8, size=n) * (np.pi / 4.0))
    return GAUSSIANS_RADIUS * centre + GAUSSIANS_STD * rng.standard_normal((n, 2))


def _moon(angle: Array, upper: NDArray[np.bool_]) -> Array:
    """The two arcs, angle in (0, pi), after x -> 2 x + (-1, -0.2)."""
    turned = np.where(upper, 1.0, -1.0)[..., None] * _unit(angle)
    return 2.0 * (turned + np.where(upper[..., None], [0.0, 0.0], [1.0, 0.5])) + [-1.0, -0.2]


def two_moons(n: int, rng: np.random.Generator) -> Array:
    """x = 2 (m + 0.1 xi) + (-1, -0.2), m = e(theta / 2) or (1, 0.5) - e(theta / 2). Mean (0, 0.3), E|x|^2 = 4.147."""
    upper = rng.integers(2, size=n) == 0
    return _moon(rng.uniform(0.0, np.pi, n), upper) + MOONS_STD * rng.standard_normal((n, 2))


def pinwheel(n: int, rng: np.random.Generator) -> Array:
    """x = 2 R(-a) y, R a rotation, y = (1 + 0.3 xi_1, 0.1 xi_2), a = 2 pi k / 5 + exp(y_1) / 4, k in 0..4."""
    y = [1.0, 0.0] + rng.standard_normal((n, 2)) * [0.3, 0.1]
    turn = _unit(-(rng.integers(5, size=n) * (2.0 * np.pi / 5.0) + 0.25 * np.exp(y[:, 0])))
    cos, sin = turn.T
    return 2.0 * np.stack([cos * y[:, 0] - sin * y[:, 1], sin * y[:, 0] + cos * y[:, 1]], -1)


def two_spirals(n: int, rng: np.random.Generator) -> Array:
    """x = +-(r (-cos r, sin r) + (u_1, u_2) / 2) / 3 + 0.1 xi, r = 3 pi sqrt(u_0), the two signs equally likely."""
    radius = 3.0 * np.pi * np.sqrt(rng.random(n))
    arm = (radius[:, None] * _unit(np.pi - radius) + 0.5 * rng.random((n, 2))) / 3.0
    sign = 2.0 * rng.integers(2, size=n) - 1.0
    return sign[:, None] * arm + 0.1 * rng.standard_normal((n, 2))


def checkerboard(n: int, rng: np.random.Generator) -> Array:
    """Uniform on the eight squares of side 2 in [-4, 4)^2 with floor(x_1 / 2) + floor(x_2 / 2) even."""
    column = rng.integers(-2, 2, size=n)
    row = 2 * rng.integers(-1, 1, size=n) + column % 2
    return 2.0 * (np.stack([column, row], -1) + rng.random((n, 2)))


def _roll(t: Array) -> Array:
    return 0.2 * t[..., None] * _unit(t)


def swiss_roll(n: int, rng: np.random.Generator) -> Array:
    """x = (t e(t) + xi) / 5, t = 3 pi (1 + 2 u) / 2."""
    return _roll(1.5 * np.pi * (1.0 + 2.0 * rng.random(n))) + ROLL_STD * rng.standard_normal((n, 2))


def _noisy_circles(n: int, rng: np.random.Generator, radii: Array, std: float) -> Array:
    radius = rng.choice(radii, size=n)
    return radius[:, None] * _unit(rng.uniform(0.0, 2.0 * np.pi, n)) + std * rng.standard_normal((n, 2))


def circles(n: int, rng: np.random.Generator) -> Array:
    """x = 3 (r e(theta) + 0.08 xi), r = 1 or 0.5, equally likely."""
    return _noisy_circles(n, rng, CIRCLES_RADII, CIRCLES_STD)


def rings(n: int, rng: np.random.Generator) -> Array:
    """x = 3 r e(theta) + 0.08 xi, r in 1, 0.75, 0.5, 0.25, equally likely (the noise is not scaled)."""
    return _noisy_circles(n, rng, RINGS_RADII, RINGS_STD)


def cosine(n: int, rng: np.random.Generator) -> Array:
    """x = (a, 2.5 sin a), a ~ U(-2.5, 2.5), without noise: on a curve, so no likelihood has an upper bound."""
    a = rng.uniform(-2.5, 2.5, n)
    return np.stack([a, 2.5 * np.sin(a)], -1)


def line(n: int, rng: np.random.Generator) -> Array:
    """x = (a, a), a ~ U(-2.5, 2.5), without noise: on a line, so no likelihood has an upper bound."""
    a = rng.uniform(-2.5, 2.5, n)
    return np.stack([a, a], -1)


DENSITIES: dict[str, Density] = {
    law.__name__: law
    for law in (
        eight_gaussians, two_moons, pinwheel, two_spirals, checkerboard, swiss_roll, circles, rings, cosine, line,
    )
}  # fmt: skip


def sample(name: str, n: int, seed: int) -> NDArray[np.float32]:
    """n points (n, 2) of the density `name`, the same for the same seed (numpy's PCG64)."""
    if name not in DENSITIES:
        raise BadInput(f"a density named '{name}' was asked for; there are: {', '.join(DENSITIES)}. Type one of these")
    if n < 1 or seed < 0:
        raise BadInput(f"a sample needs n of at least 1 and a seed of at least 0, and got n={n}, seed={seed}")
    return DENSITIES[name](n, np.random.default_rng(seed)).astype(np.float32)


# -- their densities -----------------------------------------------------------


def _log_gaussians(x: Array, centres: Array, log_weights: Array, std: float) -> Array:
    """log sum_k w_k N(x; m_k, std^2 I), centres m (K, 2), log w (K,)."""
    squares = sum((x[:, None, i] - centres[None, :, i]) ** 2 for i in range(2))
    return logsumexp(log_weights - 0.5 * squares / std**2, axis=1) - np.log(2.0 * np.pi * std**2)


def _log_eight_gaussians(x: Array) -> Array:
    centres = GAUSSIANS_RADIUS * _unit(np.arange(8) * (np.pi / 4.0))
    return _log_gaussians(x, centres, np.full(8, -np.log(8.0)), GAUSSIANS_STD)


def _log_two_moons(x: Array) -> Array:
    """The integral over the angle by Gauss-Legendre: N(.; m(angle), std^2) is entire and 0.1 rad wide."""
    nodes, weights = np.polynomial.legendre.leggauss(120)
    angle = np.tile(0.5 * np.pi * (nodes + 1.0), 2)
    return _log_gaussians(x, _moon(angle, np.arange(240) < 120), np.log(np.tile(0.25 * weights, 2)), MOONS_STD)


def _log_swiss_roll(x: Array) -> Array:
    """As the moons; a node's Gaussian is 0.07 rad wide at the outer end of t in (1.5 pi, 4.5 pi)."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    return _log_gaussians(x, _roll(1.5 * np.pi * (2.0 + nodes)), np.log(0.5 * weights), ROLL_STD)


def _log_noisy_circles(x: Array, radii: Array, std: float) -> Array:
    """log mean_r exp(-(|x|^2 + r^2) / 2 std^2) I_0(|x| r / std^2) / (2 pi std^2)."""
    norm = np.hypot(x[:, 0], x[:, 1])[:, None]
    bessel = i0e(norm * radii / std**2)
    terms = np.log(bessel) - 0.5 * (norm - radii) ** 2 / std**2
    return logsumexp(terms, axis=1) - np.log(len(radii) * 2.0 * np.pi * std**2)


def _log_checkerboard(x: Array) -> Array:
    squares = np.floor(x / 2.0)
    inside = (squares.sum(1) % 2 == 0) & (squares >= -2).all(1) & (squares < 2).all(1)
    return np.where(inside, -np.log(32.0), -np.inf)


LOG_DENSITIES: dict[str, LogDensity] = {
    "eight_gaussians": _log_eight_gaussians,
    "two_moons": _log_two_moons,
    "checkerboard": _log_checkerboard,
    "swiss_roll": _log_swiss_roll,
    "circles": lambda x: _log_noisy_circles(x, CIRCLES_RADII, CIRCLES_STD),
    "rings": lambda x: _log_noisy_circles(x, RINGS_RADII, RINGS_STD),
}


def log_density(name: str, x: ArrayLike) -> Array:
    """log p(x) of the density `name` at points x (n, 2), float64 (n,), where p is known (`LOG_DENSITIES`); -inf off its
    support."""
    if name not in LOG_DENSITIES:
        raise BadInput(f"log p of '{name}' was asked for; it is known of: {', '.join(LOG_DENSITIES)}. Pass one")
    points = np.asarray(x, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise BadInput(f"a density in the plane is evaluated at points (n, 2), and got {points.shape}; pass rows of 2")
    return np.concatenate([LOG_DENSITIES[name](points[i : i + CHUNK]) for i in range(0, max(len(points), 1), CHUNK)])
