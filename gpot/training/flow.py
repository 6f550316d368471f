"""Training of a normalizing flow by maximum likelihood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from gpot.config.schema import OptimizerConfig
from gpot.maths.transport import gaussian_log_density
from gpot.tracking.names import TRAIN_NLL, VAL_NLL
from gpot.training.schedule import adam

Transform = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class LogLikelihood:
    """A flow as training sees it: x (n, d) -> (z, log|det df/dx|).

    training: what is differentiated; its log-determinant may be an unbiased estimate. exact: what validation reports.
    """

    training: Transform
    exact: Transform


class FlowModule(L.LightningModule):
    r"""Minimize the negative log-likelihood :math:`-\log p_\nu(f(x)) - \log|\det \nabla f(x)|` (eq. 1), in nats per
    point.

    Arguments:
        network: the flow, whose parameters learn.
        likelihood: how it is evaluated.
        optimizer: Adam's settings.
        steps: of the whole run.
    """

    def __init__(self, network: nn.Module, likelihood: LogLikelihood, optimizer: OptimizerConfig, steps: int) -> None:
        super().__init__()
        self.network, self.likelihood, self.optimizer_config, self.steps = network, likelihood, optimizer, steps

    @staticmethod
    def _nll(transform: Transform, x: Tensor) -> Tensor:
        z, log_det = transform(x)
        return -(gaussian_log_density(z) + log_det).mean()

    def training_step(self, batch: tuple[Tensor], _: int) -> Tensor:
        nll = self._nll(self.likelihood.training, batch[0])
        self.log(TRAIN_NLL, nll, on_step=False, on_epoch=True, sync_dist=True)
        return nll

    def validation_step(self, batch: tuple[Tensor], _: int) -> None:
        with torch.no_grad():
            self.log(VAL_NLL, self._nll(self.likelihood.exact, batch[0]), batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        return adam(list(self.network.parameters()), self.optimizer_config, self.steps)
