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
from numpy.typing import NDArray

from gpot.errors import BadInput

Array = NDArray[np.float64]
Density = Callable[[int, np.random.Generator], Array]

GAUSSIANS_RADIUS, GAUSSIANS_STD = 4.0 / 1.414, 0.5 / 1.414  # 1.414 as released, not sqrt 2
MOONS_STD = 0.2
CIRCLES_RADII, CIRCLES_STD = np.array([3.0, 1.5]), 0.24
RINGS_RADII, RINGS_STD = np.array([3.0, 2.25, 1.5, 0.75]), 0.08
ROLL_STD = 0.2


def _unit(angle: NDArray[Any]) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


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
