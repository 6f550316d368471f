"""The images of a dataset: which ones, and their pixels, as they are kept and as a VAE takes them.

A new dataset of images is one config class (`gpot/config/schema.py`), one class here, and an entry in
`gpot/stages/vae.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpot.data import dsprites, mnist
from gpot.data.mnist import Split
from gpot.errors import BadConfig
from gpot.progress import track
from gpot.store import file_sha256

RENDERER = "rendered:1"  # raised when a change of the renderer changes a pixel
_SUBSET_SEED = 42  # the subset is part of the dataset, not of a run


class ImageSource(Protocol):
    """Where images come from. No image is read or drawn before `pixels` or `labels` is called."""

    def __len__(self) -> int: ...

    def data_hash(self) -> str:
        """What the pixels depend on, in a few words: for keys."""

    def pixels(self, index: NDArray[np.int64]) -> Tensor:
        """The images of those rows as they are kept in memory, (n, ...), mostly bytes."""

    def unpack(self, pixels: Tensor) -> tuple[Tensor]:
        """A batch of `pixels` -> (n, C, S, S) float32 in [0, 1], as the VAE takes them."""

    def labels(self, index: NDArray[np.int64]) -> NDArray[np.uint8] | None:
        """A class per image, (n,), that goes with the codes; None where the row number says it, or nothing does."""


def image_index(n_images: int | None, source: ImageSource) -> NDArray[np.int64]:
    """Rows of the source that the dataset consists of, ascending: all, or a random subset of `n_images`."""
    if n_images is None:
        return np.arange(len(source))
    if not 0 < n_images <= len(source):
        raise BadConfig(
            f"n_images must lie in 1..{len(source)}, got {n_images}. Take n_images=None for all images.",
            advice={"n_images": None},
        )
    rows = np.random.default_rng(_SUBSET_SEED).choice(len(source), n_images, replace=False)
    return np.sort(rows)


class DSpritesImages:
    """dSprites, drawn here or read from the official archive at `path`; kept eight pixels to a byte, (n, 512)."""

    def __init__(self, path: str | None) -> None:
        self.path = path

    def __len__(self) -> int:
        return dsprites.N_IMAGES

    def data_hash(self) -> str:
        """The sha256 of the user's file, or the version of the renderer."""
        return RENDERER if self.path is None else f"sha256:{file_sha256(self._existing(self.path))}"

    def pixels(self, index: NDArray[np.int64]) -> Tensor:
        if self.path is not None:
            return torch.from_numpy(dsprites.load_official(self._existing(self.path))[index])
        return torch.from_numpy(dsprites.render_packed(index, lambda blocks, n: track(blocks, n, "drawing dSprites")))

    def unpack(self, pixels: Tensor) -> tuple[Tensor]:
        shifts = torch.arange(7, -1, -1, dtype=torch.uint8, device=pixels.device)
        bits = (pixels[:, :, None] >> shifts) & 1
        return (bits.reshape(-1, 1, dsprites.SIZE, dsprites.SIZE).float(),)

    def labels(self, index: NDArray[np.int64]) -> None:
        """The row number of the archive says all factors."""

    @staticmethod
    def _existing(path: str) -> Path:
        file = Path(path)
        if not file.is_file():
            dsprites.load_official(file)  # raises DataMissing with what to do
        return file


class MnistImages:
    """MNIST, resized to `size`: bilinear, values in 0..255, (n, 1, size, size)."""

    RESIZED = "bilinear:1"

    def __init__(self, folder: Path, split: Split, size: int) -> None:
        self.folder, self.split, self.size = folder, split, size

    def __len__(self) -> int:
        return mnist.N_IMAGES[self.split]

    def data_hash(self) -> str:
        """The published hash, which every file is checked against: no file is needed to know it."""
        return f"{mnist.IMAGES[self.split].digest},{self.RESIZED}"

    def pixels(self, index: NDArray[np.int64]) -> Tensor:
        images = mnist.resize(mnist.load_images(self.folder, self.split)[index], self.size)
        return torch.from_numpy(images)[:, None]

    def unpack(self, pixels: Tensor) -> tuple[Tensor]:
        return (pixels.float() / 255,)

    def labels(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        return mnist.load_labels(self.folder, self.split)[index]
