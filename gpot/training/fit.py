"""One training loop for all stages: Lightning, resumed from its last checkpoint after a kill."""

from __future__ import annotations

import copy
import logging
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from gpot.config.choices import Precision
from gpot.config.schema import Config, OptimizerConfig
from gpot.data.datamodule import ArrayDataModule
from gpot.training.callbacks import EpochSeed, LastCheckpoint, StopWhenNotFinite
from gpot.training.history import HISTORY, History
from gpot.training.loggers import RunLogger, lightning_logger
from gpot.training.progress import duration, progress_callback
from gpot.training.watch import LearningRate

log = logging.getLogger(__name__)

_PRECISION: dict[Precision, Any] = {Precision.float32: "32-true", Precision.bfloat16: "bf16-mixed"}


def fit(
    module: L.LightningModule,
    data: ArrayDataModule,
    config: Config,
    *,
    epochs: int,
    work: Path,
    name: str,
    optimizer: OptimizerConfig,
    callbacks: Sequence[Callback] = (),
    precision: Precision = Precision.float32,
    logger: RunLogger | None = None,
) -> L.Trainer:
    """Train to the last epoch, from `work/last.ckpt` if that is there.

    Arguments: module, data: what learns from what. config: the device is taken from it. epochs: Lightning
    epochs. work: folder of the checkpoints. name: of the run, for progress. optimizer: its gradient clip is
    used here. callbacks: further ones. precision: of the network's products. logger: from `open_logger`. Returns: the
    trainer, at its end.
    """
    last = work / "last.ckpt"
    ours: list[Callback] = [EpochSeed(config.seed), StopWhenNotFinite(), LastCheckpoint(last), LearningRate()]
    ours.append(History(work / HISTORY))
    if last.is_file():
        log.info("%s: resuming from its last checkpoint", name)
    elif config.device.accelerator == "cpu":
        _announce(module, data, config, epochs * len(data.sampler), name)
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # data is in memory already, so Lightning's advice on workers does not apply
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        warnings.filterwarnings("ignore", message=".*`srun` command is available.*")
        trainer = L.Trainer(
            accelerator=config.device.accelerator,
            devices=config.device.devices,
            max_epochs=epochs,
            precision=_PRECISION[precision],
            gradient_clip_val=optimizer.gradient_clip,
            logger=lightning_logger(logger),
            callbacks=[*callbacks, *ours, progress_callback(name)],
            enable_model_summary=False,
            enable_progress_bar=False,  # ours covers the whole run, Lightning's one epoch
            num_sanity_val_steps=0,
            log_every_n_steps=min(50, len(data.sampler)),
            reload_dataloaders_every_n_epochs=1,
            default_root_dir=work,
        )
        try:
            trainer.fit(module, data, ckpt_path=last if last.is_file() else None)
        except SIGTERMException as stop:
            raise SystemExit(128 + signal.SIGTERM) from stop  # Lightning would end with status 0, as if all were done
    return trainer


def intervals(steps: int, per_pass: int, at_most: int) -> tuple[int, int]:
    """Lightning epochs and batches of each, so that checkpoints are no further apart than `at_most` steps.

    steps: of the whole run, a multiple of per_pass. per_pass: batches of one pass over the data.

    >>> intervals(57_600, 11_520, at_most=1200)
    (50, 1152)
    """
    parts = next(k for k in range(1, per_pass + 1) if per_pass % k == 0 and per_pass // k <= at_most)
    return steps // per_pass * parts, per_pass // parts


_TIMED_STEPS = 3
_LONG = 3600.0  # seconds


def _announce(module: L.LightningModule, data: ArrayDataModule, config: Config, steps: int, name: str) -> None:
    """Time a few steps on a copy, and say before a run on a CPU how long it will take; with emphasis if that is
    long."""
    trial = copy.deepcopy(module)
    batches = [data.train.__getitems__(rows) for rows, _ in zip(data.sampler, range(1 + _TIMED_STEPS), strict=False)]
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the copy has no trainer to log to
        start = time.monotonic()
        for number, batch in enumerate(batches):
            if number == 1:
                start = time.monotonic()  # the first step warms up
            loss: Any = trial.training_step(batch, number)
            loss.backward()
    seconds = steps * (time.monotonic() - start) / max(1, len(batches) - 1)
    if seconds < _LONG:
        log.info("%s: %d steps, about %s on this CPU", name, steps, duration(seconds))
        return
    log.warning(
        "%s: %d steps at budget=%s on a CPU: about %.1f hours. A GPU (device=gpu) or budget=quick is faster; "
        "an interrupted run goes on from its last checkpoint.",
        name, steps, config.budget.name, seconds / 3600,
    )  # fmt: skip
