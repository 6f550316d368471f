"""log p of the toy densities that have one in closed form, or as an integral over a curve: for tests of samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import i0e, logsumexp

from gpot.data.toy import (
    CIRCLES_RADII,
    CIRCLES_STD,
    GAUSSIANS_RADIUS,
    GAUSSIANS_STD,
    MOONS_STD,
    RINGS_RADII,
    RINGS_STD,
    ROLL_STD,
)

Array = NDArray[np.float64]
LogDensity = Callable[[Array], Array]

_CHUNK = 4096  # rows at a time: bounds the memory at _CHUNK x (nodes of a curve)


def _unit(angle: NDArray[Any]) -> Array:
    return np.stack([np.cos(angle), np.sin(angle)], -1)


def _moon(angle: Array, upper: NDArray[np.bool_]) -> Array:
    """The two arcs, angle in (0, pi): e(angle) and (1, 0.5) - e(angle), after m -> 2 m + (-1, -0.2)."""
    arcs = np.where(upper[:, None], _unit(angle), [1.0, 0.5] - _unit(angle))
    return 2.0 * arcs + [-1.0, -0.2]


def _roll(t: Array) -> Array:
    return 0.2 * t[:, None] * _unit(t)


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
    """log p(x) of the density `name` at points x (n, 2), float64 (n,); -inf off its support."""
    points = np.asarray(x, dtype=np.float64)
    return np.concatenate([LOG_DENSITIES[name](points[i : i + _CHUNK]) for i in range(0, len(points), _CHUNK)])
