"""Resolvers of the configs, by their names in YAML: `${name:argument}`."""

from __future__ import annotations

import os

from omegaconf import OmegaConf

from gpot.data.own_files import columns, image_shape


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


def folder_named(variable: str, otherwise: str) -> str:
    """`${folder_named:VARIABLE,FOLDER}`: the environment variable where it says something, else the folder."""
    return os.environ.get(variable, "").strip() or otherwise


def register_resolvers() -> None:
    """Make the resolvers known to OmegaConf."""
    OmegaConf.register_new_resolver("image_channels", image_channels, replace=True)
    OmegaConf.register_new_resolver("image_side", image_side, replace=True)
    OmegaConf.register_new_resolver("columns", columns, replace=True)
    OmegaConf.register_new_resolver("passes", passes, replace=True)
    OmegaConf.register_new_resolver("folder_named", folder_named, replace=True)
