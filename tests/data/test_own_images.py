"""A user's own images: shapes, kinds of numbers, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpot.config import compose
from gpot.data.images import image_index
from gpot.data.own_images import OwnImages
from gpot.errors import BadConfig, BadInput


def saved(folder: Path, images: NDArray[Any]) -> str:
    np.save(folder / "images.npy", images)
    return str(folder / "images.npy")


RNG = np.random.default_rng(0)
PIXELS = RNG.random((20, 3, 32, 32))


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (PIXELS.astype(np.float32), PIXELS.astype(np.float32)),
        (PIXELS > 0.5, (PIXELS > 0.5).astype(np.float32)),
        ((PIXELS * 255).astype(np.uint8), (PIXELS * 255).astype(np.uint8) / 255),
        (PIXELS[:, 0].astype(np.float64), PIXELS[:, :1]),
    ],
    ids=["floats", "booleans", "bytes", "one channel"],
)
def test_every_kind_is_read_as_numbers_from_0_to_1(tmp_path: Path, images: Any, expected: Any) -> None:
    source = OwnImages(saved(tmp_path, images))
    index = np.array([0, 3, 19])
    (unpacked,) = source.unpack(source.pixels(index))
    assert unpacked.dtype == torch.float32 and len(source) == 20
    np.testing.assert_allclose(unpacked.numpy(), expected[index], rtol=0, atol=1e-7)
    assert source.labels(index) is None


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (PIXELS * 1.01 + 0.1, r"\[0, 1\]"),
        (np.where(PIXELS > 0.99, np.nan, PIXELS), r"\[0, 1\]"),
        ((PIXELS > 0.5).astype(np.uint8), "booleans"),
        ((PIXELS * 255).astype(np.int64), "int64"),
    ],
    ids=["above 1", "NaN", "bytes of 0 and 1", "integers"],
)
def test_other_values_are_refused(tmp_path: Path, images: Any, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        OwnImages(saved(tmp_path, images)).pixels(np.arange(20))


def test_the_hash_is_of_the_content(tmp_path: Path) -> None:
    first = OwnImages(saved(tmp_path, PIXELS > 0.5)).data_hash()
    assert OwnImages(saved(tmp_path, PIXELS > 0.5)).data_hash() == first
    assert OwnImages(saved(tmp_path, PIXELS > 0.4)).data_hash() != first


def test_the_config_follows_the_file(tmp_path: Path) -> None:
    own = ["dataset=latents", f"dataset.path={saved(tmp_path, PIXELS)}"]
    dataset: Any = compose("train_vae", [*own, "vae.latent_dim=2"]).dataset
    assert (dataset.image_size, dataset.channels, dataset.dim) == (32, 3, 2)
    with pytest.raises(BadConfig, match=r"10 dimensions needs at least 100 points.*got 20\. Give more images"):
        compose("train_flow", own)
    with pytest.raises(BadConfig, match=r"1\.\.20"):
        dataset.n_images = 21
        image_index(dataset.n_images, OwnImages(dataset.path))


@pytest.mark.parametrize("shape", [(5, 28, 28), (5, 32, 32, 3), (5, 32)])
def test_other_shapes_are_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(Exception, match="32 or 64"):
        compose("train_vae", ["dataset=latents", f"dataset.path={saved(tmp_path, np.zeros(shape))}"])
    with pytest.raises(Exception, match="no such file"):
        compose("train_vae", ["dataset=latents", f"dataset.path={tmp_path / 'none.npy'}"])
