"""Resolvers of the configs, by their names in YAML: `${name:argument}`."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from omegaconf import OmegaConf

from gpot.config.advice import options
from gpot.data import own_files
from gpot.errors import BadConfig, GpotError

T = TypeVar("T")


def _with_options(resolve: Callable[[str | None], T]) -> Callable[[str | None], T]:
    """OmegaConf hands on the message of an error, and not the error: the options to type are put into the message."""

    @wraps(resolve)
    def resolved(path: str | None) -> T:
        try:
            return resolve(path)
        except GpotError as error:
            raise BadConfig(f"{error}\n{options(error)}") from error

    return resolved


@_with_options
def columns(path: str | None) -> int:
    """`${columns:FILE}`: of the points."""
    return own_files.columns(path)


@_with_options
def image_channels(path: str | None) -> int:
    """`${image_channels:FILE}`."""
    return own_files.image_shape(path)[0]


@_with_options
def image_side(path: str | None) -> int:
    """`${image_side:FILE}`: pixels."""
    return own_files.image_shape(path)[1]


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
