r"""dSprites, rendered exactly: all 737,280 images from the recorded drawing geometry.

The dataset (Matthey, Higgins, Hassabis and Lerchner, 2017) is the Cartesian product of six factors, the last one
fastest:

=============  =======  ==========================================
factor         classes  value of class k
=============  =======  ==========================================
colour         1        1
shape          3        1 square, 2 ellipse, 3 heart
scale          6        0.5 + 0.1 k
orientation    40       2 pi k / 39 (class 39 repeats class 0)
posX           32       k / 31
posY           32       k / 31
=============  =======  ==========================================

An image is a polygon rasterised without antialiasing. In pixels (x to the right, y downward, pixel (r, c) centred at
(c + 1/2, r + 1/2)), a vertex (a, b) of the shape goes to

.. math::
    x = 16 + 32\,posX + s (a \cos\theta + b \sin\theta), \qquad
    y = 16 + 32\,posY + s (-a \sin\theta + b \cos\theta),

is rounded to 1/256 pixel, and a pixel is on if and only if its centre is inside, by the even-odd rule in integer
arithmetic (a centre on an edge: inside on left and bottom edges, outside on right and top ones). Against 64,834 real
images 99.986 % agree in every pixel, the other nine differ by one pixel each (`tests/data/test_dsprites.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from gpot.errors import BadInput, DataMissing

FACTORS = ("color", "shape", "scale", "orientation", "posX", "posY")
CLASSES = (1, 3, 6, 40, 32, 32)
N_IMAGES = 737_280
SIZE = 64

_SUBPIXEL = 256  # vertices are rounded to 1/256 pixel, as a GPU with 8 sub-pixel bits does
_DRAW_INSTEAD = "Without a file gpot draws the images itself."
_CHUNK = 2048  # images rasterised at once: about 40 MB of work space for the 150-gon


def _square() -> NDArray[np.float64]:
    return 9.6 * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def _ellipse() -> NDArray[np.float64]:
    t = 2 * np.pi * np.arange(100) / 100
    return np.stack([9.6 * 1.33 * np.cos(t), 9.6 / 1.33 * np.sin(t)], axis=1)


def _heart() -> NDArray[np.float64]:
    t = 2 * np.pi * np.arange(150) / 150
    height = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([9.6 * np.sin(t) ** 3, -(19.2 / 29) * height - 1.44], axis=1)


_POLYGONS = (_square(), _ellipse(), _heart())


def classes_of(index: NDArray[np.integer]) -> NDArray[np.int64]:
    """Factor classes of rows of the official archive. index: (n,) in 0..737279. Returns (n, 6).

    Raises: BadInput for a wrong shape, a dtype that is not integer, or a row out of range.
    """
    rows = np.asarray(index)
    if rows.ndim != 1 or not np.issubdtype(rows.dtype, np.integer):
        raise BadInput(
            f"Rows of the dSprites archive must be a vector of integers; got shape {rows.shape}, dtype {rows.dtype}. "
            "Pass row numbers, for example np.arange(100)."
        )
    bad = (rows < 0) | (rows >= N_IMAGES)
    if bad.any():
        raise BadInput(
            f"Rows of the dSprites archive must lie in 0..{N_IMAGES - 1}; {int(bad.sum())} of {len(rows)} do not, "
            f"the first is {int(rows[bad][0])}. Drop or correct those rows."
        )
    return np.stack(np.unravel_index(rows, CLASSES), axis=1).astype(np.int64)


def index_of(latents_classes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Row in the official archive of each row of classes, the inverse of :func:`classes_of`. (n, 6) -> (n,)."""
    index: NDArray[np.int64] = np.ravel_multi_index(tuple(check_classes(latents_classes).T), CLASSES).astype(np.int64)
    return index


def values_of(latents_classes: NDArray[np.integer]) -> NDArray[np.float64]:
    """Factor values as the official archive lists them. (n, 6) classes -> (n, 6) float64, columns as `FACTORS`."""
    k = check_classes(latents_classes).astype(np.float64)
    scale = np.linspace(0.5, 1.0, 6)[k[:, 2].astype(int)]
    angle = np.linspace(0.0, 2 * np.pi, 40)[k[:, 3].astype(int)]
    return np.stack([np.ones(len(k)), k[:, 1] + 1, scale, angle, k[:, 4] / 31, k[:, 5] / 31], axis=1)


