"""What the file of a user's own points or images holds, told without reading it."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gpot.errors import BadConfig

# what numpy.load raises for a file that is cut, or of another kind
UNREADABLE = (
    ValueError, OSError, EOFError, AttributeError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
POINT_ARRAYS = ("x", "points")  # names by which the points are known among the arrays of an .npz file


def point_array(names: Sequence[str]) -> str | None:
    """The array of an .npz file that holds the points: the only one, or the one named so; None if none or two are."""
    named = [name for name in POINT_ARRAYS if name in names]
    if len(named) == 1:
        return named[0]
    return names[0] if len(names) == 1 else None


def shape_of_points(path: str | None) -> tuple[int, int]:
    """Rows and columns of the points in an .npy or .npz file."""
    if path is None:
        raise BadConfig(
            "a data set of one's own needs a file of points, and got none. Give its path, points.npy say.",
            advice={"path": "points.npy"},
        )
    path = os.path.expanduser(path)
    if not Path(path).is_file():
        raise BadConfig(
            f"'{path}' was to hold points (n, d), and there is no such file. Check the path.", advice={"path": ...}
        )
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as arrays:
                name = point_array(arrays.files)
                shape: tuple[int, ...] = () if name is None else arrays[name].shape
        else:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except UNREADABLE as error:
        raise BadConfig(
            f"'{path}' was to be an .npy or .npz file ({error}). Save it with np.save(path, points)."
        ) from error
    if len(shape) != 2:
        raise BadConfig(
            f"'{path}' was to hold points of shape (n, d), alone or named 'x' or 'points', and holds "
            f"{shape}. Save them with np.save(path, points)."
        )
    return int(shape[0]), int(shape[1])


def columns(path: str | None) -> int:
    """`${columns:FILE}`: the number of columns of the points in an .npy or .npz file."""
    return shape_of_points(path)[1]


IMAGE_SIDES = (32, 64)  # that the network of the VAE is made for


def shape_of_images(path: str | None) -> tuple[int, int, int]:
    """Number, channels and side of the images in an .npy file of shape (n, S, S) or (n, C, S, S), S = 32 or 64."""
    if path is None:
        raise BadConfig(
            "images of one's own need a file, and got none. Give its path, images.npy say.",
            advice={"path": "images.npy"},
        )
    if not Path(path).is_file():
        raise BadConfig(
            f"'{path}' was to hold images (n, C, S, S), and there is no such file. Check the path.",
            advice={"path": ...},
        )
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except UNREADABLE as error:
        raise BadConfig(
            f"'{path}' was to be an .npy file of images ({error}). Save it with np.save(path, images)."
        ) from error
    if len(shape) not in (3, 4) or shape[-1] != shape[-2] or shape[-1] not in IMAGE_SIDES:
        raise BadConfig(
            f"'{path}' was to hold images of shape (n, S, S) or (n, C, S, S) with S of 32 or 64, and holds "
            f"{shape}. Resize the images, channels first."
        )
    return shape[0], (1 if len(shape) == 3 else shape[1]), shape[-1]


def image_shape(path: str | None) -> tuple[int, int]:
    """Channels and side of these images."""
    return shape_of_images(path)[1:]
