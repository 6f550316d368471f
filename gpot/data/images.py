"""The images of a dataset config: which ones, and their pixels, eight to a byte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpot.config.schema import ImagesConfig
from gpot.data import dsprites
from gpot.errors import BadConfig
from gpot.progress import track
from gpot.store import file_sha256

RENDERER = "rendered:1"  # raised when a change of the renderer changes a pixel
_SUBSET_SEED = 42  # the subset is part of the dataset, not of a run


def data_hash(dataset: ImagesConfig) -> str:
    """What the pixels depend on: the sha256 of the user's file, or the version of the renderer."""
    return RENDERER if dataset.path is None else f"sha256:{file_sha256(_existing(dataset.path))}"


def image_index(dataset: ImagesConfig) -> NDArray[np.int64]:
    """Rows of the archive that the dataset consists of, ascending: all, or a random subset of `n_images`."""
    if dataset.n_images is None:
        return np.arange(dsprites.N_IMAGES)
    if not 0 < dataset.n_images <= dsprites.N_IMAGES:
        raise BadConfig(
            f"dataset.n_images must lie in 1..{dsprites.N_IMAGES}, got {dataset.n_images}. "
            "Set it to null for all images."
        )
    chosen = np.random.default_rng(_SUBSET_SEED).choice(dsprites.N_IMAGES, dataset.n_images, replace=False)
    return np.sort(chosen)


def packed_images(dataset: ImagesConfig, index: NDArray[np.int64]) -> Tensor:
    """Pixels of those rows: (n, 512) uint8, drawn here or read from the official archive."""
    if dataset.path is not None:
        return torch.from_numpy(dsprites.load_official(_existing(dataset.path))[index])
    return torch.from_numpy(dsprites.render_packed(index, lambda blocks, n: track(blocks, n, "drawing dSprites")))


def unpack_batch(packed: Tensor) -> tuple[Tensor]:
    """(n, 512) uint8 -> (n, 1, 64, 64) float32 of 0 and 1, as the VAE takes them."""
    shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=packed.device)
    bits = (packed[:, :, None] >> shifts) & 1
    return (bits.reshape(-1, 1, dsprites.SIZE, dsprites.SIZE).float(),)


def _existing(path: str) -> Path:
    found = Path(path)
    if not found.is_file():
        dsprites.load_official(found)  # raises DataMissing with what to do
    return found
