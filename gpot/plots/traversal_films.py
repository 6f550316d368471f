"""Latent traversals of data points in motion: all coordinates there and back, in several latent spaces side by side."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.animation import FFMpegWriter
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from gpot.errors import BadInput
from gpot.plots.style import INK, expect
from gpot.plots.traversal_tiles import as_rgb, checked_images, coordinate, expect_names, row_middles, tiled

log = logging.getLogger(__name__)

# pixels: a 64 x 64 image stays as it is, a smaller one is enlarged to about that
_SIDE, _TITLE, _FONT, _SPACE = 64, 40, 16, 10
# greys: enough for smooth edges; colours: leaves room for white, and for pixels that stay as they were
_LEVELS, _COLOURS = 64, 250


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

    Arguments:
        points: printed name -> images (m, d, k, C, S, S).
        path: with or without a suffix.
        row_labels: d texts.
        values (k,): of the coordinates, printed while they pass.
        fps: frames a second.
    Returns: the paths written.
    Raises: BadInput for shapes that do not fit together, pixels outside [0, 1], or less than one frame a second.
    """
    sizes = {"d": len(row_labels)}
    expect_names("points", points)
    blocks = [checked_images(name, images, ("m", "d", "k", "C", "S", "S"), sizes) for name, images in points.items()]
    texts = None if values is None else expect("values", values, ("k",), sizes)
    if fps < 1:
        raise BadInput(f"An animation has at least 1 frame a second; got fps={fps}.")
    there = range(sizes["k"])
    frames = [
        _frame(list(points), [block[:, :, k] for block in blocks], row_labels, None if texts is None else texts[k])
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


def _frame(
    names: Sequence[str], blocks: Sequence[NDArray[np.float32]], labels: Sequence[str], value: float | None
) -> NDArray[np.uint8]:
    """One picture (H, W, 3) of blocks (m, d, C, S, S), names above them, labels to their left."""
    font = ImageFont.truetype(findfont("DejaVu Sans"), _FONT)
    bold = ImageFont.truetype(findfont("DejaVu Sans:bold"), _FONT)
    times = max(1, _SIDE // blocks[0].shape[-1])
    tiles = [tiled(as_rgb(block).swapaxes(0, 1).repeat(times, axis=2).repeat(times, axis=3)) for block in blocks]
    tall, wide = tiles[0].shape[:2]
    room = int(max(font.getlength(text) for text in [*labels, "−0.00"])) + 2 * _SPACE
    panel = max(wide, int(max(bold.getlength(name) for name in names))) + _SPACE
    # films need even numbers of pixels
    size = (room + len(tiles) * panel + 1) // 2 * 2, (_TITLE + tall + _SPACE + 1) // 2 * 2
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for i, text in enumerate(labels):
        middle = _TITLE + row_middles(len(labels), times * blocks[0].shape[-1])[i]
        draw.text((room - _SPACE, middle), text, INK, font, anchor="rm")
    if value is not None:
        draw.text((room - _SPACE, _TITLE / 2), coordinate(value), INK, font, anchor="rm")
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
