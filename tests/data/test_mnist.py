"""MNIST: the format of its files, the resizing, and the published files where they are at hand."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from gpot.config import compose
from gpot.data.images import image_index
from gpot.data.mnist import IMAGES, LABELS, N_IMAGES, SIZE, Split, load_images, load_labels, read_idx, resize
from gpot.errors import BadInput
from gpot.stages.vae import image_source
from gpot.store import file_sha256
from tests.conftest import shared_path

COUNTS = {
    Split.train: [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
    Split.test: [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
}


def idx(array: np.ndarray) -> bytes:
    """The bytes of an IDX file, before gzip."""
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content))
    return path


# --- files ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(7,), (5, 3), (4, 28, 28), (0, 28, 28)])
def test_idx_round_trip(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    read = read_idx(written(tmp_path / "a.gz", idx(array)), len(shape))
    assert read.dtype == np.uint8 and read.shape == shape and np.array_equal(read, array)


ARRAY = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "starts with nothing"),
        (b"\x00\x00\x0d\x03" + idx(ARRAY)[4:], r"starts with 00000803\), and starts with 00000d03"),  # floats
        (idx(ARRAY[0]), r"with 3 axes .* and starts with 00000802"),
        (idx(ARRAY)[:10], "begin with 16 bytes of shape, and holds 10"),
        (idx(ARRAY)[:-1], r"\(2, 3, 4\) bytes, and holds 23"),
        (idx(ARRAY) + b"\x00", r"\(2, 3, 4\) bytes, and holds 25"),
        (struct.pack(">4B3I", 0, 0, 8, 3, *[2**32 - 1] * 3), "and holds 0"),  # a product beyond 64 bits
    ],
)
def test_what_is_no_idx_file_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    with pytest.raises(BadInput, match=said + r".*Fetch it again"):
        read_idx(written(tmp_path / "a.gz", content), 3)


def test_what_is_no_gzip_file_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(idx(np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)))
    damaged = bytearray(whole)
    damaged[40:60] = b"\xff" * 20
    for content in (idx(ARRAY), whole[: len(whole) // 2], bytes(damaged), b""):
        path = tmp_path / "a.gz"
        path.write_bytes(content)
        with pytest.raises(BadInput, match="Fetch it again"):
            read_idx(path, 3)


# --- resizing ---------------------------------------------------------------------------------------------------------


def bilinear(image: np.ndarray, size: int) -> np.ndarray:
    """The textbook formula: between the centres of pixels, the border continued as it is."""
    place = np.clip((np.arange(size) + 0.5) * len(image) / size - 0.5, 0, len(image) - 1)
    low = np.minimum(place.astype(int), len(image) - 2)
    weight = place - low
    rows = image[low] * (1 - weight)[:, None] + image[low + 1] * weight[:, None]
    return rows[:, low] * (1 - weight) + rows[:, low + 1] * weight


def test_a_constant_image_stays_constant() -> None:
    values = np.array([0, 1, 37, 128, 254, 255], dtype=np.uint8)
    images = np.broadcast_to(values[:, None, None], (6, SIZE, SIZE))
    resized = resize(np.ascontiguousarray(images), 32)
    assert resized.shape == (6, 32, 32) and resized.dtype == np.uint8
    assert np.array_equal(resized, np.broadcast_to(values[:, None, None], resized.shape))


def test_resizing_is_bilinear() -> None:
    row, column = np.mgrid[:SIZE, :SIZE]
    ramps = np.stack([3 * row + 5 * column, 9 * column, 250 - 2 * row - 5 * column]).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE), dtype=np.uint8)
    images = np.concatenate([ramps, noise])
    expected = np.stack([bilinear(image.astype(float), 32) for image in images])
    assert np.abs(resize(images, 32) - expected).max() <= 1, "two roundings, one per axis"
    assert np.array_equal(resize(images, SIZE), images)


# --- the published files ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder() -> Path:
    return shared_path("data/mnist/raw")


@pytest.mark.parametrize("split", Split)
def test_published_files(folder: Path, split: Split) -> None:
    for remote in (IMAGES[split], LABELS[split]):
        assert remote.digest == f"sha256:{file_sha256(folder / remote.name)}"
    assert load_images(folder, split).shape == (N_IMAGES[split], SIZE, SIZE)
    labels = load_labels(folder, split)
    assert labels.shape == (N_IMAGES[split],)
    assert np.bincount(labels, minlength=10).tolist() == COUNTS[split]


def test_source_of_the_config(folder: Path) -> None:
    config = compose("train_vae", ["dataset=mnist", "models=toy", f"paths.data={folder}"])
    source = image_source(config.dataset, folder)  # type: ignore[arg-type]
    index = image_index(config.dataset.n_images, source)[:50]  # type: ignore[arg-type]
    pixels = source.pixels(index)
    assert len(source) == 60_000 and pixels.shape == (50, 1, 32, 32)
    (unpacked,) = source.unpack(pixels)
    assert unpacked.shape == pixels.shape and np.allclose(unpacked.numpy() * 255, pixels.numpy(), atol=1e-4)
    images, labels = load_images(folder, Split.train), load_labels(folder, Split.train)
    assert np.array_equal(pixels.numpy()[:, 0], resize(images[index], 32))
    assert np.array_equal(source.labels(index), labels[index])


def test_the_hash_needs_no_file(tmp_path: Path) -> None:
    config = compose("train_vae", ["dataset=mnist"])
    source = image_source(config.dataset, tmp_path / "nowhere")  # type: ignore[arg-type]
    digest = IMAGES[Split.train].digest
    assert digest is not None and source.data_hash().startswith(digest) and not (tmp_path / "nowhere").exists()
