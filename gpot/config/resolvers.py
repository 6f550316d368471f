"""Resolvers of the configs, by their names in YAML: `${name:argument}`."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from omegaconf import OmegaConf

from gpot.errors import BadConfig


def columns(path: str | None) -> int:
    """`${columns:FILE}`: the number of columns of an .npy array, or of the first of an .npz file, from its header alone."""
    if path is None:
        raise BadConfig("dataset=array needs a file of points, and dataset.path is null. Type dataset.path=points.npy.")
    if not Path(path).is_file():
        raise BadConfig(f"dataset.path={path} was to hold points (n, d), and there is no such file. Check the path.")
    try:
        if zipfile.is_zipfile(path):
            with np.load(path, allow_pickle=False) as arrays:
                shape = arrays[arrays.files[0]].shape
        else:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
    except (ValueError, OSError, IndexError) as error:
        raise BadConfig(f"dataset.path={path} was to be an .npy or .npz file ({error}). Save it with np.save.") from error
    if len(shape) != 2:
        raise BadConfig(f"dataset.path={path} was to hold points of shape (n, d), and holds {shape}. Reshape it.")
    return int(shape[1])


def register_resolvers() -> None:
    """Make the resolvers known to OmegaConf."""
    OmegaConf.register_new_resolver("columns", columns, replace=True)
