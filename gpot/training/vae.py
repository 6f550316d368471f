"""Training of the beta-TCVAE."""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
from torch import Tensor

from gpot.config.schema import OptimizerConfig, VaeConfig
from gpot.maths.schedule import through_points
from gpot.tracking.names import VAE_TERMS
from gpot.training.schedule import adam
from third_party.btcvae import BetaTCVAE, LossTerms, annealing, btcvae_loss, pressure, training_forward


def _values(terms: LossTerms) -> Tensor:
    """The loss and its parts, without a gradient."""
    return torch.stack([terms.total, *(getattr(terms, term) for term in VAE_TERMS)]).detach()


def kl_per_axis(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) | N(0, 1)) of each coordinate (d,), the mean over codes (n, d), nats."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)


def weights_at(step: int, config: VaeConfig) -> tuple[float, float, float]:
    r"""alpha, beta and gamma at an optimizer step, from 1: each times the pressure, and at most the ceiling there.

    With a ceiling c (ours), straight lines through the config's {step: weight}, a weight is at most c(step). A low one
    for an epoch lets codes learn what a high weight keeps from them: a rotation, of which a little is worth nothing to
    the decoder, is then cheap on the way to the whole.
    """
    factor = pressure(step, config.pressure_start, config.pressure_steps)
    ceiling = through_points(step - 1, config.ceiling) if config.ceiling else math.inf
    alpha, beta, gamma = (min(factor * weight, ceiling) for weight in (config.alpha, config.beta, config.gamma))
    return alpha, beta, gamma


class VAEModule(L.LightningModule):
    """The objective of third_party/btcvae/loss.py.

    Arguments:
        network: what learns.
        config: weights of the objective.
        optimizer: Adam's settings.
        dataset_size: N of the minibatch estimators.
        steps: optimizer steps of the whole run.
    """

    def __init__(
        self, network: BetaTCVAE, config: VaeConfig, optimizer: OptimizerConfig, dataset_size: int, steps: int
    ) -> None:
        super().__init__()
        self.network, self.config, self.optimizer_config = network, config, optimizer
        self.dataset_size, self.steps = dataset_size, steps
        self._totals = torch.zeros(1 + len(VAE_TERMS))

    def _terms(self, x: Tensor, anneal: float, weights: tuple[float, float, float]) -> LossTerms:
        outputs = training_forward(self.network, x) if x.device.type == "cpu" else self.network(x)
        logits, mean, log_variance, z = (tensor.float() for tensor in outputs)
        alpha, beta, gamma = weights
        return btcvae_loss(
            logits, x, mean, log_variance, z,
            dataset_size=self.dataset_size,
            alpha=alpha, beta=beta, gamma=gamma, anneal=anneal, estimator=self.config.estimator,
        )  # fmt: skip

    def on_train_epoch_start(self) -> None:
        self._totals = torch.zeros(1 + len(VAE_TERMS), device=self.device)

    def training_step(self, batch: tuple[Tensor], _: int) -> Tensor:
        step, config = self.global_step + 1, self.config
        weights = weights_at(step, config)
        terms = self._terms(batch[0], annealing(step, config.annealing_steps), weights)
        self._totals += _values(terms)
        return terms.total

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_index: int) -> None:
        if batch_index + 1 == self.trainer.num_training_batches:  # six numbers a step are a tenth of Lightning's step
            self._log("train", self._totals / (batch_index + 1))

    def validation_step(self, batch: tuple[Tensor], _: int) -> None:
        weights = self.config.alpha, self.config.beta, self.config.gamma
        self._log("val", _values(self._terms(batch[0], 1.0, weights)))

    def _log(self, stage: str, values: Tensor) -> None:
        names = [f"{stage}/{term}" for term in ("loss", *VAE_TERMS)]
        self.log_dict(dict(zip(names, values, strict=True)), on_step=False, on_epoch=True)

    def configure_optimizers(self) -> Any:
        return adam(list(self.network.parameters()), self.optimizer_config, self.steps)
