"""Particles in motion: a GIF, and an MP4 where ffmpeg is installed."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from matplotlib.animation import AbstractMovieWriter, FFMpegWriter, PillowWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from gpot.errors import BadInput
from gpot.plots.panels import LIMIT, mesh_panel, scatter_panel
from gpot.plots.style import expect, styled

log = logging.getLogger(__name__)

# inches, and pixels of an inch: a GIF of 60 frames of 2,000 particles has 1.2 MB, with a mesh 2.5 MB
SIDE, DPI = 4.0, 100


@styled()
def animate_particles(
    frames: ArrayLike, colours: ArrayLike, path: Path, fps: int = 20, mesh: ArrayLike | None = None
) -> list[Path]:
    """Write `<path>.gif`, and `<path>.mp4` where ffmpeg is on the PATH (the log says when it is not).

    Arguments:
        frames (T, n, 2): the particles at equal intervals of time in [0, 1].
        colours (n, 3).
        path: with or without a suffix.
        fps: frames a second.
        mesh (T, m, p, 2): a mesh that is carried along.
    Returns: the paths written.  Raises: BadInput for wrong shapes, or less than one frame a second.
    """
    sizes: dict[str, int] = {}
    frames = expect("frames", frames, ("T", "n", 2), sizes)
    meshes = None if mesh is None else expect("mesh", mesh, ("T", "m", "p", 2), sizes)
    if fps < 1:
        raise BadInput(f"An animation has at least 1 frame a second; got fps={fps}.")
    writers: dict[str, AbstractMovieWriter] = {".gif": PillowWriter(fps)}
    if FFMpegWriter.isAvailable():
        writers[".mp4"] = FFMpegWriter(fps)
    else:
        log.info("ffmpeg is not on the PATH: %s.gif alone is written, and no .mp4", path.stem)

    figure = Figure(figsize=(SIDE, SIDE))
    FigureCanvasAgg(figure)
    ax = figure.add_axes((0.09, 0.07, 0.86, 0.86))
    limit = max(LIMIT, 1.03 * float(np.abs(frames).max()))  # no particle leaves the picture
    grid = None if meshes is None else mesh_panel(ax, meshes[0], limit)
    if grid is not None:
        grid.set(zorder=0.5, alpha=0.5)  # under the particles
    dots = scatter_panel(ax, frames[0], colours, limit)
    paths = []
    for suffix, writer in writers.items():
        paths.append(path.with_suffix(suffix))
        with writer.saving(figure, str(paths[-1]), DPI):
            for k, time in enumerate(np.linspace(0.0, 1.0, len(frames))):
                dots.set_offsets(frames[k])
                if grid is not None and meshes is not None:
                    grid.set_segments(list(meshes[k]))
                ax.set_title(f"$t$ = {time:.2f}", fontsize=10.0)
                writer.grab_frame()
    return paths
