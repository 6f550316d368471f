"""Figures 1 to 4 of the paper, and optima and energies beside them: arrays in, a matplotlib Figure out; no file.

A panel draws on the axes that it is given and on nothing else; a figure is made of panels. Symbols: n points or
particles, T times, m lines of p points each, k points a side of a grid.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput
from gpot.report.names import metric
from gpot.report.style import (
    CYCLE,
    DENSITY,
    INK,
    LINES,
    MESH,
    NUMBERS,
    OURS,
    PALE,
    PAPER,
    PATHS,
    SPEED,
    WIDTH,
    Extent,
    expect,
    frame_map,
    name_rows,
    open_frame,
    polar_colours,
    share_numbers,
    styled,
    title,
)

LIMIT = 4.0  # half-width of a panel on the Gaussian side, as in the paper
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


def density_panel(
    ax: Axes, density: ArrayLike, extent: Extent, points: ArrayLike | None = None, vmax: float | None = None
) -> ScalarMappable:
    """A density on a grid, dark where it is high, with some points over it.

    Arguments: density (k, k): entry [i, j] is at (x_j, y_i), as `numpy.meshgrid(xs, ys)` has it. extent: first and last
    x, first and last y of the grid's points. points (n, 2). vmax: the value of the darkest colour, by default the
    largest. Returns: what a colour bar needs.  Raises: BadInput for wrong shapes or a negative density.
    """
    values = expect("density", density, ("k", "k"))
    if values.min() < 0.0 or len(values) < 2:
        raise BadInput(
            f"A density of at least 2 x 2 numbers that are not negative is drawn; got {values.shape}, least "
            f"{values.min():.3g}. Pass exp of a log-density."
        )
    left, right, bottom, top = expect("extent", extent, (4,))
    if left >= right or bottom >= top:
        raise BadInput(f"An extent is (left, right, bottom, top) with left < right, bottom < top; got {tuple(extent)}.")
    # a pixel's middle is its grid point
    dx, dy = (right - left) / (len(values) - 1) / 2.0, (top - bottom) / (len(values) - 1) / 2.0
    image = ax.imshow(
        values, DENSITY, origin="lower", vmin=0.0, vmax=vmax, extent=(left - dx, right + dx, bottom - dy, top + dy),
        interpolation="bilinear",
    )  # fmt: skip
    frame_map(ax, (left, right, bottom, top))
    if points is not None:
        x, y = expect("points", points, ("n", 2)).T
        ax.scatter(x, y, s=2.0, c=INK, alpha=0.5, linewidths=0.0, rasterized=True)
    return image


def mesh_panel(ax: Axes, lines: ArrayLike, limit: float = LIMIT) -> LineCollection:
    """The lines of a mesh after a map. lines (m, p, 2): m polylines of p points; limit: half-width of the panel."""
    mesh = LineCollection(list(expect("mesh lines", lines, ("m", "p", 2))), colors=MESH, linewidths=0.6)
    ax.add_collection(mesh, autolim=False)
    frame_map(ax, (-limit, limit, -limit, limit))
    return mesh


def scatter_panel(
    ax: Axes, z: ArrayLike, colours: ArrayLike, limit: float = LIMIT, size: float | None = None
) -> PathCollection:
    """Points in given colours. z (n, 2); colours (n, 3); limit: half-width; size: area of a dot in points^2.

    Points outside the panel are counted in its corner.
    """
    sizes: dict[str, int] = {}
    z = expect("points", z, ("n", 2), sizes)
    rgb = expect("colours", colours, ("n", 3), sizes)
    if rgb.min() < 0.0 or rgb.max() > 1.0:
        raise BadInput(f"Colours are sRGB in [0, 1]; got {rgb.min():.3g} to {rgb.max():.3g}. Use `polar_colours`.")
    size = float(np.clip(12_000.0 / len(z), 2.0, 14.0)) if size is None else size
    dots = ax.scatter(z[:, 0], z[:, 1], s=size, c=rgb, linewidths=0.0, rasterized=True)
    frame_map(ax, (-limit, limit, -limit, limit))
    outside = int((np.abs(z) > limit).any(axis=1).sum())
    if outside:
        ax.text(0.02, 0.02, f"{outside} outside", transform=ax.transAxes, fontsize=7.5, color=INK)
    return dots


def trajectories_panel(
    ax: Axes, paths: ArrayLike, density: ArrayLike, extent: Extent, vmax: float | None = None
) -> ScalarMappable:
    """Paths of particles over a density: a line each, a dot where it ends. paths (T, n, 2); the rest as
    `density_panel`."""
    paths = expect("paths", paths, ("T", "n", 2))
    image = density_panel(ax, density, extent, vmax=vmax)
    ax.add_collection(
        LineCollection(list(paths.transpose(1, 0, 2)), colors=PATHS, linewidths=0.8, alpha=0.8), autolim=False
    )
    ax.scatter(paths[-1, :, 0], paths[-1, :, 1], s=7.0, c=PATHS, edgecolors="white", linewidths=0.3, zorder=3)
    return image


def velocity_panel(
    ax: Axes, grid: ArrayLike, velocity: ArrayLike, vmax: float | None = None, bar: bool = True
) -> ScalarMappable:
    """A field of directions over a map of the norm: arrows of one length; none where the velocity is exactly 0.

    Arguments: grid, velocity (l, l, 2). vmax: norm of the darkest colour. bar: with a colour bar beside the panel.
    Returns: what a colour bar needs.
    """
    sizes: dict[str, int] = {}
    grid = expect("grid", grid, ("l", "l", 2), sizes)
    velocity = expect("velocity", velocity, ("l", "l", 2), sizes)
    norm = np.linalg.norm(velocity, axis=-1)
    image = ax.pcolormesh(*np.moveaxis(grid, -1, 0), norm, shading="gouraud", cmap=SPEED, vmin=0.0, vmax=vmax,
                          rasterized=True)  # fmt: skip
    moving = norm > 0.0
    low, high = grid.min(axis=(0, 1)), grid.max(axis=(0, 1))
    spacing = float((high - low).max()) / max(len(grid) - 1, 1)
    if moving.any():
        ax.quiver(*grid[moving].T, *(velocity[moving] / norm[moving][:, None]).T, color=INK, pivot="mid", angles="xy",
                  scale_units="xy", scale=1.0 / (0.85 * spacing), units="xy", width=0.09 * spacing, headwidth=4.5,
                  headlength=4.5, headaxislength=4.0)  # fmt: skip
    pad = 0.5 * spacing  # arrows on the border are whole
    frame_map(ax, (low[0] - pad, high[0] + pad, low[1] - pad, high[1] + pad))
    if bar:
        _bar(image, [ax], _NORM)
    return image


_NORM = r"$|v_0|$"


def energy_panel(
    ax: Axes, names: Sequence[str], energies: ArrayLike, stderr: ArrayLike | None = None,
    paper: Sequence[float | None] | None = None,
) -> None:  # fmt: skip
    """Energies as bars, the paper's as marks. energies, stderr (rows,); paper: a number or None for each row."""
    sizes = {"rows": len(names)}
    energies = expect("energies", energies, ("rows",), sizes)
    errors = None if stderr is None else expect("stderr", stderr, ("rows",), sizes)
    paper = [None] * len(names) if paper is None else paper
    if len(paper) != len(names):
        raise BadInput(f"paper: one number or None for each of {len(names)} rows; got {len(paper)}.")
    where = np.arange(len(names))
    ax.barh(where, energies, 0.6, color=OURS, xerr=errors, error_kw={"elinewidth": 1.0}, label="ours")
    shown = [(value, k) for k, value in enumerate(paper) if value is not None]
    if shown:
        ax.plot(*zip(*shown, strict=True), "D", color=PAPER, markersize=5.5, markeredgecolor="white", label="paper")
    ends = energies if errors is None else energies + errors
    for k, energy in enumerate(energies):  # right of the bar and of the mark
        ax.annotate(metric("energy").text(energy), (max(ends[k], paper[k] or 0.0), k), (7.0, 0.0), va="center",
                    textcoords="offset points", fontsize=8.5)  # fmt: skip
    largest = max([*ends, *(value for value, _ in shown)])
    ax.set(xlim=(0.0, 1.25 * largest if largest > 0.0 else 1.0), ylim=(len(names) - 0.4, -0.6), xlabel="energy")
    ax.set_yticks(where, names)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.legend(loc="best")
    open_frame(ax)


