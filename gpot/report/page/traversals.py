"""Latent traversals for the page: the file that an item leaves, and the sheets of images that the page shows.

`<item>_traversals.npz` in the report folder, without pickle:

=========  ==================================  ==================================================================
array      shape                               meaning
=========  ==================================  ==================================================================
`images`   (panels, m, d, k, [C,] S, S) uint8  m data points, d coordinates, k values; C is 1 or 3, or left out
`panels`   (panels,) text                      printed name of each code space
`kl`       (d,)                                of the VAE's coordinate, nats; coordinates in the order shown
`values`   (k,)                                of the coordinate, increasing
=========  ==================================  ==================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.errors import BadInput
from gpot.report.page.arrays import png

SUFFIX = "_traversals.npz"
_NAMES = ("images", "panels", "kl", "values")
_LEVELS = 32  # grey levels that are kept: the eye sees no more of a decoder's soft edges, and sheets halve in size


@dataclass(frozen=True)
class Traversals:
    """images (panels, m, d, k, C, S, S) uint8; panels; kl (d,); values (k,)."""

    images: NDArray[np.uint8]
    panels: tuple[str, ...]
    kl: NDArray[np.float64]
    values: NDArray[np.float64]


def read_traversals(path: Path) -> Traversals:
    """The arrays of a file.  Raises: BadInput for a missing array, or shapes that do not fit together."""
    with np.load(path, allow_pickle=False) as file:
        missing = [name for name in _NAMES if name not in file.files]
        if missing:
            raise BadInput(f"{path.name} must hold {', '.join(_NAMES)}; missing: {', '.join(missing)}. {_again(path)}")
        images, panels, kl, values = (file[name] for name in _NAMES)
    if images.ndim == 6:
        images = images[:, :, :, :, None]
    shape = (len(panels), *images.shape[1:2], len(kl), len(values))
    fits = images.ndim == 7 and images.size > 0 and images.dtype == np.uint8
    if not fits or images.shape[:4] != shape or images.shape[4] not in (1, 3) or len(set(images.shape[5:])) != 1:
        raise BadInput(
            f"{path.name} must hold images (panels, m, d, k, C, S, S) of uint8 for {len(panels)} panels, {len(kl)} "
            f"coordinates and {len(values)} values; found {images.shape} of {images.dtype}. {_again(path)}"
        )
    return Traversals(images, tuple(map(str, panels)), kl.astype(np.float64), values.astype(np.float64))


def traversal_data(title: str, views: Traversals, at_most: int) -> dict[str, Any]:
    """What the page's script shows: a sheet of d rows and k columns for each panel and data point.

    Images of one channel are ink on white, as in the figures. Data points are kept in their order while their sheets
    fit `at_most` bytes, the first one always; `left_out` counts the others.
    """
    n_panels, m, *_, side = views.images.shape
    sheets: list[list[str]] = [[] for _ in range(n_panels)]
    size = 0
    for point in range(m):
        uris = [png(_sheet(views.images[panel, point])).uri for panel in range(n_panels)]
        size += sum(map(len, uris))
        if point and size > at_most:
            break
        for panel, uri in zip(sheets, uris, strict=True):
            panel.append(uri)
    return {
        "title": title,
        "panels": list(views.panels),
        "points": len(sheets[0]),
        "left_out": m - len(sheets[0]),
        "side": side,
        "kl": [round(float(value), 3) for value in views.kl],
        "values": [round(float(value), 4) for value in views.values],
        "sheets": sheets,
    }


def _sheet(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(d, k, C, S, S) -> (d S, k S) or (d S, k S, 3), ink on white where there is one channel."""
    d, k, channels, side, _ = images.shape
    sheet = images.transpose(0, 3, 1, 4, 2).reshape(d * side, k * side, channels)
    if channels == 3:
        return sheet
    step = 255 / (_LEVELS - 1)
    whole: NDArray[np.uint8] = (255 - np.round(np.round(sheet[..., 0] / step) * step)).astype(np.uint8)
    return whole


def _again(path: Path) -> str:
    return f"Run: make reproduce-{path.name.removesuffix(SUFFIX)}"
