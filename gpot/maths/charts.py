r"""Three coordinate systems for one flow: the cube of the paper, the Gaussian side, and the Gaussian side with no cube.

The paper moves particles in the cube: each coordinate of z ~ N(0, I) goes to c = erf(z / sqrt 2), uniform on (-1, 1)
(section 3.2; "the distribution function" of the text should read the scaled error function). In floating point the cube
loses the tails: 1 - c^2 needs digits that c no longer has once |z| > 5. Every function here is therefore a function of
z and free of cancellation; the cube is entered and left only where it is asked for.

================  ==========================================  ==========================================
symbol            formula                                     function
================  ==========================================  ==========================================
c(z)              erf(z / sqrt 2)                             :func:`to_cube`, inverse :func:`from_cube`
dc/dz             sqrt(2 / pi) exp(-z^2 / 2)                  :func:`cube_density`
q(z)              1 - c(z)^2                                  :func:`gaussian_factors`
gamma(z)          q(z) / (dc/dz)                              :func:`gaussian_factors`
================  ==========================================  ==========================================

A velocity dc_i/dt = q_i w_i in the cube (eq. 17) is dz_i/dt = gamma(z_i) w_i on the Gaussian side: the same flow, but
with no wall that a time step could cross.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from gpot.constants import SQRT_2, SQRT_2_OVER_PI, SQRT_PI_OVER_2


class Chart(str, Enum):
    """Coordinates in which the ODE is written and integrated."""

    cube = "cube"
    """The paper: c in (-1, 1)^d, dc/dt = q w, psi a function of c."""
    gaussian = "gaussian"
    """The field of the paper, integrated in z: dz/dt = gamma w, psi a function of c(z)."""
    direct = "direct"
    """No cube: psi a function of z, dz_i/dt = sum_j (d_j psi_ij - z_j psi_ij)."""


def to_cube(z: Tensor) -> Tensor:
    r"""Gaussian side to cube: :math:`c = \mathrm{erf}(z / \sqrt 2)`, any shape."""
    return torch.erf(z / SQRT_2)


def from_cube(c: Tensor) -> Tensor:
    r"""Cube to Gaussian side: :math:`z = \sqrt 2\, \mathrm{erf}^{-1}(c)`, any shape; infinite at 1, NaN outside.

    Departure: the released code clips c to [-1 + 2^-23, 1 - 2^-23] first, which hides particles that left the cube and
    limits |z| to 5.29; here nothing is clipped, and :func:`count_outside` counts.
    """
    return SQRT_2 * torch.erfinv(c)


def cube_density(z: Tensor) -> Tensor:
    r"""Derivative of the chart: :math:`dc/dz = \sqrt{2/\pi}\, e^{-z^2/2}`, elementwise, any shape."""
    return SQRT_2_OVER_PI * torch.exp(-0.5 * z * z)


def gaussian_factors(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""The three factors of a velocity on the Gaussian side, (c(z), q(z), gamma(z)), elementwise, any shape.

    .. math:: \gamma(z) = \sqrt{\pi/2}\, (1 + |\mathrm{erf}(z/\sqrt 2)|)\, \mathrm{erfcx}(|z|/\sqrt 2), \qquad
              q = \gamma\, dc/dz = 1 - c^2

    gamma is smooth, even, decreasing in |z| from sqrt(pi/2) to 2/|z|; its derivative is z gamma - 2 c. q, the factor of
    eq. (17) that keeps particles in the cube, has its digits where 1 - c^2 has lost every one (|z| > 6). erf and erfcx
    are computed once.
    Departure: the paper integrates in the cube and never needs gamma.
    """
    c = to_cube(z)
    speed = SQRT_PI_OVER_2 * (1.0 + c.abs()) * torch.special.erfcx(z.abs() / SQRT_2)
    return c, speed * cube_density(z), speed


def count_outside(c: Tensor) -> int:
    """Particles (rows of c, shape (n, d)) with a coordinate that is not strictly inside (-1, 1); NaN counts."""
    inside = (c.detach().abs() < 1.0).all(dim=-1)
    return int((~inside).sum())
