"""The checkpoint of an unfinished training: whole and as it was written, or not used.

::

    <work>/last-<first 16 digits of its sha256>.ckpt

A name that says the content costs no second file, so there is no moment at which the two disagree. Lightning's reader
takes a file with a flipped bit for a whole one, and would go on from wrong weights.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from gpot.store import file_sha256

log = logging.getLogger(__name__)

_DIGITS = 16


class InPlace(TorchCheckpointIO):
    """Write a checkpoint where it is asked for.

    Departure: Lightning writes it to the system's temporary folder, which may be full, and where a kill leaves it for
    good; and moves it from there, which is a copy, and not atomic, where that is another file system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Writes the file; an error of the disk is an OSError."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        Path(path).write_bytes(content.getbuffer())


class LastCheckpoint(Checkpoint):
    """Write the state of the training to the folder `work` after each epoch; a kill meanwhile leaves that of the epoch
    before."""

    def __init__(self, work: Path) -> None:
        self.work = work

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        partial = self.work / "last.partial"
        trainer.save_checkpoint(partial, weights_only=False)
        if trainer.is_global_zero:
            name = f"last-{file_sha256(partial)[:_DIGITS]}.ckpt"
            partial.replace(self.work / name)
            for older in self.work.glob("last*.ckpt"):
                if older.name != name:
                    older.unlink()


def last_checkpoint(work: Path) -> Path | None:
    """The newest checkpoint of a folder that is as it was written; None for none.

    Any other is said to be damaged, and removed: the training it was of starts anew, or from an older one.
    """
    found = None
    for path in sorted(work.glob("last*.ckpt"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        if path.stem == f"last-{file_sha256(path)[:_DIGITS]}":
            found = found or path
        else:
            log.warning("%s is not as it was written: no training goes on from there, and the file is removed", path)
            path.unlink()
    return found
