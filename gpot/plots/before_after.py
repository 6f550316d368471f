"""Points of the plane and their codes before and after s: arrays to a figure."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray


def before_after(
    x: NDArray[np.floating],
    z: NDArray[np.floating],
    s: NDArray[np.floating],
    cost_before: float,
    cost_after: float,
    moves: int = 150,
) -> Figure:
    """Three panels: the points x (n, 2), f(x) = z and s(z), each point in the colour of its place in x; on the codes,
    lines from the first `moves` points show how far each is carried."""
    centre = np.median(x, axis=0)
    hue = (np.arctan2(*(x - centre).T[::-1]) / (2 * np.pi)) % 1.0
    colours = matplotlib.colormaps["twilight"](hue)
    figure = Figure(figsize=(10.5, 3.7), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    titles = ("points x", f"f(x), cost {cost_before:.3g}", f"s(f(x)), cost {cost_after:.3g}")
    for ax, points, title in zip(axes, (x, z, s), titles, strict=True):
        if points is not x:
            ends = np.stack([x[:moves], points[:moves]], 1)
            for start, end in ends:
                ax.plot(*np.stack([start, end]).T, color="0.7", linewidth=0.4, zorder=0)
        ax.scatter(*points.T, s=3, c=colours, linewidths=0)
        ax.set_title(title)
        ax.set_aspect("equal")
    return figure
