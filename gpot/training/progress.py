"""How far a training is: a bar with the time that is left, cost and escaped particles; plain lines where there is no
terminal."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gpot.tracking.names import TRAIN_COST, TRAIN_LOSS, TRAIN_NLL, WORDS

log = logging.getLogger(__name__)

_REFRESH = 0.5  # seconds: reading a loss waits for a GPU
_LONGEST_SILENCE = 600.0  # seconds without a line
_LINES = 10  # of a run, where there is no terminal
_TRAINED = {TRAIN_LOSS: "loss", TRAIN_NLL: "NLL", TRAIN_COST: "cost"}  # until there is a validation


def progress_callback(name: str, console: Console | None = None) -> Callback:
    """The bar in a terminal, lines through `logging` elsewhere (a file, a pipe, a terminal without cursor)."""
    console = console or Console(stderr=True)
    return ProgressLine(name, console) if console.is_interactive else EpochLines(name)


def numbers(metrics: dict[str, Any]) -> str:
    """`cost 1.05  log-det error 2.1e-05  escaped 0`: of what was logged, that which progress shows."""
    values = {word: float(metrics[key]) for key, word in WORDS.items() if key in metrics}
    values = values or {word: float(metrics[key]) for key, word in _TRAINED.items() if key in metrics}
    return "  ".join(f"{word} {value:.4g}" for word, value in values.items())


def duration(seconds: float) -> str:
    """A time as one reads it.

    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


class ProgressLine(Callback):
    """One line for the whole run: epochs, time taken and left, the loss, and the numbers of the last validation.

    Log lines go above it while it is shown. It stays when the run ends.
    """

    def __init__(self, name: str, console: Console) -> None:
        self.name, self.console = name, console
        self.progress: Progress | None = None
        self.task = TaskID(0)
        self.loss, self.read_at = "", 0.0
        self._streams: list[tuple[logging.StreamHandler[Any], Any]] = []

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[epoch]}"),
            TimeElapsedColumn(), TextColumn("ETA"), TimeRemainingColumn(), TextColumn("{task.fields[numbers]}"),
            console=self.console,
        )  # fmt: skip
        steps = int(trainer.num_training_batches)
        self.task = self.progress.add_task(
            self.name, total=(trainer.max_epochs or 1) * steps, completed=trainer.current_epoch * steps,
            epoch=self._epoch(trainer), numbers="",
        )  # fmt: skip
        self.progress.start()
        self._lines_above()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        if self.progress is None:
            return
        self.progress.advance(self.task)
        if time.monotonic() - self.read_at >= _REFRESH:
            self.read_at = time.monotonic()
            loss = outputs["loss"] if isinstance(outputs, dict) else outputs
            self.loss = f"loss {float(loss):.4g}"
            self._show(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.progress is not None:
            self._show(trainer)

    def on_train_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: L.Trainer, module: L.LightningModule, exception: BaseException) -> None:
        self._stop()

    def _show(self, trainer: L.Trainer) -> None:
        assert self.progress is not None
        text = "  ".join(part for part in (self.loss, numbers(trainer.callback_metrics)) if part)
        self.progress.update(self.task, epoch=self._epoch(trainer), numbers=text)

    @staticmethod
    def _epoch(trainer: L.Trainer) -> str:
        return f"epoch {min(trainer.current_epoch + 1, trainer.max_epochs or 1)}/{trainer.max_epochs}"

    def _lines_above(self) -> None:
        """Log handlers hold the stream that they were made with: give them the one that rich has put in its place."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler) and handler.stream in (sys.__stderr__, self.console.file):
                self._streams.append((handler, handler.setStream(sys.stderr)))

    def _stop(self) -> None:
        if self.progress is None:
            return
        self.progress.stop()
        self.progress = None
        for handler, stream in self._streams:
            handler.setStream(stream)
        self._streams.clear()


class EpochLines(Callback):
    """About ten lines over the run, and one at least every ten minutes: the last validation, and the time left."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.start, self.first, self.spoke = 0.0, 0, 0.0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.start = self.spoke = time.monotonic()
        self.first = trainer.current_epoch

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        total = trainer.max_epochs or 1
        epoch, now = trainer.current_epoch + 1, time.monotonic()
        due = epoch % max(1, total // _LINES) == 0 or epoch == total or now - self.spoke >= _LONGEST_SILENCE
        if not due or not trainer.is_global_zero:
            return
        self.spoke = now
        left = (now - self.start) / max(1, epoch - self.first) * (total - epoch)
        parts = [f"{self.name}: epoch {epoch}/{total}", numbers(trainer.callback_metrics)]
        log.info("  ".join([*(part for part in parts if part), f"ETA {duration(left)}"]))
