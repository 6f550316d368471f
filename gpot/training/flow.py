"""Training of a normalizing flow by maximum likelihood."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from gpot.config.schema import Divergence, FlowConfig, OptimizerConfig
from gpot.maths.transport import gaussian_log_density
from gpot.training.schedule import adam
from third_party.ffjord import FFJORD


class FlowModule(L.LightningModule):
    r"""Minimize the negative log-likelihood :math:`-\log p_\nu(f(x)) - \log|\det \nabla f(x)|` (eq. 1), in nats per
    point.

    Arguments: network: the flow. config: its divergence in training. optimizer: Adam's settings. steps: of the whole
    run.
    """

    def __init__(self, network: FFJORD, config: FlowConfig, optimizer: OptimizerConfig, steps: int) -> None:
        super().__init__()
        self.network, self.config, self.optimizer_config, self.steps = network, config, optimizer, steps

    def _nll(self, x: Tensor, divergence: Divergence) -> Tensor:
        z, log_det = self.network(x, divergence=divergence.value)
        return -(gaussian_log_density(z) + log_det).mean()

    def training_step(self, batch: tuple[Tensor], _: int) -> Tensor:
        nll = self._nll(batch[0], self.config.divergence)
        self.log("train/nll", nll, on_step=False, on_epoch=True)
        return nll

    def validation_step(self, batch: tuple[Tensor], _: int) -> None:
        with torch.no_grad():
            self.log("val/nll", self._nll(batch[0], Divergence.exact), batch_size=len(batch[0]))

    def configure_optimizers(self) -> Any:
        return adam(list(self.network.parameters()), self.optimizer_config, self.steps)
