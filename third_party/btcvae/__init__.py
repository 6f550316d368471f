"""beta-TCVAE: a variational autoencoder whose total correlation is penalized. See README.md."""

from third_party.btcvae.fast import training_forward
from third_party.btcvae.loss import (
    Estimator,
    LossTerms,
    annealing,
    btcvae_loss,
    log_densities,
    log_importance_weights,
    pressure,
)
from third_party.btcvae.model import BetaTCVAE

__all__ = [
    "BetaTCVAE",
    "Estimator",
    "LossTerms",
    "annealing",
    "btcvae_loss",
    "log_densities",
    "log_importance_weights",
    "pressure",
    "training_forward",
]