def optimum_panel(
    ax: Axes, sizes: ArrayLike, means: ArrayLike, spreads: ArrayLike, costs: Mapping[str, float],
    anchor: tuple[str, float] | None = None,
) -> None:  # fmt: skip
    """Exact discrete optimal transport at several sizes, and the cost of each map beside it.

    Arguments: sizes, means, spreads (k,): numbers of points, mean and spread of the least cost over repeats. costs:
    printed name of a map -> its cost. anchor: printed name and value of an optimum that is known otherwise.
    """
    lengths: dict[str, int] = {}
    sizes, means, spreads = (
        expect(name, array, ("k",), lengths)
        for name, array in (("sizes", sizes), ("means", means), ("spreads", spreads))
    )
    ax.errorbar(sizes, means, spreads, fmt="o-", color=INK, capsize=3.0, markersize=4.5, label="discrete optimum")
    if anchor is not None:
        ax.axhline(anchor[1], color=PALE, linewidth=4.0, alpha=0.5, label=f"{anchor[0]}: {anchor[1]:.3f}", zorder=0)
    for k, (name, cost) in enumerate(sorted(costs.items(), key=lambda entry: -entry[1])):
        ax.axhline(cost, color=CYCLE[k % len(CYCLE)], linestyle=LINES[k % len(LINES)],
                   label=f"{name}: {metric('cost').text(cost)}")  # fmt: skip
    ax.set_xscale("log")
    ax.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set(xlabel="points", ylabel="cost")
    handles, labels = ax.get_legend_handles_labels()
    order = np.roll(np.arange(len(labels)), 1)  # what the maps are held against comes first
    ax.legend([handles[k] for k in order], [labels[k] for k in order], loc="upper left", bbox_to_anchor=(1.0, 1.0))
    open_frame(ax)


