"""Figures 5 to 8: latent traversals of a data point in several latent spaces, as a picture and in motion.

Symbols: m data points, d coordinates (rows), k values of a coordinate (columns), images of C channels and S x S pixels
in [0, 1]. Images of one channel are drawn as ink on white (1 - pixel), as the paper does; colour images as they are. An
image that is not finite is drawn as a crossed-out tile, and counted.

Departure: the paper's white gaps between white images hide where an image ends, and with it where a shape stands in it;
here gaps are pale grey. Numbers beside the rows and below the blocks are ours.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.animation import FFMpegWriter
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from gpot.errors import BadInput
from gpot.report.names import NULL
from gpot.report.style import INK, NUMBERS, OURS, PALE, WIDTH, expect, styled

log = logging.getLogger(__name__)

MOST_PANELS, MOST_POINTS = 4, 3  # more of them are too small to read, or do not fit a page

_PAD, _GAP = 2, 0.88  # pixels between images, and their grey level
_LOST, _CROSS = 0.97, 0.55  # grey levels of an image that is not finite
_SMALL = 7.0  # font size, points, of numbers beside bars

# inches
_HEAD, _NAMES, _LINE, _BARS, _BETWEEN, _MARGIN = 0.36, 0.54, 0.15, 0.66, 0.12, 0.08

# of an animation, in pixels: a 64 x 64 image stays as it is, a smaller one is enlarged to about that
_SIDE, _TITLE, _FONT, _SPACE = 64, 40, 16, 10
# greys: enough for smooth edges; colours: leaves room for white, and for pixels that stay as they were
_LEVELS, _COLOURS = 64, 250


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

    Arguments: panels: printed name -> images (d, k, C, S, S), at most `MOST_PANELS`. changes: the same names -> mean
    image change per step of each row (d,), in grey levels from 0 to 1, NaN where unknown. informative (d,), bool: a
    rule separates rows that carry information from those that do not. row_labels: d texts for the left of the first
    block. values (k,): of the coordinate, printed below the first, middle and last column.

    All bars have one scale. Below a block stand the means over rows, `on 4 of 5` where one has no change that is known,
    and the number of images that are not finite, if any.
    Raises: BadInput for shapes that do not fit together, pixels outside [0, 1], or too many panels.
    """
    return _figure([panels], [changes], informative, title, row_labels, values)


@styled()
def traversal_overview(
    points: Sequence[Mapping[str, ArrayLike]],
    changes: Sequence[Mapping[str, ArrayLike]],
    *,
    informative: ArrayLike,
    title: str,
    row_labels: Sequence[str],
    values: ArrayLike | None = None,
) -> Figure:
    """Several data points, at most `MOST_POINTS`, one below the other: `panels` and `changes` of each, and the rest, as
    `traversal_figure` has them."""
    if not 1 <= len(points) <= MOST_POINTS or len(changes) != len(points):
        raise BadInput(
            f"An overview shows 1 to {MOST_POINTS} data points, with the image changes of each; got {len(points)} "
            f"points and changes of {len(changes)}. Draw the others in a figure of their own."
        )
    return _figure(points, changes, informative, title, row_labels, values)


def animate_traversals(
    points: Mapping[str, ArrayLike],
    path: Path,
    *,
    row_labels: Sequence[str],
    values: ArrayLike | None = None,
    fps: int = 12,
) -> list[Path]:
    """Write `<path>.gif`, and `<path>.mp4` where ffmpeg is on the PATH (the log says when it is not).

    A block of d rows and m columns for each latent space; all coordinates go through their k values together, there and
    back: 2k - 2 frames. Images keep their own pixels; those smaller than 64 x 64 are enlarged by a whole number.

    Arguments: points: printed name -> images (m, d, k, C, S, S). path: with or without a suffix. row_labels: d texts.
    values (k,): of the coordinates, printed while they pass. fps: frames a second.
    Returns: the paths written.
    Raises: BadInput for shapes that do not fit together, pixels outside [0, 1], or less than one frame a second.
    """
    sizes = {"d": len(row_labels)}
    _expect_names("points", points)
    blocks = [_images(name, images, ("m", "d", "k", "C", "S", "S"), sizes) for name, images in points.items()]
    shown = None if values is None else expect("values", values, ("k",), sizes)
    if fps < 1:
        raise BadInput(f"An animation has at least 1 frame a second; got fps={fps}.")
    there = range(sizes["k"])
    frames = [
        _frame(list(points), [block[:, :, k] for block in blocks], row_labels, None if shown is None else shown[k])
        for k in (*there, *there[-2:0:-1])
    ]
    gif, film = path.with_suffix(".gif"), path.with_suffix(".mp4")
    first, *others = _paletted(frames, grey=sizes["C"] == 1)
    first.save(gif, save_all=True, append_images=others, duration=round(1000 / fps), loop=0)
    if not FFMpegWriter.isAvailable():
        log.info("ffmpeg is not on the PATH: %s alone is written, and no .mp4", gif.name)
        return [gif]
    _film(frames, film, fps)
    return [gif, film]