def check_classes(latents_classes: NDArray[np.integer]) -> NDArray[np.int64]:
    """Check factor classes: shape (n, 6), integers, each within its factor's range.

    Raises: BadInput, naming the first bad column, its range and how many rows are out of it.
    """
    classes = np.asarray(latents_classes)
    if classes.ndim != 2 or classes.shape[1] != len(FACTORS):
        raise BadInput(
            f"dSprites classes must be an integer array of shape (n, 6), columns {', '.join(FACTORS)}; "
            f"got shape {classes.shape}. Pass one row of six classes per image."
        )
    if not np.issubdtype(classes.dtype, np.integer):
        raise BadInput(
            f"dSprites classes must be integers (class numbers, not factor values); got dtype {classes.dtype}. "
            "Convert with .astype(int) if they are class numbers stored as floats."
        )
    for column, (name, count) in enumerate(zip(FACTORS, CLASSES, strict=True)):
        bad = (classes[:, column] < 0) | (classes[:, column] >= count)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise BadInput(
                f"dSprites classes of '{name}' (column {column}) must lie in 0..{count - 1}; {int(bad.sum())} of "
                f"{len(classes)} rows do not, the first is row {row} with {int(classes[row, column])}."
            )
    return classes.astype(np.int64)


def render(latents_classes: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Draw images.

    Arguments:
        latents_classes: (n, 6) integers, columns color, shape, scale, orientation, posX, posY.
    Returns: (n, 64, 64) uint8 of 0 and 1, axis 1 downward (y), axis 2 to the right (x).
    Raises: BadInput for a wrong shape, a dtype that is not integer, or a class out of range.

    >>> int(render(np.array([[0, 0, 5, 0, 16, 16]])).sum())  # a square of side 19.2 covers 19 x 19 pixel centres here
    361
    """
    classes = check_classes(latents_classes)
    images = np.zeros((len(classes), SIZE, SIZE), dtype=np.uint8)
    for shape, polygon in enumerate(_POLYGONS):
        rows = np.flatnonzero(classes[:, 1] == shape)
        for start in range(0, len(rows), _CHUNK):
            some = rows[start : start + _CHUNK]
            images[some] = _rasterise(_transform(polygon, classes[some]))
    return images


def _transform(polygon: NDArray[np.float64], classes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Vertices in 1/256 pixel. polygon: (V, 2), classes: (n, 6). Returns (n, V, 2), last axis x, y."""
    scale = 0.5 + 0.1 * classes[:, 2]
    theta = 2 * np.pi * (classes[:, 3] % 39) / 39
    cos, sin = (scale * np.cos(theta))[:, None], (scale * np.sin(theta))[:, None]
    centre = 16 + 32 * classes[:, 4:6] / 31
    a, b = polygon[:, 0], polygon[:, 1]
    x = centre[:, :1] + cos * a + sin * b
    y = centre[:, 1:] - sin * a + cos * b
    return np.rint(np.stack([x, y], axis=2) * _SUBPIXEL).astype(np.int64)


def _rasterise(vertices: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Even-odd fill of closed polygons in exact integer arithmetic. (n, V, 2) in 1/256 pixel -> (n, 64, 64) of 0, 1.

    An edge crosses the row of centres y = p iff min(y0, y1) < p <= max(y0, y1), and toggles every pixel of that row
    whose centre is at or to the right of the crossing. All toggles are counted, then summed along the row: odd is in.
    """
    half = _SUBPIXEL // 2
    n, n_vertices, _ = vertices.shape
    start = vertices.reshape(-1, 2)
    end = np.roll(vertices, -1, axis=1).reshape(-1, 2)
    row_start, row_end = (start[:, 1] - half) // _SUBPIXEL, (end[:, 1] - half) // _SUBPIXEL
    # pixel row r has centre 256 r + 128; those in (y0, y1] are floor((y0 - 128) / 256) + 1 .. floor((y1 - 128) / 256)
    first = np.minimum(row_start, row_end)
    count = np.abs(row_end - row_start)
    edge = np.repeat(np.arange(n * n_vertices), count)
    offset = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    row = first[edge] + 1 + offset
    (x0, y0), (x1, y1) = start[edge].T, end[edge].T
    down = y1 > y0
    dx, dy = np.where(down, x1 - x0, x0 - x1), np.abs(y1 - y0)
    xs, ys = np.where(down, x0, x1), np.where(down, y0, y1)
    numerator = (xs - half) * dy + (row * _SUBPIXEL + half - ys) * dx
    column = -((-numerator) // (_SUBPIXEL * dy))  # first column whose centre is >= the crossing: a ceiling division
    toggles = np.bincount((edge // n_vertices * SIZE + row) * (SIZE + 1) + column, minlength=n * SIZE * (SIZE + 1))
    inside = np.cumsum(toggles.reshape(n, SIZE, SIZE + 1)[:, :, :SIZE], axis=2, dtype=np.int64) & 1
    return inside.astype(np.uint8)


def render_packed(
    index: NDArray[np.integer], progress: Callable[[Iterator[int], int], Iterator[int]] | None = None
) -> NDArray[np.uint8]:
    """Draw rows of the official archive, eight pixels to a byte: 377 MB for all 737,280 images instead of 3 GB.

    Arguments:
        index: (n,) rows of the archive.
        progress: wraps the iterator over blocks of images, given their number.
    Returns: (n, 512) uint8; :func:`unpack` gives the images back.
    """
    packed = np.empty((len(index), SIZE * SIZE // 8), dtype=np.uint8)
    blocks: Iterator[int] = iter(range(0, len(index), 3 * _CHUNK))
    if progress is not None:
        blocks = progress(blocks, -(-len(index) // (3 * _CHUNK)))
    for start in blocks:
        some = slice(start, start + 3 * _CHUNK)
        packed[some] = np.packbits(render(classes_of(index[some])).reshape(-1, SIZE * SIZE), axis=1)
    return packed


def unpack(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(n, 512) -> (n, 64, 64) uint8 of 0 and 1, the inverse of the packing in :func:`render_packed`."""
    return np.unpackbits(packed, axis=1).reshape(-1, SIZE, SIZE)


def load_official(path: str | Path) -> NDArray[np.uint8]:
    """Read the official archive `dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz`, packed as by :func:`render_packed`.

    Its pickled member is not loaded. Raises: DataMissing if there is no such file, BadInput if it holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise DataMissing(
            f"the official dSprites archive was to be '{path}', and there is no such file. "
            f"Correct the path. {_DRAW_INSTEAD}",
            advice={"path": None},
        )
    images, classes = _read_archive(path)
    if images.shape != (N_IMAGES, SIZE, SIZE) or classes.shape != (N_IMAGES, len(FACTORS)):
        raise BadInput(
            f"'{path}' must hold all {N_IMAGES} images of 64 x 64 and their classes; found images of shape "
            f"{images.shape}, classes of shape {classes.shape}. {_DRAW_INSTEAD}",
            advice={"path": None},
        )
    misplaced = np.flatnonzero(index_of(classes) != np.arange(N_IMAGES))
    if len(misplaced):
        raise BadInput(
            f"'{path}' must list the images in the official order (posY fastest); {len(misplaced)} rows are elsewhere, "
            f"the first is row {int(misplaced[0])} with classes {classes[misplaced[0]].tolist()}. {_DRAW_INSTEAD}",
            advice={"path": None},
        )
    return np.packbits(images.reshape(N_IMAGES, SIZE * SIZE), axis=1)


def _read_archive(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images and classes of an npz file, nothing unpickled."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            if "imgs" in archive.files and "latents_classes" in archive.files:
                return archive["imgs"], archive["latents_classes"]
            content = f"it holds {sorted(archive.files)}"
    except (ValueError, TypeError, OSError, EOFError, BadZipFile) as error:  # another format, pickled, cut short
        raise BadInput(
            f"'{path}' is not a readable npz archive ({error}). {_DRAW_INSTEAD}", advice={"path": None}
        ) from error
    raise BadInput(
        f"'{path}' is not the dSprites archive: {content}, and 'imgs' and 'latents_classes' are needed. "
        f"{_DRAW_INSTEAD}",
        advice={"path": None},
    )
