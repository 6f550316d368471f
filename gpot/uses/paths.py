r"""The path of a Gaussian-preserving flow: from the identity to s through maps that all keep the Gaussian.

Symbols: `s_t` (t in [0, 1]) the flow of the velocity up to t, `v_t` its velocity; s_0 = Q, s_1 = s.

Arnold's theorem (arnold1966): with the metric E|v|^2 the shortest such path solves Euler's equations, and its speed is
constant. So of two paths with one end the one with Euler's penalty is the shorter, and a constant speed is what a
geodesic shows. Lengths are in z under the Gaussian for the chart `direct`, in the cube under the uniform law for the
others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.flows.base import Flow
from gpot.gp.flow import GaussianPreservingFlow
from gpot.maths.charts import Chart, from_cube


@dataclass(frozen=True)
class MapPath:
    """s_t at the grid times: times (T,), points s_t(z) (T, n, d), speeds E|v_t|^2 to the root (T,), in the metric."""

    times: Tensor
    points: Tensor
    speeds: Tensor

    @property
    def length(self) -> float:
        r""":math:`\int_0^1 (E|v_t|^2)^{1/2} dt`, by the trapezoidal rule."""
        return torch.trapezoid(self.speeds, self.times).item()

    @property
    def energy(self) -> float:
        r""":math:`\int_0^1 E|v_t|^2 dt`, at least length^2, with equality for a constant speed."""
        return torch.trapezoid(self.speeds**2, self.times).item()

    @property
    def evenness(self) -> float:
        """length^2 / energy in (0, 1]: 1 for a constant speed, as every geodesic has."""
        return self.length**2 / self.energy if self.energy > 0.0 else 1.0


@torch.no_grad()
def map_path(gp: GaussianPreservingFlow, z: Tensor) -> MapPath:
    """The path of s from z (n, d), n draws of N(0, I), at its n_steps + 1 grid times."""
    path = gp.flow_trajectory(z)
    velocities = path.velocities if gp.chart is Chart.direct else gp.cube_velocities(path)
    points = from_cube(path.points) if gp.chart is Chart.cube else path.points
    return MapPath(path.times, points, (velocities**2).sum(-1).mean(-1).sqrt())


@torch.no_grad()
def law_preserving_path(flow: Flow, gp: GaussianPreservingFlow, x: Tensor) -> Tensor:
    r"""f^-1 o s_t o f: maps of the data space from (the rotation of) the identity on, that all keep the flow's law.

    Arguments:
        flow: f.
        gp: s.
        x: shape (n, d).
    Returns: (T, n, d) at the grid times; every time is a sample of the same law, though each point moves.
    """
    if flow.dim != gp.dim:
        raise BadInput(f"f has the dimension {flow.dim}, and s has {gp.dim}; take the s that was fitted to this flow")
    z = flow.forward(x)[0]
    return torch.stack([flow.inverse(points) for points in map_path(gp, z).points])
