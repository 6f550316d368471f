"""Weights of a frozen model that was trained elsewhere: a user's file, or one that the paper's authors published."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from gpot.data.authors import authors_tensors, authors_weights
from gpot.flows.weights import check_file, copy_released, load_released
from gpot.store import file_sha256

_AUTHORS = "authors:"


def weights_hash(weights: str) -> str:
    """sha256 of the file that `vae.weights` or `flow.weights` says. Raises: DataMissing if a user's is not there.

    A published file is checked against its hash when it is read: none is needed to know it.
    """
    if weights.startswith(_AUTHORS):
        return authors_weights(weights.removeprefix(_AUTHORS)).sha256
    return file_sha256(check_file(weights))


def load_weights(module: nn.Module, weights: str, folder: Path) -> None:
    """Copies the tensors of `vae.weights` or `flow.weights` into a module. folder: `paths.data`, where downloads go."""
    if weights.startswith(_AUTHORS):
        name = weights.removeprefix(_AUTHORS)
        copy_released(module, authors_tensors(name, folder), folder / authors_weights(name).file)
    else:
        load_released(module, weights)
