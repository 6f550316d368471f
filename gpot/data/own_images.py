"""A user's own images: an .npy file of shape (n, S, S) or (n, C, S, S)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpot.data.own_files import image_shape
from gpot.errors import BadInput
from gpot.store import file_sha256


class OwnImages:
    """Booleans, bytes of 0..255, or floats in [0, 1]; read from the file row by row as they are needed.

    Raises (on `pixels`): BadInput for other values: none are clipped or scaled by guess.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        image_shape(path)  # raises BadConfig where there are no images
        self.images: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)

    def __len__(self) -> int:
        return len(self.images)

    def data_hash(self) -> str:
        """The sha256 of the file."""
        return f"sha256:{file_sha256(Path(self.path))}"

    def pixels(self, index: NDArray[np.int64]) -> Tensor:
        """(n, C, S, S) in the file's own type (booleans as bytes of 0 and 255)."""
        kind = self.images.dtype.kind
        if kind not in "bf" and self.images.dtype != np.uint8:
            raise BadInput(
                f"'{self.path}' was to hold booleans, bytes or floats, and holds {self.images.dtype}. "
                "Convert the images: (array / array.max()).astype('float32')."
            )
        images = np.asarray(self.images[index])
        if images.ndim == 3:
            images = images[:, None]
        if kind == "b":
            images = images.astype(np.uint8) * 255
        self._check(images)
        return torch.from_numpy(images.astype(np.float32) if kind == "f" else images)

    def _check(self, images: NDArray[Any]) -> None:
        low, high = float(images.min()), float(images.max())
        if images.dtype.kind == "f" and not (low >= 0 and high <= 1):  # also NaN
            raise BadInput(
                f"'{self.path}' holds floats, which must lie in [0, 1], and go from {low:.4g} to "
                f"{high:.4g}. Scale them, and leave images with NaN out."
            )
        if images.dtype.kind == "u" and high <= 1:
            raise BadInput(
                f"'{self.path}' holds bytes, which go up to 255, and the largest here is {high:.0f}. Save "
                "images of 0 and 1 as booleans: np.save(path, array.astype(bool))."
            )

    def unpack(self, pixels: Tensor) -> tuple[Tensor]:
        """(n, C, S, S) float32 in [0, 1]."""
        return (pixels.float() if pixels.is_floating_point() else pixels.float() / 255,)

    def labels(self, index: NDArray[np.int64]) -> None:
        """There are none."""
