"""Training of the Gaussian-preserving flow."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from gpot.config.choices import PenaltyKind
from gpot.config.schema import OptimizerConfig, PenaltyConfig
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.optimizer import Descent, optimizer_of
from gpot.maths.costs import Cost, descended, squared_euclidean
from gpot.maths.euler import euler_penalty, kinetic_energy
from gpot.tracking.names import PENALTY_WEIGHT, TRAIN_COST, TRAIN_PENALTY, VAL_COST
from gpot.training.schedule import penalty_weight, scheduled


class GPModule(L.LightningModule):
    r"""Minimize :math:`E\,c(x, s(z)) + \lambda R` over the velocity (eq. 13), on pairs (x, z = f(x)).

    R is Euler's penalty (eq. 11) at the time steps, or the kinetic energy (eq. 9), or nothing; lambda follows
    :func:`gpot.training.schedule.penalty_weight`. The frozen flow f is not part of the module: the pairs hold what it
    did. Departure: the paper takes Euler's penalty over the whole batch. It is a mean over particles, so any
    `penalty.particles` of a shuffled batch estimate it without bias, at a fraction of its cost. Processes that share a
    batch share those particles.

    Arguments:
        gp: the flow s.
        penalty, optimizer: settings.
        epochs, steps: of the whole run.
        cost: c, |x - s|^2 in the paper; one with a smoothing is descended on with that of the epoch, and validated as
            it is.
        descent: how the parameters of s move.
    """

    def __init__(
        self,
        gp: GaussianPreserving,
        penalty: PenaltyConfig,
        optimizer: OptimizerConfig,
        epochs: int,
        steps: int,
        cost: Cost = squared_euclidean,
        descent: Descent = Descent.adam,
    ) -> None:
        super().__init__()
        self.gp, self.penalty, self.optimizer_config = gp, penalty, optimizer
        self.epochs, self.steps = epochs, steps
        self.cost, self.descent = cost, descent

    @property
    def weight(self) -> float:
        """lambda of the current epoch."""
        return penalty_weight(self.penalty.weight, self.penalty.halvings, self.current_epoch, self.epochs)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        x, z = batch
        cost_now = descended(self.cost, min(1.0, self.current_epoch / max(1, self.epochs - 1)))
        if self.penalty.acting is PenaltyKind.none:
            loss = cost = cost_now(x, self.gp.transport(z)).mean()
        else:
            gp = self.gp.flow_in_time
            assert gp is not None  # a penalty is of a path: the rule `penalty_has_a_path`
            s, penalty = self._with_penalty(gp, z)
            cost = cost_now(x, s).mean()
            loss = cost + self.weight * penalty
            self.log(TRAIN_PENALTY, penalty, on_step=False, on_epoch=True, batch_size=len(x), sync_dist=True)
        self.log(TRAIN_COST, cost, on_step=False, on_epoch=True, prog_bar=True, batch_size=len(x), sync_dist=True)
        self.log(PENALTY_WEIGHT, self.weight, on_step=False, on_epoch=True, batch_size=len(x))
        return loss

    @property
    def _particles(self) -> int | None:
        """Particles of this process's share of a batch on which the penalty is estimated; None: all of them."""
        particles, trainer = self.penalty.particles, self._trainer
        if particles is None or trainer is None:
            return particles
        return max(1, len(range(trainer.global_rank, particles, trainer.world_size)))

    def _with_penalty(self, gp: GaussianPreservingFlow, z: Tensor) -> tuple[Tensor, Tensor]:
        """s(z) and R of its path."""
        if self.penalty.kind is PenaltyKind.kinetic:
            s, path = gp.forward_with_path(z)
            return s, kinetic_energy(path.velocities[:-1], 1.0 / gp.n_steps)
        s, times, points = gp.forward_with_points(z)
        return s, euler_penalty(
            gp.penalty_field(),
            times[:-1],
            gp.penalty_points(points[:-1, : self._particles]),
            probes=self.penalty.probes,
            exact=self.penalty.exact,
            reduction=self.penalty.time.value,
            at_once=gp.velocity.takes_times,
            along=gp.penalty_along(),
        )

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        x, z = batch
        with torch.no_grad():
            cost = self.cost(x, self.gp.transport(z)).mean()
        self.log(VAL_COST, cost, prog_bar=True, batch_size=len(x))

    def configure_optimizers(self) -> Any:
        config = self.optimizer_config
        optimizer = optimizer_of(self.gp, self.descent, config.lr, config.weight_decay)
        return scheduled(optimizer, config, self.steps)
