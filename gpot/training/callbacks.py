"""What is not learning: stop on numbers that are not finite, keep the Gaussian, keep the best, show progress."""

from __future__ import annotations

import logging
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from gpot.errors import GpotError, TrainingDiverged
from gpot.evaluation.fidelity import Best, Guard
from gpot.gp.base import GaussianPreserving
from gpot.tracking.names import ESCAPED, VAL_COST, VAL_LOG_DET_MAX, VAL_LOG_DET_MEAN, VAL_NLL_EXACT, VAL_STEPS

log = logging.getLogger(__name__)


class StopWhenNotFinite(Callback):
    """Raise TrainingDiverged as soon as a training loss is NaN or infinite, naming the epoch and the step."""

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_index: int
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, dict) else outputs
        if not torch.isfinite(loss):
            raise TrainingDiverged(
                f"the training loss must stay finite; it is {float(loss)} at epoch {trainer.current_epoch}, step "
                f"{trainer.global_step}. Lower the learning rate (optimizer.*.lr), or clip the gradient "
                "(optimizer.*.gradient_clip=1)."
            )


class EpochSeed(Callback):
    """Seed torch from the run's seed and the epoch before its first step: what is drawn in an epoch does not depend on
    where the run was interrupted. Of several processes each draws its own."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, batch_index: int) -> None:
        # not when the epoch starts: the data loader draws a number after that, unless the run was resumed just there
        if batch_index > 0:
            return
        # torch reads 32 bits of a seed on the CPU, so the pair is hashed and not packed into 64
        which = [self.seed, trainer.current_epoch, *([trainer.global_rank] if trainer.global_rank else [])]
        torch.manual_seed(int(np.random.SeedSequence(which).generate_state(1)[0]))


class KeepBest(Callback):
    """Keep the weights of the validation with the lowest value of a metric. They are part of the checkpoint: a resumed
    run has the ones that belong to it.

    Arguments:
        monitor: metric, lower is better. A validation that `eligible` refuses is never kept.
        network: what is kept.
    """

    def __init__(self, monitor: str, network: torch.nn.Module) -> None:
        self.monitor, self.network = monitor, network
        self.kept = Best()
        self.weights: dict[str, Tensor] = {}

    @property
    def best(self) -> float:
        """The metric of the kept validation, infinite while there is none."""
        return self.kept.value

    @property
    def best_epoch(self) -> int:
        """The epoch of the kept validation, -1 while there is none."""
        return self.kept.at

    def eligible(self, trainer: L.Trainer) -> bool:
        return True

    def on_validation_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking or not self.eligible(trainer):
            return
        # every process validates on all points; the first one's number decides for all
        value = trainer.strategy.broadcast(float(trainer.callback_metrics[self.monitor]))
        if self.kept.offer(value, trainer.current_epoch):
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def nothing_kept(self) -> GpotError:
        return TrainingDiverged(
            f"the result is the best validation by {self.monitor}, and none of them was finite. Lower the learning "
            "rate (optimizer.*.lr), or train for more epochs."
        )

    def restore(self) -> None:
        """Load the kept weights back into the network. Raises: TrainingDiverged or FidelityLost if there are none."""
        if self.best_epoch < 0:
            raise self.nothing_kept()
        self.network.load_state_dict(self.weights)

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch, "weights": self.weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept.value, self.kept.at = state["best"], state["best_epoch"]
        self.weights = dict(state["weights"])


class FidelityGuard(KeepBest):
    """KeepBest for a GP flow, under the law: the rule of `gpot.evaluation.fidelity.Guard` at each validation, which
    logs what it measures (`val/logdet_error_mean`, `_max`, nats).

    Arguments:
        gp: the flow.
        z: (n, d) held-out points of the Gaussian side.
        tolerance: mean absolute error, nats.
        max_steps: finest grid.
        flow_nll: mean -log p of the frozen flow at the points behind z, nats; with it the exact one of s o f is logged
            there, which differs by the mean log-determinant error.
    """

    def __init__(
        self,
        gp: GaussianPreserving,
        z: Tensor,
        tolerance: float,
        max_steps: int,
        flow_nll: float | None = None,
    ) -> None:
        super().__init__(VAL_COST, gp)
        self.gp, self.z = gp, z
        self.guard = Guard(gp, tolerance, max_steps)
        self.flow_nll = flow_nll

    @property
    def refinements(self) -> int:
        """How often the grid was refined."""
        return self.guard.refinements

    def on_validation_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.sanity_checking:
            return
        fidelity = trainer.strategy.broadcast(self.guard.measure(self.z.to(module.device)))  # all refine, or none does
        module.log(VAL_LOG_DET_MEAN, fidelity.error.mean)
        module.log(VAL_LOG_DET_MAX, fidelity.error.max)
        module.log(ESCAPED, fidelity.escaped)
        if self.flow_nll is not None:
            module.log(VAL_NLL_EXACT, self.flow_nll - fidelity.error.bias)
        if self.gp.flow_in_time is not None:
            module.log(VAL_STEPS, float(self.gp.flow_in_time.n_steps))
        if refined := self.guard.judge(fidelity, f"epoch {trainer.current_epoch}"):
            log.warning("%s", refined)

    def eligible(self, trainer: L.Trainer) -> bool:
        return self.guard.within

    def nothing_kept(self) -> GpotError:
        return self.guard.nothing_kept()

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"refinements": self.refinements}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.guard.refinements = state["refinements"]
