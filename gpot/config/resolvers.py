"""Resolvers of the configs, by their names in YAML: `${name:argument}`."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from gpot.errors import BadConfig

POINT_ARRAYS = ("x", "points")  # names by which the points are known among the arrays of an .npz file


def point_array(names: Sequence[str]) -> str | None:
    """The array of an .npz file that holds the points: the only one, or the one named so; None if none or two are."""
    named = [name for name in POINT_ARRAYS if name in names]
    if len(named) == 1:
        return named[0]
    return names[0] if len(names) == 1 else None


def columns(path: str | None) -> int:
    """`${columns:FILE}`: the number of columns of the points in an .npy or .npz file."""
    if path is None:
        raise BadConfig("dataset=array needs a file of points, and dataset.path is null. Type dataset.path=points.npy.")
    if not Path(path).is_file():
        raise BadConfig(f"dataset.path={path} was to hold points (n, d), and there is no such file. Check the path.")
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as arrays:
                name = point_array(arrays.files)
                shape: tuple[int, ...] = () if name is None else arrays[name].shape
        else:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, OSError) as error:
        raise BadConfig(
            f"dataset.path={path} was to be an .npy or .npz file ({error}). Save it with np.save(path, points)."
        ) from error
    if len(shape) != 2:
        raise BadConfig(
            f"dataset.path={path} was to hold points of shape (n, d), alone or named 'x' or 'points', and holds "
            f"{shape}. Save them with np.save(path, points)."
        )
    return int(shape[1])


IMAGE_SIDES = (32, 64)  # that the network of the VAE is made for


def image_shape(path: str | None) -> tuple[int, int]:
    """Channels and side of the images in an .npy file of shape (n, S, S) or (n, C, S, S), S = 32 or 64."""
    if path is None:
        raise BadConfig("dataset=latents needs a file of images, and got none. Type dataset.path=images.npy.")
    if not Path(path).is_file():
        raise BadConfig(f"dataset.path={path} was to hold images (n, C, S, S), and there is no such file.")
    try:
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, OSError, AttributeError) as error:
        raise BadConfig(
            f"dataset.path={path} was to be an .npy file of images ({error}). Save it with np.save(path, images)."
        ) from error
    if len(shape) not in (3, 4) or shape[-1] != shape[-2] or shape[-1] not in IMAGE_SIDES:
        raise BadConfig(
            f"dataset.path={path} was to hold images of shape (n, S, S) or (n, C, S, S) with S of 32 or 64, and holds "
            f"{shape}. Resize the images, channels first."
        )
    return (1 if len(shape) == 3 else shape[1]), shape[-1]


def image_channels(path: str | None) -> int:
    """`${image_channels:FILE}`."""
    return image_shape(path)[0]


def image_side(path: str | None) -> int:
    """`${image_side:FILE}`: pixels."""
    return image_shape(path)[1]


def passes(steps: int, n: int, batch: int) -> int:
    """`${passes:STEPS,N,BATCH}`: passes over n rows that make about that many optimizer steps, at least one.

    >>> passes(2000, 80_000, 1000), passes(2000, 1000, 1000)
    (25, 2000)
    """
    return max(1, round(steps / max(1, n // batch)))


def register_resolvers() -> None:
    """Make the resolvers known to OmegaConf."""
    OmegaConf.register_new_resolver("image_channels", image_channels, replace=True)
    OmegaConf.register_new_resolver("image_side", image_side, replace=True)
    OmegaConf.register_new_resolver("columns", columns, replace=True)
    OmegaConf.register_new_resolver("passes", passes, replace=True)
