"""One training loop for all stages: Lightning, resumed from its last checkpoint after a kill."""

from __future__ import annotations

import logging
import signal
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.exceptions import SIGTERMException

from gpot.config.choices import Precision
from gpot.config.schema import DeviceConfig, OptimizerConfig
from gpot.data.datamodule import ArrayDataModule
from gpot.errors import BadConfig
from gpot.tracking.loggers import lightning_logger
from gpot.tracking.run_logger import RunLogger
from gpot.training.callbacks import EpochSeed, StopWhenNotFinite
from gpot.training.checkpoint import InPlace, LastCheckpoint, last_checkpoint
from gpot.training.history import HISTORY, History
from gpot.training.pace import LONG, TIMED_STEPS, pace
from gpot.training.processes import train_in_processes
from gpot.training.progress import EpochLines, duration, progress_callback
from gpot.training.watch import LearningRate

log = logging.getLogger(__name__)

_PRECISION: dict[Precision, Any] = {Precision.float32: "32-true", Precision.bfloat16: "bf16-mixed"}


def fit(
    module: L.LightningModule,
    data: ArrayDataModule,
    device: DeviceConfig,
    *,
    seed: int,
    epochs: int,
    work: Path,
    name: str,
    optimizer: OptimizerConfig,
    callbacks: Sequence[Callback] = (),
    precision: Precision = Precision.float32,
    logger: RunLogger | None = None,
    separable: bool = True,
) -> Mapping[str, float]:
    """Train to the last epoch, from its last checkpoint if there is one.

    Arguments:
        module, data: what learns from what.
        device: where, and in how many processes.
        seed: of the order of the batches in each epoch.
        epochs: Lightning epochs.
        work: folder of the checkpoints.
        name: of the run, for progress.
        optimizer: its gradient clip is used here.
        callbacks: further ones.
        precision: of the network's products.
        logger: from `open_logger`.
        separable: the loss is a mean over the rows of a batch, so that with `device=ddp` processes may share the batch
            and reach what one would; where it is not, one process trains.
    Returns: the last value of each logged metric.
    Raises: BadConfig where the processes cannot share the batch evenly.
    """
    processes = device.processes if separable else 1
    if processes != device.processes:
        log.warning("%s: one process trains, since its loss is not a mean over the points of a batch", name)
    if data.sampler.batch_size % processes:
        raise BadConfig(
            f"device.strategy=ddp shares each batch among {processes} processes, and a batch of {name} has "
            f"{data.sampler.batch_size} rows. Set a batch_size that is a multiple of {processes}."
        )
    last = last_checkpoint(work)
    if last is not None:
        log.info("%s: resuming from its last checkpoint", name)
    elif device.kind == "cpu":
        _announce(module, data, epochs * len(data.sampler), name, precision)

    def train(module: L.LightningModule, callbacks: Sequence[Callback]) -> Mapping[str, float]:
        return _train(
            module, data, device, seed, epochs, work, last, name, optimizer, callbacks, precision, logger, processes
        )

    return train(module, callbacks) if processes == 1 else train_in_processes(train, module, callbacks, processes)


def _train(
    module: L.LightningModule,
    data: ArrayDataModule,
    device: DeviceConfig,
    seed: int,
    epochs: int,
    work: Path,
    last: Path | None,
    name: str,
    optimizer: OptimizerConfig,
    callbacks: Sequence[Callback],
    precision: Precision,
    logger: RunLogger | None,
    processes: int,
) -> Mapping[str, float]:
    """The trainer of this process: the only one, or one of several that share each batch."""
    ours: list[Callback] = [EpochSeed(seed), StopWhenNotFinite(), LastCheckpoint(work), LearningRate()]
    # to read the metrics is an exchange between processes: the history does it in each, before one alone speaks of them
    ours.append(History(work / HISTORY))
    ours.append(progress_callback(name) if processes == 1 else EpochLines(name))
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        # data is in memory already, so Lightning's advice on workers does not apply
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        warnings.filterwarnings("ignore", message=".*GPU available but not used.*")
        # every process validates on all points, so there is nothing to average
        warnings.filterwarnings("ignore", message=".*It is recommended to use `self.log.*sync_dist.*")
        warnings.filterwarnings("ignore", message=".*The `srun` command is available.*")
        trainer = L.Trainer(
            accelerator=device.kind,
            devices=processes if processes != device.processes else device.devices,
            strategy="auto" if processes == 1 else DDPStrategy(),
            # never Slurm's: its tasks are jobs of a sweep, and not processes of one training
            plugins=[LightningEnvironment(), InPlace()],
            use_distributed_sampler=False,  # the data module shares the batches itself
            max_epochs=epochs,
            check_val_every_n_epoch=validation_interval(epochs),
            precision=_PRECISION[precision],
            gradient_clip_val=optimizer.gradient_clip,
            logger=lightning_logger(logger),
            callbacks=[*callbacks, *ours],
            enable_model_summary=False,
            enable_progress_bar=False,  # ours covers the whole run, Lightning's one epoch
            num_sanity_val_steps=0,
            log_every_n_steps=min(50, len(data.sampler)),
            reload_dataloaders_every_n_epochs=1,
            default_root_dir=work,
        )
        try:
            trainer.fit(module, data, ckpt_path=last)
        except SIGTERMException as stop:
            raise SystemExit(128 + signal.SIGTERM) from stop  # Lightning would end with status 0, as if all were done
    return {key: float(value) for key, value in trainer.callback_metrics.items()}


def intervals(steps: int, per_pass: int, at_most: int) -> tuple[int, int]:
    """Lightning epochs and batches of each, so that checkpoints are no further apart than `at_most` steps.

    steps: of the whole run, a multiple of per_pass. per_pass: batches of one pass over the data.

    >>> intervals(57_600, 11_520, at_most=1200)
    (50, 1152)
    """
    parts = next(k for k in range(1, per_pass + 1) if per_pass % k == 0 and per_pass // k <= at_most)
    return steps // per_pass * parts, per_pass // parts


_VALIDATIONS = 200


def validation_interval(epochs: int) -> int:
    """Epochs from one validation to the next: some `_VALIDATIONS` of them in a run, of which the last epoch's is one.

    A short epoch is a step or two, and its validation would take most of the time. The released code validates every 10
    of its 2,000 epochs, which is what this gives.

    >>> [validation_interval(epochs) for epochs in (25, 200, 1250, 2000)]
    [1, 1, 5, 10]
    """
    return next(k for k in range(max(1, epochs // _VALIDATIONS), 0, -1) if epochs % k == 0)


def _announce(module: L.LightningModule, data: ArrayDataModule, steps: int, name: str, precision: Precision) -> None:
    """Time a few steps, and say before a run on a CPU how long it will take; with emphasis if that is long."""
    batches = [data.train.__getitems__(rows) for rows, _ in zip(data.sampler, range(1 + TIMED_STEPS), strict=False)]
    seconds = pace(module, batches, steps, precision).total
    if seconds < LONG:
        log.info("%s: %d steps, about %s on this CPU", name, steps, duration(seconds))
        return
    log.warning(
        "%s: %d steps on a CPU: about %.1f hours. A GPU (device=gpu) is faster; "
        "an interrupted run goes on from its last checkpoint.",
        name, steps, seconds / 3600,
    )  # fmt: skip
