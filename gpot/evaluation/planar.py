"""Arrays that pictures of a GP flow in the plane show: a mesh, a density, paths of particles."""

from __future__ import annotations

import copy
import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.monge import MongeMap
from gpot.maths.charts import Chart, from_cube
from gpot.maths.transport import gaussian_log_density

_MESH_LINES, _MESH_POINTS, _MESH_SIDE = 20, 200, 3.5
_DENSITY_GRID, _DENSITY_MARGIN = 100, 1.2
_FRAMES = 20  # intervals of time
_CARRIED_LINES, _CARRIED_POINTS, _CARRIED_SIDE = 13, 73, 3.0


def mesh_lines(n: int = _MESH_LINES, n_points: int = _MESH_POINTS, side: float = _MESH_SIDE) -> Tensor:
    """Lines of a uniform mesh of the square [-side, side]^2: (2 n, n_points, 2), n of either direction."""
    at, along = torch.linspace(-side, side, n), torch.linspace(-side, side, n_points)
    upright = torch.stack(torch.meshgrid(at, along, indexing="ij"), -1)
    return torch.cat([upright, upright.flip(-1)])


def density_grid(monge: MongeMap, x: Tensor) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    """exp log p on a square grid around the data, row i at y_i, and the grid's ends. s keeps the density of f."""
    side = _DENSITY_MARGIN * float(x.abs().max())
    at = torch.linspace(-side, side, _DENSITY_GRID)
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1).reshape(-1, 2)
    with torch.no_grad():
        z, log_det = monge(grid.to(monge.gp.rotation.device))
    density = (gaussian_log_density(z) + log_det).exp().cpu().double()
    # far tails, where s or f are no longer finite, have no mass that a picture could show
    return density.nan_to_num(0.0).reshape(_DENSITY_GRID, _DENSITY_GRID).numpy(), (-side, side, -side, side)


def gaussian_path(gp: GaussianPreservingFlow, z: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The path of s on the Gaussian side, (T, n, 2), and its times (T,)."""
    with torch.no_grad():
        path = gp.flow_trajectory(z.to(gp.rotation))
    points = from_cube(path.points) if gp.chart is Chart.cube else path.points
    return points.cpu().double().numpy(), path.times.cpu().double().numpy()


def equal_frames(gp: GaussianPreservingFlow, z: Tensor) -> NDArray[np.float64]:
    """The path of s on the Gaussian side at `_FRAMES` + 1 equal times, (T, n, 2), NaN for points that left the domain.

    The time grid is the coarsest refinement of the flow's own that has these times, so that paths look as smooth as
    they are.
    """
    fine = copy.deepcopy(gp)
    every = math.ceil(gp.n_steps / _FRAMES)
    fine.refine(_FRAMES * every)
    frames = gaussian_path(fine, z)[0][::every]
    frames[:, ~np.isfinite(frames).all((0, 2))] = np.nan
    return frames


def carried_mesh(gp: GaussianPreservingFlow) -> NDArray[np.float64]:
    """Lines of a coarse mesh as the flow carries them along, (T, 2 m, p, 2), at the times of :func:`equal_frames`."""
    lines = mesh_lines(_CARRIED_LINES, _CARRIED_POINTS, _CARRIED_SIDE)
    frames = equal_frames(gp, lines.reshape(-1, 2))
    return frames.reshape(len(frames), *lines.shape)
