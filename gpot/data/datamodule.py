"""Arrays in memory as Lightning data, in an order that a seed and the step number fix, so that a resumed run goes on as
it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

Batch = tuple[Tensor, ...]


class ArrayDataset(Dataset[Batch]):
    """Rows of tensors of equal length, fetched a batch at a time. transform: applied to the batch (unpacking,
    scaling)."""

    def __init__(self, tensors: Sequence[Tensor], transform: Callable[..., Batch] | None = None) -> None:
        self.tensors = tuple(tensors)
        self.transform = transform

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitems__(self, index: list[int] | Tensor) -> Batch:
        rows = torch.as_tensor(index)
        batch = tuple(tensor[rows] for tensor in self.tensors)
        return batch if self.transform is None else self.transform(*batch)


class ShuffledBatches(Sampler[Tensor]):
    """Batches of row numbers: pass k over the data is a permutation drawn with seed + k, incomplete last batches are
    left out.

    One iteration yields `n_batches` batches and starts where the `epoch` before ended: batch number epoch * n_batches
    of the endless sequence. Batches therefore depend on the seed and the step alone, not on where training was
    interrupted.

    Several processes share each batch: after `set_share(rank, processes)` this one has rows rank, rank + processes, ...
    of it, so that together they see what one process would.
    """

    def __init__(self, n_rows: int, batch_size: int, n_batches: int, seed: int) -> None:
        self.n_rows, self.batch_size, self.n_batches, self.seed = n_rows, min(batch_size, n_rows), n_batches, seed
        self.epoch = 0
        self.rank, self.processes = 0, 1

    def set_share(self, rank: int, processes: int) -> None:
        self.rank, self.processes = rank, processes

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[Tensor]:
        per_pass = self.n_rows // self.batch_size
        pass_number, order = -1, torch.empty(0)
        for step in range(self.epoch * self.n_batches, (self.epoch + 1) * self.n_batches):
            number, place = divmod(step, per_pass)
            if number != pass_number:
                generator = torch.Generator().manual_seed(self.seed + number)
                pass_number, order = number, torch.randperm(self.n_rows, generator=generator)
            yield order[place * self.batch_size : (place + 1) * self.batch_size][self.rank :: self.processes]


def _unchanged(batch: Batch) -> Batch:
    return batch


class ArrayDataModule(L.LightningDataModule):
    """Training and validation arrays.

    Arguments:
        train, validation: tuples of tensors of equal length.
        batch_size: rows of a training batch (all the rows, if there are fewer).
        n_batches: training batches of one Lightning epoch.
        seed: of the order.
        transform: see ArrayDataset.
    """

    def __init__(
        self,
        train: Sequence[Tensor],
        validation: Sequence[Tensor],
        *,
        batch_size: int,
        n_batches: int,
        seed: int,
        transform: Callable[..., Batch] | None = None,
        validation_batch_size: int = 4096,
    ) -> None:
        super().__init__()
        self.train, self.validation = ArrayDataset(train, transform), ArrayDataset(validation, transform)
        self.sampler = ShuffledBatches(len(self.train), batch_size, n_batches, seed)
        self.validation_batch_size = validation_batch_size

    def train_dataloader(self) -> DataLoader[Batch]:
        if self.trainer is not None:
            self.sampler.set_epoch(self.trainer.current_epoch)
            self.sampler.set_share(self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(self.train, batch_sampler=self.sampler, collate_fn=_unchanged)  # type: ignore[arg-type]

    def val_dataloader(self) -> DataLoader[Batch]:
        batch_size = self.validation_batch_size
        return DataLoader(self.validation, batch_size=batch_size, collate_fn=_unchanged)  # type: ignore[arg-type]
