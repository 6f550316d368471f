"""Batches in memory: their order is a function of the seed and the step, whatever happened in between."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from gpot.data import dsprites
from gpot.data.datamodule import ArrayDataModule, ShuffledBatches
from gpot.data.images import DSpritesImages


def sequence(sampler: ShuffledBatches, epochs: range) -> list[list[int]]:
    """Rows of each batch over those epochs."""
    batches = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        taken = [rows.tolist() for rows in sampler]
        assert len(taken) == len(sampler)
        batches += taken
    return batches


# rows, batch size, batches of one epoch: a whole pass, a part, several, and neither a divisor nor a multiple
SIZES = [(12, 4, 3), (13, 4, 3), (12, 4, 1), (12, 2, 3), (12, 4, 9), (23, 5, 7), (5, 5, 2), (3, 8, 2)]


@pytest.mark.parametrize(("n_rows", "batch_size", "n_batches"), SIZES)
def test_each_pass_is_a_permutation_in_batches_of_full_size(n_rows: int, batch_size: int, n_batches: int) -> None:
    batches = sequence(ShuffledBatches(n_rows, batch_size, n_batches, seed=7), range(40))
    size = min(batch_size, n_rows)
    per_pass = n_rows // size
    starts = range(0, len(batches) - per_pass + 1, per_pass)
    passes = [[row for rows in batches[k : k + per_pass] for row in rows] for k in starts]
    for rows in passes:
        assert len(set(rows)) == len(rows) == per_pass * size and set(rows) <= set(range(n_rows))
    assert all(len(rows) == size for rows in batches)
    assert len({tuple(rows) for rows in passes}) > 1, "passes differ"
    assert set().union(*passes) == set(range(n_rows)), "what one pass leaves out, another has"


@pytest.mark.parametrize(("n_rows", "batch_size", "n_batches"), SIZES)
def test_batches_depend_on_the_seed_and_the_step_alone(n_rows: int, batch_size: int, n_batches: int) -> None:
    whole = sequence(ShuffledBatches(n_rows, batch_size, n_batches, seed=7), range(10))
    for start in (1, 3, 9):
        torch.rand(start)  # whatever else was drawn
        resumed = sequence(ShuffledBatches(n_rows, batch_size, n_batches, seed=7), range(start, 10))
        assert resumed == whole[start * n_batches :]
    finer = sequence(ShuffledBatches(n_rows, batch_size, 1, seed=7), range(10 * n_batches))
    assert finer == whole, "how steps are cut into epochs does not matter"
    assert sequence(ShuffledBatches(n_rows, batch_size, n_batches, seed=80), range(10)) != whole


def make(seed: int = 3, n_batches: int = 4, offset: float = 0.0) -> ArrayDataModule:
    x = torch.arange(30, dtype=torch.float64)
    pairs = (x[:, None], 100 + x)

    def shift(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return x + offset, z + offset

    return ArrayDataModule(
        pairs, (x[:11, None], 100 + x[:11]),
        batch_size=7, n_batches=n_batches, seed=seed, transform=shift if offset else None, validation_batch_size=4,
    )  # fmt: skip


def at_epoch(data: ArrayDataModule, epoch: int) -> list[tuple[Tensor, ...]]:
    data.trainer = SimpleNamespace(current_epoch=epoch, global_rank=0, world_size=1)  # type: ignore[assignment]
    return list(data.train_dataloader())


def test_loader_of_an_epoch_starts_where_the_one_before_ended() -> None:
    data = make()
    whole = [batch for epoch in range(5) for batch in at_epoch(data, epoch)]
    assert len(whole) == 20
    resumed = [batch for epoch in range(2, 5) for batch in at_epoch(make(), epoch)]
    for (x, z), (x_whole, z_whole) in zip(resumed, whole[8:], strict=True):
        assert torch.equal(x, x_whole) and torch.equal(z, z_whole)
    for x, z in whole:
        assert x.shape == (7, 1) and z.shape == (7,) and torch.equal(z, 100 + x[:, 0]), "pairs stay together"
    first_pass = torch.cat([x for x, _ in whole[:4]])
    assert len(first_pass.unique()) == 28, "30 rows, 4 full batches of 7"


def test_the_transform_sees_each_batch_of_training_and_validation() -> None:
    plain, shifted = at_epoch(make(), 1), at_epoch(make(offset=0.5), 1)
    for (x, z), (x_shifted, z_shifted) in zip(plain, shifted, strict=True):
        assert torch.equal(x + 0.5, x_shifted) and torch.equal(z + 0.5, z_shifted)
    assert make(offset=0.5).train.tensors[0][0] == 0, "the arrays stay as they are"


def test_validation_is_every_row_once_in_order() -> None:
    batches = list(make(offset=0.5).val_dataloader())
    assert [len(x) for x, _ in batches] == [4, 4, 3]
    assert torch.equal(torch.cat([x for x, _ in batches])[:, 0], torch.arange(11) + 0.5)


def test_unpack_batch_is_the_unpacking_of_the_renderer() -> None:
    packed = np.random.default_rng(0).integers(0, 256, (5, 512), dtype=np.uint8)
    (images,) = DSpritesImages(None).unpack(torch.from_numpy(packed))
    assert images.shape == (5, 1, 64, 64) and images.dtype == torch.float32
    assert np.array_equal(images[:, 0].numpy(), dsprites.unpack(packed))
    drawn = dsprites.render_packed(np.array([0, 123_456, dsprites.N_IMAGES - 1]))
    pixels = dsprites.render(dsprites.classes_of(np.array([0, 123_456, dsprites.N_IMAGES - 1])))
    (unpacked,) = DSpritesImages(None).unpack(torch.from_numpy(drawn))
    assert np.array_equal(unpacked[:, 0].numpy(), pixels) and pixels.any()
