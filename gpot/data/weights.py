"""Weights of a frozen model that was trained elsewhere: a user's file, or one that the paper's authors published."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from gpot.data.authors import authors_tensors, authors_weights
from gpot.flows.weights import check_file, copy_released, load_released
from gpot.store import file_sha256

_AUTHORS = "authors:"


def is_published(weights: str) -> bool:
    """Whether `vae.weights` or `flow.weights` is authors:NAME, and not a user's file."""
    return weights.startswith(_AUTHORS)


def weights_hash(weights: str, network: Callable[[], nn.Module]) -> str:
    """sha256 of the file that `vae.weights` or `flow.weights` says.

    A user's file is also loaded into a fresh network, before anything is made of it. A published one is checked against
    its hash when it is read: none is needed to know it.
    Raises: DataMissing if a user's file is not there, BadInput if it has other weights than the network.
    """
    if is_published(weights):
        return authors_weights(weights.removeprefix(_AUTHORS)).sha256
    sha256 = file_sha256(check_file(weights))
    with torch.random.fork_rng(devices=[]):
        load_released(network(), weights)
    return sha256


def load_weights(module: nn.Module, weights: str, folder: Path) -> None:
    """Copies the tensors of `vae.weights` or `flow.weights` into a module. folder: `paths.data`, where downloads go."""
    if is_published(weights):
        name = weights.removeprefix(_AUTHORS)
        copy_released(module, authors_tensors(name, folder), folder / authors_weights(name).file)
    else:
        load_released(module, weights)