def _figure(
    points: Sequence[Mapping[str, ArrayLike]], changes: Sequence[Mapping[str, ArrayLike]], informative: ArrayLike,
    title: str, row_labels: Sequence[str], values: ArrayLike | None,
) -> Figure:  # fmt: skip
    names, sizes = list(points[0]), {"d": len(row_labels)}
    _expect_names("panels", points[0], MOST_PANELS)
    for what, each in [*(("panels", each) for each in points), *(("changes", each) for each in changes)]:
        if set(each) != set(names):
            raise BadInput(f"{what}: one entry is drawn for each of {', '.join(names)}; got {', '.join(each)}.")
    images = [[_images(name, each[name], ("d", "k", "C", "S", "S"), sizes) for name in names] for each in points]
    moved = [[_changes(name, each[name], sizes) for name in names] for each in changes]
    carries = np.asarray(informative)
    if carries.shape != (sizes["d"],) or carries.dtype != bool:
        raise BadInput(f"informative: one bool for each of {sizes['d']} rows; got {carries.shape} of {carries.dtype}.")
    ticks = None if values is None else expect("values", values, ("k",), sizes)
    largest = max((float(np.nanmax(c)) for row in moved for c in row if np.isfinite(c).any()), default=0.0)

    labels = 0.16 + 0.075 * max(map(len, row_labels)) + (0.2 if len(points) > 1 else 0.0)
    panel = (WIDTH - labels - 2 * _MARGIN) / max(len(names), 3)
    side = panel - _BARS - _BETWEEN
    pitch = sizes["S"] + _PAD
    tall = side * (sizes["d"] * pitch + _PAD) / (sizes["k"] * pitch + _PAD)
    lines = [[_summary(*each, carries) for each in zip(*row, strict=True)] for row in zip(images, moved, strict=True)]
    most = max(text.count("\n") + 1 for row in lines for text in row)
    width = labels + len(names) * panel + 2 * _MARGIN
    below = (most + (ticks is not None)) * _LINE + 0.2
    height = _HEAD + _NAMES + len(points) * (tall + below) + _MARGIN
    figure = Figure(figsize=(width, height))
    figure.suptitle(title, y=1.0 - 0.1 / height, va="top", fontsize=12.0)
    for i, row in enumerate(images):
        bottom = height - _HEAD - _NAMES - tall - i * (tall + below)
        for j, name in enumerate(names):
            left = _MARGIN + labels + j * panel
            grid = figure.add_axes((left / width, bottom / height, side / width, tall / height))
            bars = figure.add_axes(
                ((left + side + 0.04) / width, bottom / height, (_BARS - 0.04) / width, tall / height)
            )
            _grid_panel(grid, row[j], ticks, row_labels if j == 0 else [])
            _bars_panel(bars, moved[i][j], carries, largest, grid, pitch)
            grid.set_xlabel(lines[i][j], fontsize=NUMBERS, labelpad=3.0)
            if i == 0:
                grid.set_title(
                    name, pad=24.0, fontsize=10.5
                )  # above the bars' heading: it may be wider than the images
                bars.set_title("change\nper step, %", fontsize=_SMALL, fontweight="normal", pad=4.0, loc="left")
        if len(points) > 1:
            figure.text(0.14 / width, (bottom + tall / 2) / height, f"data point {i + 1}", rotation=90, ha="center",
                        va="center")  # fmt: skip
    return figure


