"""Figures 5 to 8: latent traversals of a data point in several latent spaces. In motion: `traversal_films`.

Symbols: m data points, d coordinates (rows), k values of a coordinate (columns), images of C channels and S x S pixels
in [0, 1]; how they are drawn: `traversal_tiles`. Numbers beside the rows and below the blocks are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput
from gpot.paper.names import NULL
from gpot.plots.style import INK, NUMBERS, OURS, PALE, WIDTH, expect, styled
from gpot.plots.traversal_tiles import PAD, as_rgb, checked_images, coordinate, expect_names, row_middles, tiled

MOST_PANELS = 4  # more of them are too small to read

_SMALL = 7.0  # font size, points, of numbers beside bars

# inches
_HEAD, _NAMES, _LINE, _BARS, _BETWEEN, _MARGIN = 0.36, 0.54, 0.15, 0.66, 0.12, 0.08


@styled()
def traversal_figure(
    panels: Mapping[str, ArrayLike],
    changes: Mapping[str, ArrayLike],
    *,
    informative: ArrayLike,
    title: str,
    row_labels: Sequence[str],
    values: ArrayLike | None = None,
) -> Figure:
    """Traversals of one data point: a block of d rows and k columns for each latent space, side by side.

    Arguments:
        panels: printed name -> images (d, k, C, S, S), at most `MOST_PANELS`.
        changes: the same names -> mean image change per step of each row (d,), in grey levels from 0 to 1, NaN where
            unknown.
        informative (d,), bool: a rule separates rows that carry information from those that do not.
        row_labels: d texts for the left of the first block.
        values (k,): of the coordinate, printed below the first, middle and last column.

    All bars have one scale. Below a block stand the means over rows, `on 4 of 5` where one has no change that is known,
    and the number of images that are not finite, if any.
    Raises: BadInput for shapes that do not fit together, pixels outside [0, 1], or too many panels.
    """
    names, sizes = list(panels), {"d": len(row_labels)}
    expect_names("panels", panels, MOST_PANELS)
    if set(changes) != set(names):
        raise BadInput(f"changes: one entry is drawn for each of {', '.join(names)}; got {', '.join(changes)}.")
    images = [checked_images(name, panels[name], ("d", "k", "C", "S", "S"), sizes) for name in names]
    change_of = [_changes(name, changes[name], sizes) for name in names]
    carries = np.asarray(informative)
    if carries.shape != (sizes["d"],) or carries.dtype != bool:
        raise BadInput(f"informative: one bool for each of {sizes['d']} rows; got {carries.shape} of {carries.dtype}.")
    ticks = None if values is None else expect("values", values, ("k",), sizes)
    largest = max((float(np.nanmax(c)) for c in change_of if np.isfinite(c).any()), default=0.0)

    labels = 0.16 + 0.075 * max(map(len, row_labels))
    panel = (WIDTH - labels - 2 * _MARGIN) / max(len(names), 3)
    side = panel - _BARS - _BETWEEN
    pitch = sizes["S"] + PAD
    tall = side * (sizes["d"] * pitch + PAD) / (sizes["k"] * pitch + PAD)
    lines = [_summary(*each, carries) for each in zip(images, change_of, strict=True)]
    below = (max(text.count("\n") + 1 for text in lines) + (ticks is not None)) * _LINE + 0.2
    width, height = labels + len(names) * panel + 2 * _MARGIN, _HEAD + _NAMES + tall + below + _MARGIN
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, y=1.0 - 0.1 / height, va="top", fontsize=12.0)
    bottom = height - _HEAD - _NAMES - tall
    for j, name in enumerate(names):
        left = _MARGIN + labels + j * panel
        grid = figure.add_axes((left / width, bottom / height, side / width, tall / height))
        bars = figure.add_axes(((left + side + 0.04) / width, bottom / height, (_BARS - 0.04) / width, tall / height))
        _grid_panel(grid, images[j], ticks, row_labels if j == 0 else [])
        _bars_panel(bars, change_of[j], carries, largest, grid, pitch)
        grid.set_xlabel(lines[j], fontsize=NUMBERS, labelpad=3.0)
        grid.set_title(name, pad=24.0, fontsize=10.5)  # above the bars' heading: it may be wider than the images
        bars.set_title("change\nper step, %", fontsize=_SMALL, fontweight="normal", pad=4.0, loc="left")
    return figure


def _grid_panel(ax: Axes, images: NDArray[np.float32], values: Any, labels: Sequence[str]) -> None:
    """Images (d, k, C, S, S) in d rows and k columns."""
    d, k, _, _, side = images.shape
    ax.imshow(tiled(as_rgb(images)))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0.0, pad=3.0)
    ax.set_yticks(row_middles(d, side)[: len(labels)], labels)
    ticks = [] if values is None else sorted({0, (k - 1) // 2 if k % 2 else 0, k - 1})
    ax.set_xticks([row_middles(k, side)[j] for j in ticks], [coordinate(values[j]) for j in ticks], fontsize=_SMALL)


def _bars_panel(
    ax: Axes, changes: NDArray[np.float64], informative: NDArray[np.bool_], largest: float, grid: Axes, pitch: int
) -> None:
    """A bar and a number for each row of the grid beside it, and rules across both where information ends."""
    rows = row_middles(len(changes), pitch - PAD)
    colours = [OURS if carries else PALE for carries in informative]
    ax.barh(rows, np.nan_to_num(changes, nan=0.0), 0.45 * pitch, color=colours)
    room = 2.0 if largest > 0.0 else 1.0  # for the number right of the longest bar
    ax.set(xlim=(0.0, room * largest or 1.0), ylim=grid.get_ylim())
    for row, change in zip(rows, changes, strict=True):
        length = 0.0 if np.isnan(change) else change
        ax.annotate(_percent(change), (length, row), (2.0, 0.0), textcoords="offset points", va="center",
                    fontsize=_SMALL)  # fmt: skip
    ax.set_axis_off()
    for row in np.flatnonzero(informative[1:] != informative[:-1]) + 1:
        for each in (grid, ax):
            each.axhline(row * pitch + (PAD - 1) / 2, color=INK, linewidth=0.9)


def _summary(images: NDArray[np.float32], changes: NDArray[np.float64], informative: NDArray[np.bool_]) -> str:
    """Mean changes of the rows of a block, informative or not, and how many images are lost."""
    parts = []
    for mask, name in ((informative, "informative row"), (~informative, "other")):
        if mask.any():
            known = changes[mask & ~np.isnan(changes)]
            mean, number = _percent(known.mean() if len(known) else np.nan), int(mask.sum())
            rows = f"the {number}" if len(known) == number else f"{len(known)} of {number}"
            parts.append(f"{mean} % on {rows} {name}{'s' if number > 1 else ''}")
    lost = int(np.isnan(images).any(axis=(2, 3, 4)).sum())
    lines = ["mean image change per step:", ",\n".join(parts)]
    return "\n".join(lines + ([f"{lost} of {images.shape[0] * images.shape[1]} images not finite"] if lost else []))


def _percent(change: float) -> str:
    """Two digits of 100 times a change in grey levels, without the sign: 12, 1.9, 0.13, <0.01, 0; a dash for NaN."""
    percent = 100.0 * change
    if np.isnan(percent):
        return NULL
    if percent < 0.01:
        return "0" if percent == 0.0 else "<0.01"
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:#.2g}"


def _changes(name: str, changes: ArrayLike, sizes: dict[str, int]) -> NDArray[np.float64]:
    values = np.asarray(changes)
    unknown = np.isnan(values) if values.dtype.kind == "f" else np.zeros(1, dtype=bool)
    numbers = expect(f"'{name}', image changes", np.where(unknown, 0.0, values), ("d",), sizes)
    if numbers.min() < 0.0 or numbers.max() > 1.0:
        raise BadInput(
            f"'{name}': image changes are in grey levels, 0 to 1; got {numbers.min():.3g} to {numbers.max():.3g}. "
            "Pass them as they are, not in percent."
        )
    return np.where(unknown, np.nan, numbers)
