"""MNIST (LeCun, Bottou, Bengio and Haffner, 1998): the four IDX files of its publisher, resized as the paper's model
takes them.

An IDX file, gzipped, holds a big-endian magic number (two zero bytes, 8 for unsigned bytes, the number of axes), the
length of each axis as 32-bit integers, then the bytes.
"""

from __future__ import annotations

import gzip
import zlib
from enum import Enum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from gpot.data.download import Remote, fetch
from gpot.errors import BadInput

SIZE = 28
_MIRRORS = ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/")
_UNSIGNED_BYTES = 8


class Split(str, Enum):
    """MNIST's parts: `train`, 60,000 images, which the paper uses; `test`, 10,000."""

    train = "train"
    test = "test"


def _remote(name: str, sha256: str) -> Remote:
    return Remote(name, f"sha256:{sha256}", tuple(mirror + name for mirror in _MIRRORS))


IMAGES = {
    Split.train: _remote(
        "train-images-idx3-ubyte.gz", "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    Split.test: _remote(
        "t10k-images-idx3-ubyte.gz", "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
    ),
}
LABELS = {
    Split.train: _remote(
        "train-labels-idx1-ubyte.gz", "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    Split.test: _remote(
        "t10k-labels-idx1-ubyte.gz", "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
    ),
}
N_IMAGES = {Split.train: 60_000, Split.test: 10_000}


def read_idx(path: str | Path, n_axes: int) -> NDArray[np.uint8]:
    """The array of a gzipped IDX file of unsigned bytes.

    Raises: BadInput where the file is no such file, has another number of axes, or ends early.
    """
    try:
        with gzip.open(path) as file:
            content = file.read()
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(
            f"'{path}' was to be a gzipped IDX file, and cannot be read ({error}). Fetch it again."
        ) from error
    magic = bytes((0, 0, _UNSIGNED_BYTES, n_axes))
    head = 4 * (1 + n_axes)
    if content[:4] != magic:
        raise BadInput(
            f"'{path}' was to be an IDX file of bytes with {n_axes} axes (it starts with {magic.hex()}), and starts "
            f"with {content[:4].hex() or 'nothing'}. Fetch it again."
        )
    if len(content) < head:
        raise BadInput(f"'{path}' was to begin with {head} bytes of shape, and holds {len(content)}. Fetch it again.")
    shape = tuple(int(length) for length in np.frombuffer(content[4:head], dtype=">u4"))
    values = np.frombuffer(content, dtype=np.uint8, offset=head)
    if values.size != int(np.prod(shape, dtype=np.int64)):
        raise BadInput(f"'{path}' says that it holds {shape} bytes, and holds {values.size}. Fetch it again.")
    return values.reshape(shape)


def resize(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bilinear resampling as the Pillow library does it. images: (n, S, S). Returns (n, size, size)."""
    resized = np.empty((len(images), size, size), dtype=np.uint8)
    for k, image in enumerate(images):
        resized[k] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    return resized


def load_images(folder: Path, split: Split) -> NDArray[np.uint8]:
    """(n, 28, 28), fetched into `folder` if need be. Raises: DataMissing, BadInput."""
    return read_idx(fetch(IMAGES[split], folder, f"MNIST ({split.value})"), n_axes=3)


def load_labels(folder: Path, split: Split) -> NDArray[np.uint8]:
    """The digits, (n,), fetched into `folder` if need be. Raises: DataMissing, BadInput."""
    return read_idx(fetch(LABELS[split], folder, f"MNIST ({split.value})"), n_axes=1)
