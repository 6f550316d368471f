"""The panels that figures of 2-D experiments are made of: arrays in, drawn on given axes and on nothing else.

Symbols: n points or particles, T times, m lines of p points each, k points a side of a grid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator
from numpy.typing import ArrayLike

from gpot.errors import BadInput
from gpot.paper.names import metric
from gpot.plots.style import (
    CYCLE,
    DENSITY,
    INK,
    LINES,
    MESH,
    OURS,
    PALE,
    PAPER,
    PATHS,
    SPEED,
    Extent,
    expect,
    frame_map,
    open_frame,
)

LIMIT = 4.0  # half-width of a panel on the Gaussian side, as in the paper


def density_panel(
    ax: Axes, density: ArrayLike, extent: Extent, points: ArrayLike | None = None, vmax: float | None = None
) -> ScalarMappable:
    """A density on a grid, dark where it is high, with some points over it.

    Arguments:
        density (k, k): entry [i, j] is at (x_j, y_i), as `numpy.meshgrid(xs, ys)` has it.
        extent: first and last x, first and last y of the grid's points.
        points (n, 2).
        vmax: the value of the darkest colour, by default the largest.
    Returns: what a colour bar needs.
    Raises: BadInput for wrong shapes or a negative density.
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
    """The lines of a mesh after a map. lines (m, p, 2): m polylines of p points; limit: half-width of the panel.

    Far from all data a map may have no finite value: a line has a gap there, and such points are counted in the corner.
    """
    values = np.asarray(lines)
    lost = ~np.isfinite(values).all(axis=-1, keepdims=True) if values.dtype.kind == "f" else np.zeros(1, dtype=bool)
    finite = expect("mesh lines", np.where(lost, 0.0, values), ("m", "p", 2))
    mesh = LineCollection(list(np.where(lost, np.nan, finite)), colors=MESH, linewidths=0.6)
    ax.add_collection(mesh, autolim=False)
    frame_map(ax, (-limit, limit, -limit, limit))
    if lost.any():
        ax.text(0.02, 0.02, f"{lost.sum()} not finite", transform=ax.transAxes, fontsize=7.5, color=INK)
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

    Arguments:
        grid, velocity (l, l, 2).
        vmax: norm of the darkest colour.
        bar: with a colour bar beside the panel.
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
        colour_bar(image, [ax], SPEED_LABEL)
    return image


SPEED_LABEL = r"$|v_0|$"


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
    marks = [(value, k) for k, value in enumerate(paper) if value is not None]
    if marks:
        ax.plot(*zip(*marks, strict=True), "D", color=PAPER, markersize=5.5, markeredgecolor="white", label="paper")
    ends = energies if errors is None else energies + errors
    for k, energy in enumerate(energies):  # right of the bar and of the mark
        ax.annotate(number("energy", energy, paper[k], ""), (max(ends[k], paper[k] or 0.0), k), (7.0, 0.0), va="center",
                    textcoords="offset points", fontsize=8.5)  # fmt: skip
    largest = max([*ends, *(value for value, _ in marks)])
    ax.set(xlim=(0.0, 1.6 * largest if largest > 0.0 else 1.0), ylim=(len(names) - 0.4, -0.6), xlabel="energy")
    ax.set_yticks(where, names)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.legend(loc="best")
    open_frame(ax)


def optimum_panel(
    ax: Axes, sizes: ArrayLike, means: ArrayLike, spreads: Sequence[float | None], costs: Mapping[str, float],
    anchor: tuple[str, float] | None = None,
) -> None:  # fmt: skip
    """Exact discrete optimal transport at several sizes, and the cost of each map beside it.

    Arguments:
        sizes, means, spreads (k,): numbers of points, mean and spread of the least cost over repeats; None for one.
        costs: printed name of a map -> its cost.
        anchor: printed name and value of an optimum that is known otherwise.
    """
    lengths: dict[str, int] = {}
    known = [0.0 if spread is None else spread for spread in spreads]
    sizes, means, bars = (
        expect(name, array, ("k",), lengths) for name, array in (("sizes", sizes), ("means", means), ("spreads", known))
    )
    bars[[spread is None for spread in spreads]] = np.nan  # no bar
    ax.errorbar(sizes, means, bars, fmt="o-", color=INK, capsize=3.0, markersize=4.5, label="discrete optimum")
    if anchor is not None:
        ax.axhline(anchor[1], color=PALE, linewidth=4.0, alpha=0.5, label=f"{anchor[0]}: {anchor[1]:.3f}", zorder=0)
    for k, (name, cost) in enumerate(sorted(costs.items(), key=lambda entry: -entry[1])):
        ax.axhline(cost, color=CYCLE[k % len(CYCLE)], linestyle=LINES[(k + k // len(CYCLE)) % len(LINES)],
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


def colour_bar(image: ScalarMappable, axes: list[Axes], label: str) -> None:
    """A colour bar to the right of axes, which stay in line with those above and below."""
    axes[0].figure.colorbar(
        image, ax=axes, label=label, shrink=0.9, aspect=18.0, ticks=MaxNLocator(5), panchor=False
    )  # fmt: skip


def number(key: str, ours: float | None, paper: float | None, name: str | None = None) -> str:
    """`cost 2.781 (paper 2.60)`, to the digits of the tables; empty without a number of ours."""
    if ours is None:
        return ""
    names = metric(key)
    beside = "" if paper is None else f" (paper {names.paper_text(paper)})"
    return f"{names.name.lower() if name is None else name} {names.text(ours)}{beside}".strip()