@styled()
def optimum_figure(
    sizes: ArrayLike, means: ArrayLike, spreads: ArrayLike, costs: Mapping[str, float],
    anchor: tuple[str, float] | None = None,
) -> Figure:  # fmt: skip
    """`optimum_panel` on a figure of its own."""
    figure = Figure(figsize=(0.75 * WIDTH, 3.4), layout="constrained")
    optimum_panel(figure.subplots(), sizes, means, spreads, costs, anchor)
    return figure


@styled()
def figure1(frames: ArrayLike, times: ArrayLike, colours: ArrayLike, mesh: ArrayLike | None = None) -> Figure:
    """A GP map moves Gaussian particles: a snapshot for each time, with the mean and deviation that do not change.

    Arguments: frames (T, n, 2), T at most `MOST_SNAPSHOTS`; times (T,); colours (n, 3); mesh (T, m, p, 2): a mesh that
    is carried along, drawn in a second row.
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
        title(ax, column.name, [_number("cost", column.cost, column.paper_cost)] if costs else [])
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
            _number("cost", column.cost, column.paper_cost),
            _number("nll_exact", column.nll, column.paper_nll, "NLL"),
        ])  # fmt: skip
    name_rows(axes, "density", "uniform mesh, deformed", "source distribution")
    share_numbers(axes)
    _colour_key(axes[2, -1])
    if image is not None:
        _bar(image, list(axes[0]), "density")
    return figure


@styled()
def figure4(columns: Sequence[Figure4Column]) -> Figure:
    """Trajectories over the target density and the initial incompressible velocity; a column a model.

    Where columns have `times` and `kinetic`, a last row shows the energy over time, and in total beside the paper's.
    """
    measured = any(column.kinetic is not None for column in columns)
    figure, (upper, *lower) = _parts(columns, 2, 0.87, 2.3 if measured else 0.0)
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
            _number("energy", column.energy, column.paper_energy),
            _number("cost", column.cost, column.paper_cost),
        ])  # fmt: skip
    name_rows(axes, "density, trajectories (dot: end)", "initial velocity")
    share_numbers(axes)
    for image, row, label in zip(images, axes, ("density", _NORM), strict=True):
        _bar(image, list(row), label)
    if measured:
        over_time, total = lower[0].subplots(1, 2, width_ratios=(1.4, 1.0))
        _kinetic_panel(over_time, columns)
        errors = [column.energy_stderr for column in columns]
        energy_panel(
            total, [column.name for column in columns], [column.energy for column in columns],
            None if None in errors else np.array(errors), [column.paper_energy for column in columns],
        )  # fmt: skip
    return figure


def _bar(image: ScalarMappable, axes: list[Axes], label: str) -> None:
    """A colour bar to the right of axes, which stay in line with those above and below."""
    axes[0].figure.colorbar(
        image, ax=axes, label=label, shrink=0.9, aspect=18.0, ticks=MaxNLocator(5), panchor=False
    )  # fmt: skip


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

    Arguments: side: height of a row, in widths of a column.
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


def _number(key: str, ours: float | None, paper: float | None, name: str | None = None) -> str:
    """`cost 2.781 (paper 2.60)`, to the digits of the tables; empty without a number of ours."""
    if ours is None:
        return ""
    shown = metric(key)
    beside = "" if paper is None else f" (paper {shown.paper_text(paper)})"
    return f"{name or shown.name.lower()} {shown.text(ours)}{beside}"


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
