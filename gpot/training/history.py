"""The course of a training, epoch by epoch: kept beside the weights, for the curves of the report page."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback

HISTORY = "history.json"
_DIGITS = 6  # significant ones: a curve shows no more
_VALIDATED = ("val/", "domain/")
_KEPT = ("train/", "penalty/", *_VALIDATED)


class History(Callback):
    """The metrics of each epoch, in `file` when the training ends: a list of dictionaries, `epoch` and what was logged
    in it; of an epoch without a validation, those of the training alone.

    What is not finite is null. It is part of the checkpoint, so a resumed run goes on where it was; a run that an error
    ends, as a GP flow that can no longer keep the Gaussian, leaves what it had.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.epochs: list[dict[str, float | int | None]] = []

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(_KEPT)}
        if (trainer.current_epoch + 1) % (trainer.check_val_every_n_epoch or 1):  # else Lightning repeats the last ones
            logged = {name: value for name, value in logged.items() if not name.startswith(_VALIDATED)}
        self.epochs.append({"epoch": trainer.current_epoch, **{name: _short(value) for name, value in logged.items()}})

    def on_fit_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._write(trainer)

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self._write(trainer)

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.epochs = list(state["epochs"])

    def _write(self, trainer: L.Trainer) -> None:
        if trainer.is_global_zero:
            self.file.write_text(json.dumps(self.epochs, allow_nan=False) + "\n", encoding="utf-8")


def keep_history(work: Path, folder: Path) -> None:
    """Copy the course of a training from its work folder to the artefact; one that trained nothing has none."""
    if (work / HISTORY).is_file():
        shutil.copyfile(work / HISTORY, folder / HISTORY)


def _short(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
