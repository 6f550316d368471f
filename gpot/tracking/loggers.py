"""Where curves, figures and tables go: CSV files, TensorBoard or W&B, under the same names (`gpot.tracking.names`)."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread, imsave

from gpot.config.choices import LoggerKind
from gpot.config.schema import LoggerConfig
from gpot.store import Artifact
from gpot.tracking.run_logger import Description, Pixels, RunLogger

_DPI = 110


def open_logger(logger: LoggerConfig, folder: str, about: Description, resume: Path | None = None) -> RunLogger | None:
    """The logger of the `logger` group for one run; None for `logger=none`, and in all processes but the first.

    Arguments:
        logger: which, and of W&B how.
        folder: `paths.logs`.
        about: the run.
        resume: a file that survives a kill: what it holds lets W&B go on with the same run.
    Raises: BadConfig or LoggerUnavailable, of W&B alone.
    """
    kind = logger.kind
    if kind is LoggerKind.none or getattr(rank_zero_only, "rank", 0) != 0:
        return None
    if kind is LoggerKind.wandb:
        from gpot.tracking.wandb_logger import start  # here, because wandb takes a second to import

        return start(logger, folder, about, resume)
    run: CsvRun | TensorBoardRun
    if kind is LoggerKind.csv:
        run = CsvRun(folder, name=about.folder)
    else:
        run = TensorBoardRun(folder, name=about.folder, default_hp_metric=False)
    run.log_hyperparams(dict(about.settings))
    return run


def lightning_logger(logger: RunLogger | None) -> Logger | bool:
    """As Lightning's Trainer takes it."""
    return False if logger is None else cast(Logger, logger)


class CsvRun(CSVLogger):
    """`metrics.csv` and `hparams.yaml`; pictures and tables beside them, in files named by their keys."""

    def images(self, key: str, images: Mapping[str, Pixels], step: int) -> None:
        for number, pixels in enumerate(images.values()):
            suffix = f"_{number}" if len(images) > 1 else ""
            imsave(self._file(f"{key}_{step:08d}{suffix}.png"), pixels)

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        with open(self._file(f"{key}.csv"), "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])

    def result(self, artifact: Artifact | None, inputs: Iterable[Artifact]) -> None:
        """Nothing more: hparams.yaml has the key."""

    def close(self, failed: bool = False) -> None:
        self.save()

    def _file(self, name: str) -> Path:
        path = Path(self.log_dir) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class TensorBoardRun(TensorBoardLogger):
    """Scalars, images, and tables as text."""

    def images(self, key: str, images: Mapping[str, Pixels], step: int) -> None:
        for number, pixels in enumerate(images.values()):
            self.experiment.add_image(key, pixels, step + number, dataformats="HWC")

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join("| " + " | ".join("" if v is None else str(v) for v in line) + " |" for line in lines)
        self.experiment.add_text(key, text)

    def result(self, artifact: Artifact | None, inputs: Iterable[Artifact]) -> None:
        """Nothing more: the hyper-parameters have the key."""

    def close(self, failed: bool = False) -> None:
        self.save()
        self.experiment.close()


def pixels_of(picture: Figure | Path) -> Pixels:
    """A matplotlib figure or a PNG file as RGB values."""
    if isinstance(picture, Figure):
        picture.set_dpi(_DPI)
        canvas = FigureCanvasAgg(picture)
        canvas.draw()
        image = np.asarray(canvas.buffer_rgba())
    else:
        image = np.round(255 * imread(picture)).astype(np.uint8)
    return np.ascontiguousarray(image[..., :3])