def _grid_panel(ax: Axes, images: NDArray[np.float32], values: Any, labels: Sequence[str]) -> None:
    """Images (d, k, C, S, S) in d rows and k columns."""
    d, k, _, _, side = images.shape
    ax.imshow(_tiled(_drawn(images)))
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0.0, pad=3.0)
    ax.set_yticks(_middles(d, side)[: len(labels)], labels)
    shown = [] if values is None else sorted({0, (k - 1) // 2 if k % 2 else 0, k - 1})
    ax.set_xticks([_middles(k, side)[j] for j in shown], [_place(values[j]) for j in shown], fontsize=_SMALL)


def _bars_panel(
    ax: Axes, changes: NDArray[np.float64], informative: NDArray[np.bool_], largest: float, grid: Axes, pitch: int
) -> None:
    """A bar and a number for each row of the grid beside it, and rules across both where information ends."""
    rows = _middles(len(changes), pitch - _PAD)
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
            each.axhline(row * pitch + (_PAD - 1) / 2, color=INK, linewidth=0.9)


def _summary(images: NDArray[np.float32], changes: NDArray[np.float64], informative: NDArray[np.bool_]) -> str:
    """Mean changes of the rows of a block, informative or not, and how many images are lost."""
    parts = []
    for chosen, name in ((informative, "informative row"), (~informative, "other")):
        if chosen.any():
            known = changes[chosen & ~np.isnan(changes)]
            mean, number = _percent(known.mean() if len(known) else np.nan), int(chosen.sum())
            rows = f"the {number}" if len(known) == number else f"{len(known)} of {number}"
            parts.append(f"{mean} % on {rows} {name}{'s' if number > 1 else ''}")
    lost = int(np.isnan(images).any(axis=(2, 3, 4)).sum())
    lines = ["mean image change per step:", ",\n".join(parts)]
    return "\n".join(lines + ([f"{lost} of {images.shape[0] * images.shape[1]} images not finite"] if lost else []))


def _place(value: float) -> str:
    """A value of a coordinate; what rounds to 0 has no sign."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def _percent(change: float) -> str:
    """Two digits of 100 times a change in grey levels, without the sign: 12, 1.9, 0.13, <0.01, 0; a dash for NaN."""
    percent = 100.0 * change
    if np.isnan(percent):
        return NULL
    if percent < 0.01:
        return "0" if percent == 0.0 else "<0.01"
    return f"{percent:.0f}" if percent >= 9.95 else f"{percent:#.2g}"


def _frame(
    names: Sequence[str], blocks: Sequence[NDArray[np.float32]], labels: Sequence[str], value: float | None
) -> NDArray[np.uint8]:
    """One picture (H, W, 3) of blocks (m, d, C, S, S), names above them, labels to their left."""
    font = ImageFont.truetype(findfont("DejaVu Sans"), _FONT)
    bold = ImageFont.truetype(findfont("DejaVu Sans:bold"), _FONT)
    times = max(1, _SIDE // blocks[0].shape[-1])
    tiles = [_tiled(_drawn(block).swapaxes(0, 1).repeat(times, axis=2).repeat(times, axis=3)) for block in blocks]
    tall, wide = tiles[0].shape[:2]
    room = int(max(font.getlength(text) for text in [*labels, "−0.00"])) + 2 * _SPACE
    panel = max(wide, int(max(bold.getlength(name) for name in names))) + _SPACE
    # films need even numbers of pixels
    size = (room + len(tiles) * panel + 1) // 2 * 2, (_TITLE + tall + _SPACE + 1) // 2 * 2
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for i, text in enumerate(labels):
        middle = _TITLE + _middles(len(labels), times * blocks[0].shape[-1])[i]
        draw.text((room - _SPACE, middle), text, INK, font, anchor="rm")
    if value is not None:
        draw.text((room - _SPACE, _TITLE / 2), _place(value), INK, font, anchor="rm")
    for j, (name, tile) in enumerate(zip(names, tiles, strict=True)):
        draw.text((room + j * panel + wide / 2, _TITLE / 2), name, INK, bold, anchor="mm")
        picture.paste(Image.fromarray((255.0 * tile).round().astype(np.uint8)), (room + j * panel, _TITLE))
    return np.asarray(picture)


def _paletted(frames: Sequence[NDArray[np.uint8]], grey: bool) -> list[Image.Image]:
    """Frames that share one palette: even greys, or the colours that serve them best, and white."""
    if grey:
        pictures = [
            Image.fromarray((frame[..., 0] / 255.0 * (_LEVELS - 1)).round().astype(np.uint8)) for frame in frames
        ]
        levels = np.linspace(0.0, 255.0, _LEVELS).round().astype(np.uint8)
        for picture in pictures:
            picture.putpalette(levels.repeat(3).tobytes())
        return pictures
    palette = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 8)])).quantize(_COLOURS)
    colours = (palette.getpalette() or [])[: 3 * _COLOURS]
    pictures = []
    for frame in frames:
        index = np.array(Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE))
        index[(frame == 255).all(axis=-1)] = len(colours) // 3  # an average of nearly white pixels is not white
        pictures.append(Image.fromarray(index))
        pictures[-1].putpalette([*colours, 255, 255, 255])
    return pictures


def _film(frames: Sequence[NDArray[np.uint8]], path: Path, fps: int) -> None:
    dpi = 100
    height, width = frames[0].shape[:2]
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    FigureCanvasAgg(figure)
    picture = figure.figimage(frames[0])
    writer = FFMpegWriter(fps)
    with writer.saving(figure, str(path), dpi):
        for frame in frames:
            picture.set_data(frame)
            writer.grab_frame()


def _drawn(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., C, S, S) -> (..., S, S, 3): ink on white for one channel, lost images crossed out."""
    if images.shape[-3] == 1:
        images = np.repeat(1.0 - images, 3, axis=-3)
    lost = np.isnan(images).any(axis=(-3, -2, -1), keepdims=True)
    across = np.eye(images.shape[-1], dtype=bool)
    tile = np.where(across | across[::-1], np.float32(_CROSS), np.float32(_LOST))
    return np.moveaxis(np.where(lost, tile, images), -3, -1)


def _tiled(drawn: NDArray[np.float32]) -> NDArray[np.float32]:
    """(r, c, S, S, 3) -> one picture of r rows and c columns, with gaps between and around."""
    after = ((0, 0), (0, 0), (_PAD, 0), (_PAD, 0), (0, 0))
    padded = np.pad(drawn, after, constant_values=_GAP).swapaxes(1, 2)
    joined = padded.reshape(padded.shape[0] * padded.shape[1], -1, 3)
    return np.pad(joined, ((0, _PAD), (0, _PAD), (0, 0)), constant_values=_GAP)


def _middles(number: int, side: int) -> NDArray[np.float64]:
    """Where the middles of images stand in a tiled picture, in pixels."""
    return (side - 1) / 2 + _PAD + (side + _PAD) * np.arange(number, dtype=np.float64)


def _images(name: str, images: ArrayLike, shape: tuple[int | str, ...], sizes: dict[str, int]) -> NDArray[np.float32]:
    """Images as float32, NaN in all pixels where one is not finite. Raises: BadInput, see `expect`, or for pixels."""
    found = np.asarray(images)
    kept = np.isfinite(found) if found.dtype.kind == "f" else np.ones(1, dtype=bool)
    pixels = expect(f"'{name}', images", np.where(kept, found, 0.0), shape, sizes).astype(np.float32)
    if sizes["C"] not in (1, 3):
        raise BadInput(
            f"'{name}': images have 1 or 3 channels; got {sizes['C']}. Axes are {', '.join(map(str, shape))}."
        )
    if pixels.min() < 0.0 or pixels.max() > 1.0:
        raise BadInput(
            f"'{name}': pixels lie in [0, 1]; got {pixels.min():.3g} to {pixels.max():.3g}. Divide grey levels by 255."
        )
    pixels[~np.broadcast_to(kept, pixels.shape).all(axis=(-3, -2, -1))] = np.nan
    return pixels


def _changes(name: str, changes: ArrayLike, sizes: dict[str, int]) -> NDArray[np.float64]:
    found = np.asarray(changes)
    unknown = np.isnan(found) if found.dtype.kind == "f" else np.zeros(1, dtype=bool)
    known = expect(f"'{name}', image changes", np.where(unknown, 0.0, found), ("d",), sizes)
    if known.min() < 0.0 or known.max() > 1.0:
        raise BadInput(
            f"'{name}': image changes are in grey levels, 0 to 1; got {known.min():.3g} to {known.max():.3g}. "
            "Pass them as they are, not in percent."
        )
    return np.where(unknown, np.nan, known)


def _expect_names(what: str, panels: Mapping[str, ArrayLike], most: int | None = None) -> None:
    if not panels or (most is not None and len(panels) > most):
        raise BadInput(
            f"{what}: {'at least 1' if most is None else f'1 to {most}'} latent spaces are drawn; got {len(panels)}. "
            "Draw others in a figure of their own."
        )
