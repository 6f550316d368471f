"""Pictures of a map while it is trained: arrays in, a matplotlib Figure out; no file."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gpot.plots.panels import mesh_panel, trajectories_panel
from gpot.plots.style import Extent, styled

_SIDE = 4.2  # inches


@styled()
def density_figure(density: ArrayLike, extent: Extent, paths: ArrayLike) -> Figure:
    """A density and paths of particles, as `trajectories_panel` has them; a path (T, 2) that is not finite is left out
    and counted in the title."""
    trajectories = np.asarray(paths)
    inside = np.isfinite(trajectories).all(axis=(0, 2))
    figure = Figure(figsize=(_SIDE, _SIDE), layout="constrained")
    ax = figure.subplots()
    trajectories_panel(ax, trajectories[:, inside] if inside.any() else np.zeros((1, 1, 2)), density, extent)
    lost = int((~inside).sum())
    ax.set_title("density, trajectories (dot: end)" + (f", {lost} out of domain" if lost else ""))
    return figure


@styled()
def mesh_figure(lines: ArrayLike) -> Figure:
    """The image of a uniform mesh, as `mesh_panel` has it: lines (m, p, 2)."""
    figure = Figure(figsize=(_SIDE, _SIDE), layout="constrained")
    ax = figure.subplots()
    mesh_panel(ax, lines)
    ax.set_title("uniform mesh, deformed")
    return figure
