"""Figures 1 to 4 of the paper, and optima and energies beside them: arrays in, a matplotlib Figure out; no file.

Symbols: n points or
particles, T times, m lines of p points each, k points a side of a grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput
from gpot.plots.panels import (
    SPEED_LABEL,
    colour_bar,
    density_panel,
    energy_panel,
    mesh_panel,
    number,
    optimum_panel,
    scatter_panel,
    trajectories_panel,
    velocity_panel,
)
from gpot.plots.style import (
    CYCLE,
    LINES,
    NUMBERS,
    WIDTH,
    Extent,
    expect,
    name_rows,
    open_frame,
    polar_colours,
    share_numbers,
    styled,
    title,
)

MOST_SNAPSHOTS = 8  # of Figure 1: more of them are too small to read


@dataclass(frozen=True)
class Figure2Column:
    """Particles at one place of the pipeline: x, f(x) or s(f(x)). points (n, 2); colours (n, 3), of the data x."""

    name: str
    points: ArrayLike
    colours: ArrayLike
    cost: float | None = None
    paper_cost: float | None = None


@dataclass(frozen=True)
class Figure3Column:
    """A model of Figure 3. mesh_lines (m, p, 2): the image of a uniform mesh; density (k, k) on extent, see
    `density_panel`; points (n, 2): the data on the Gaussian side; colours (n, 3), of the data."""

    name: str
    cost: float
    nll: float
    mesh_lines: ArrayLike
    density: ArrayLike
    extent: Extent
    points: ArrayLike
    colours: ArrayLike
    paper_cost: float | None = None
    paper_nll: float | None = None


@dataclass(frozen=True)
class Figure4Column:
    """A model of Figure 4. density (k, k) on extent; paths (T, n, 2) over it; grid, velocity (l, l, 2): v at t = 0 on
    the square; times, kinetic (T',): mean |v|^2 / 2 at each time, where it was measured."""

    name: str
    cost: float
    energy: float
    density: ArrayLike
    extent: Extent
    paths: ArrayLike
    grid: ArrayLike
    velocity: ArrayLike
    paper_cost: float | None = None
    paper_energy: float | None = None
    energy_stderr: float | None = None
    times: ArrayLike | None = None
    kinetic: ArrayLike | None = None


@styled()
def optimum_figure(
    sizes: ArrayLike, means: ArrayLike, spreads: Sequence[float | None], costs: Mapping[str, float],
    anchor: tuple[str, float] | None = None,
) -> Figure:  # fmt: skip
    """`optimum_panel` on a figure of its own."""
    figure = Figure(figsize=(0.75 * WIDTH, 3.4), layout="constrained")
    optimum_panel(figure.subplots(), sizes, means, spreads, costs, anchor)
    return figure


@styled()
def figure1(frames: ArrayLike, times: ArrayLike, colours: ArrayLike, mesh: ArrayLike | None = None) -> Figure:
    """A GP map moves Gaussian particles: a snapshot for each time, with the mean and deviation that do not change.

    Arguments:
        frames (T, n, 2), T at most `MOST_SNAPSHOTS`.
        times (T,).
        colours (n, 3).
        mesh (T, m, p, 2): a mesh that is carried along, drawn in a second row.
    """
    sizes: dict[str, int] = {}
    frames = expect("frames", frames, ("T", "n", 2), sizes)
    times = expect("times", times, ("T",), sizes)
    meshes = None if mesh is None else expect("mesh", mesh, ("T", "m", "p", 2), sizes)
    if len(times) > MOST_SNAPSHOTS:
        raise BadInput(f"Figure 1 shows at most {MOST_SNAPSHOTS} times; got {len(times)}. Pass every k-th of them.")
    rows = 1 if meshes is None else 2
    side = WIDTH / max(len(times), 3)
    figure = Figure(figsize=(WIDTH, rows * side + 0.75), layout="compressed")
    axes = figure.subplots(rows, len(times), squeeze=False)
    for k, time in enumerate(times):
        scatter_panel(axes[0, k], frames[k], colours)
        axes[0, k].set_title(f"$t$ = {time:.2f}")
        mean, deviation = frames[k].mean(axis=0), frames[k].std(axis=0)
        axes[0, k].set_xlabel(f"mean ({_pair(mean)})\nstd ({_pair(deviation)})", fontsize=NUMBERS)
        if meshes is not None:
            mesh_panel(axes[1, k], meshes[k])
    share_numbers(axes)
    return figure


@styled()
def figure2(columns: Sequence[Figure2Column]) -> Figure:
    """The same particles, in the colours of their places in the data, before and after each map."""
    figure, (part,) = _parts(columns, 1, 0.99)
    axes = _panels(part, columns, 1)
    costs = any(column.cost is not None for column in columns)
    for ax, column in zip(axes[0], columns, strict=True):
        scatter_panel(ax, column.points, column.colours)
        title(ax, column.name, [number("cost", column.cost, column.paper_cost)] if costs else [])
    share_numbers(axes)
    return figure


@styled()
def figure3(columns: Sequence[Figure3Column]) -> Figure:
    """Density, deformation of a uniform mesh, and source distribution in the data's colours; a column a model."""
    figure, (part,) = _parts(columns, 3, 0.87)
    axes = _panels(part, columns, 3)
    vmax = max(expect("density", column.density, ("k", "k")).max() for column in columns)
    image = None
    for column, (top, middle, bottom) in zip(columns, axes.T, strict=True):
        image = density_panel(top, column.density, column.extent, vmax=vmax)
        mesh_panel(middle, column.mesh_lines)
        scatter_panel(bottom, column.points, column.colours)
        title(top, column.name, [
            number("cost", column.cost, column.paper_cost),
            number("nll_exact", column.nll, column.paper_nll, "NLL"),
        ])  # fmt: skip
    name_rows(axes, "density", "uniform mesh, deformed", "source distribution")
    share_numbers(axes)
    _colour_key(axes[2, -1])
    if image is not None:
        colour_bar(image, list(axes[0]), "density")
    return figure


@styled()
def figure4(columns: Sequence[Figure4Column]) -> Figure:
    """Trajectories over the target density and the initial incompressible velocity; a column a model.

    Where columns have `times` and `kinetic`, a last row shows the energy over time, and in total beside the paper's.
    """
    has_energy = any(column.kinetic is not None for column in columns)
    figure, (upper, *lower) = _parts(columns, 2, 0.87, 2.3 if has_energy else 0.0)
    axes = _panels(upper, columns, 2)
    vmax = max(expect("density", column.density, ("k", "k")).max() for column in columns)
    speeds = [np.linalg.norm(expect("velocity", column.velocity, ("l", "l", 2)), axis=-1) for column in columns]
    fastest = max(speed.max() for speed in speeds)
    images: list[ScalarMappable] = []
    for column, (top, bottom) in zip(columns, axes.T, strict=True):
        images = [
            trajectories_panel(top, column.paths, column.density, column.extent, vmax=vmax),
            velocity_panel(bottom, column.grid, column.velocity, vmax=fastest, bar=False),
        ]
        title(top, column.name, [
            number("energy", column.energy, column.paper_energy),
            number("cost", column.cost, column.paper_cost),
        ])  # fmt: skip
    name_rows(axes, "density, trajectories (dot: end)", "initial velocity")
    share_numbers(axes)
    for image, row, label in zip(images, axes, ("density", SPEED_LABEL), strict=True):
        colour_bar(image, list(row), label)
    if has_energy:
        over_time, total = lower[0].subplots(1, 2, width_ratios=(1.4, 1.0))
        _kinetic_panel(over_time, columns)
        errors = [column.energy_stderr for column in columns]
        energy_panel(
            total, [column.name for column in columns], [column.energy for column in columns],
            None if None in errors else np.array(errors), [column.paper_energy for column in columns],
        )  # fmt: skip
    return figure


def _kinetic_panel(ax: Axes, columns: Sequence[Figure4Column]) -> None:
    """Mean kinetic energy over time: a geodesic's is constant."""
    for k, column in enumerate(columns):
        if column.kinetic is None:
            continue
        sizes: dict[str, int] = {}
        kinetic = expect("kinetic", column.kinetic, ("T",), sizes)
        if column.times is None:
            raise BadInput(f"Column '{column.name}' has kinetic energies and no times. Pass both, or neither.")
        times = expect("times", column.times, ("T",), sizes)
        ax.plot(times, kinetic, color=CYCLE[k % len(CYCLE)], linestyle=LINES[k % len(LINES)], label=column.name)
    ax.set(xlabel="$t$", ylabel=r"mean of $|v|^2/2$")
    ax.set_ylim(bottom=0.0)
    ax.margins(x=0.0)
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.legend(loc="best")
    open_frame(ax)


def _parts(columns: Sequence[Any], rows: int, side: float, extra: float = 0.0) -> tuple[Figure, list[SubFigure]]:
    """A figure of a part for a grid of square panels, and a part of `extra` inches below it if that is not 0.

    Arguments:
        side: height of a row, in widths of a column.
    """
    if not columns:
        raise BadInput("A figure has a column for each model, and none was passed. Pass at least one.")
    heights = [rows * side * WIDTH / max(len(columns), 3) + 0.72, *([extra] if extra else [])]
    figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
    grid = figure.add_gridspec(len(heights), 1, height_ratios=heights)
    return figure, [figure.add_subfigure(grid[k, 0]) for k in range(len(heights))]


def _panels(part: SubFigure, columns: Sequence[Any], rows: int) -> NDArray[Any]:
    axes: NDArray[Any] = part.subplots(rows, len(columns), squeeze=False)
    return axes


def _pair(values: Iterable[float]) -> str:
    """`0.01, −0.02`; what rounds to 0 has no sign."""
    return ", ".join(f"{round(value, 2) + 0.0:.2f}".replace("-", "−") for value in values)


def _colour_key(ax: Axes) -> None:
    """To the right of a panel, below the colour bar of another row: which colour is which place of the data."""
    key = ax.inset_axes((1.07, 0.3, 0.3, 0.3))
    key.set_in_layout(False)  # the colour bar has made room
    grid = np.linspace(-1.0, 1.0, 201)
    places = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)
    inside = np.hypot(*places.T) <= 1.0
    image = np.zeros((len(places), 4))
    image[inside] = np.concatenate((polar_colours(places[inside]), np.ones((inside.sum(), 1))), axis=1)
    key.imshow(image.reshape(len(grid), len(grid), 4), origin="lower", interpolation="bilinear")
    key.set_axis_off()
    key.set_title("colour: place\nin the data", fontsize=NUMBERS, fontweight="normal", pad=3.0)
