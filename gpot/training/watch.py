"""What a run with a logger shows beyond its losses: learning rate, energy, the paper's numbers, pictures at intervals.

Nothing here changes a result: no random number of the training is drawn, and no parameter is touched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback
from matplotlib.figure import Figure

from gpot.evaluation.energy import cube_energy
from gpot.gp.flow import GaussianPreservingFlow
from gpot.tracking.loggers import pixels_of
from gpot.tracking.names import TRAIN_LR, VAL_ENERGY
from gpot.tracking.run_logger import RunLogger

Draw = Callable[[], Figure]

_ENERGY_PARTICLES = 1024


class LearningRate(Callback):
    """`train/lr`, at the end of each epoch, where there is a logger."""

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.logger is not None:
            # not by module.log: that would make it a metric of the training
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            trainer.logger.log_metrics({TRAIN_LR: rate}, step=trainer.global_step - 1)


class PaperLines(Callback):
    """The paper's numbers at every validation: in a plot beside ours, a horizontal line. numbers: by their names."""

    def __init__(self, numbers: Mapping[str, float]) -> None:
        self.numbers = numbers

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not trainer.sanity_checking:
            module.log_dict(dict(self.numbers))


class Energy(Callback):
    """`val/energy` of a GP flow, over the same particles each time. NaN where one of them leaves the domain."""

    def __init__(self, gp: GaussianPreservingFlow, seed: int) -> None:
        self.gp, self.seed = gp, seed

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        draw = torch.Generator(self.gp.rotation.device).manual_seed(self.seed)
        gp = copy.deepcopy(self.gp).counting()  # a number for a plot does not end a training
        module.log(VAL_ENERGY, cube_energy(gp, _ENERGY_PARTICLES, draw).mean)


class FiguresAtIntervals(Callback):
    """Draw and log pictures `times` times over the run, the last time at its end.

    Arguments:
        logger: where they go.
        draw: by the names of `gpot.tracking.names`, functions that draw the map as it is now.
    """

    def __init__(self, logger: RunLogger, draw: Mapping[str, Draw], times: int) -> None:
        self.logger, self.draw, self.times = logger, draw, times

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        every = trainer.check_val_every_n_epoch or 1
        if trainer.sanity_checking or not due(
            trainer.current_epoch // every, (trainer.max_epochs or 1) // every, self.times
        ):
            return
        for key, make in self.draw.items():
            self.logger.images(key, {f"epoch {trainer.current_epoch}": pixels_of(make())}, trainer.global_step - 1)


def due(epoch: int, epochs: int, times: int) -> bool:
    """Whether an epoch, from 0, is one of `times` of `epochs` at equal distances, of which the last is one.

    >>> [epoch for epoch in range(10) if due(epoch, 10, 3)]
    [3, 6, 9]
    """
    return (epoch + 1) * times // epochs > epoch * times // epochs
