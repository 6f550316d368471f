r"""The beta-TCVAE objective: reconstruction plus a weighted decomposition of the Kullback-Leibler divergence.

With B images x_i, samples z_i of q(z|x_i), and N images in the dataset,

.. math::
    \mathrm{KL} = \underbrace{E \log \tfrac{q(z|x)}{q(z)}}_{\text{mutual information}}
        + \underbrace{E \log \tfrac{q(z)}{\prod_d q(z_d)}}_{\text{total correlation}}
        + \underbrace{E \log \tfrac{\prod_d q(z_d)}{p(z)}}_{\text{dimension-wise KL}}, \qquad
    L = \mathrm{rec} + \alpha\,\mathrm{MI} + \beta\,\mathrm{TC} + a\,\gamma\,\mathrm{DWKL}.

q(z) and q(z_d) are mixtures over the whole dataset; a minibatch estimates them with importance weights W_ij on the pair
(sample i, image j), see :func:`log_importance_weights`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor
from torch.nn import functional

LOG_2_PI = math.log(2 * math.pi)
_PAIRS = 2**16


class Estimator(str, Enum):
    """How a minibatch stands for the dataset.

    `weighted`: W_ij = 1 / (B N), the minibatch weighted sampling of the paper. `stratified`: its stratified sampling,
    unbiased: the own image (diagonal) has weight 1/N, one other (N - M) / (N M), the rest 1/M, M = B - 1. `released`:
    the stratified weights as the released code lays them out (column 0 and 1 instead of the diagonal) and applies them
    (added once per latent dimension to log q(z)); for parity with released models.
    """

    weighted = "weighted"
    stratified = "stratified"
    released = "released"


@dataclass(frozen=True)
class LossTerms:
    """Scalars, in nats per image, and their weighted sum `total`."""

    total: Tensor
    reconstruction: Tensor
    mutual_information: Tensor
    total_correlation: Tensor
    dimension_wise_kl: Tensor


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Elementwise log N(z; mean, exp(log_variance)); the arguments are broadcast."""
    return -0.5 * (LOG_2_PI + log_variance + (z - mean).square() * torch.exp(-log_variance))


def log_importance_weights(batch: int, dataset_size: int, estimator: Estimator, like: Tensor) -> Tensor:
    """log W, shape (batch, batch), row i the sample, column j the image; dtype and device of `like`."""
    if estimator is Estimator.weighted:
        return torch.full((batch, batch), -math.log(batch * dataset_size), dtype=like.dtype, device=like.device)
    if batch < 3:
        raise ValueError(f"the {estimator.value} estimator needs a batch of at least 3 images, got {batch}")
    m = batch - 1
    remaining = (dataset_size - m) / (dataset_size * m)
    weights = torch.full((batch, batch), 1 / m, dtype=like.dtype, device=like.device)
    if estimator is Estimator.released:
        weights[:, 0] = 1 / dataset_size
        weights[:, 1] = remaining
        weights[m - 1, 0] = remaining
    else:
        index = torch.arange(batch, device=like.device)
        weights[index, index] = 1 / dataset_size
        weights[index, (index + 1) % batch] = remaining
    return weights.log()


def log_densities(
    z: Tensor, mean: Tensor, log_variance: Tensor, dataset_size: int, estimator: Estimator = Estimator.stratified
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """log q(z|x), log q(z), log prod_d q(z_d), log p(z), each (B,), from (B, D) samples, means and log-variances."""
    log_w = log_importance_weights(len(z), dataset_size, estimator, z)
    repeats = z.shape[1] if estimator is Estimator.released else 1
    means, log_variances = (parameters.T[:, None, :].contiguous() for parameters in (mean, log_variance))
    log_qz, log_prod_qz = [], []
    some = max(1, _PAIRS // len(z))  # samples at a time, so that what they make stays in a CPU's cache
    for samples, weights in zip(z.split(some), log_w.split(some), strict=True):
        pairs = log_normal(samples.T[:, :, None], means, log_variances)  # (D, some, B)
        log_qz.append(torch.logsumexp(pairs.sum(0) + repeats * weights, dim=1))
        log_prod_qz.append(torch.logsumexp(pairs + weights, dim=2).sum(0))
    log_qz_x = log_normal(z, mean, log_variance).sum(1)
    log_pz = log_normal(z, torch.zeros_like(z), torch.zeros_like(z)).sum(1)
    return log_qz_x, torch.cat(log_qz), torch.cat(log_prod_qz), log_pz


def annealing(step: int, steps: int) -> float:
    """Weight of the dimension-wise KL at optimizer step `step` (counted from 1): min(1, step / steps)."""
    return 1.0 if steps <= 0 else min(1.0, step / steps)


def pressure(step: int, start: float, steps: int) -> float:
    """Factor of the whole divergence at optimizer step `step` (counted from 1): start^(1 - step / steps), then 1.

    In the spirit of Burgess et al. (2018), who let the capacity of the code grow: under a large factor the first codes
    to pay for themselves are few, smooth and aligned with single factors, and they stay so when the factor falls.
    start = 1: no such factor.
    """
    return 1.0 if steps <= 0 else start ** max(0.0, 1.0 - step / steps)


def btcvae_loss(
    logits: Tensor,
    x: Tensor,
    mean: Tensor,
    log_variance: Tensor,
    z: Tensor,
    *,
    dataset_size: int,
    alpha: float = 1.0,
    beta: float = 6.4,
    gamma: float = 1.0,
    anneal: float = 1.0,
    estimator: Estimator = Estimator.stratified,
) -> LossTerms:
    """The objective of this module's docstring on one batch.

    Arguments:
        logits, x: shape (B, C, S, S).
        mean, log_variance, z: shape (B, D).
        dataset_size: N.
        alpha, beta, gamma: the weights.
        anneal: a.
        estimator: of the decomposed divergence.
    Returns: LossTerms; the reconstruction is Bernoulli cross-entropy summed over pixels, averaged over images.
    """
    reconstruction = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
    log_qz_x, log_qz, log_prod_qz, log_pz = log_densities(z, mean, log_variance, dataset_size, estimator)
    mi, tc, dwkl = (log_qz_x - log_qz).mean(), (log_qz - log_prod_qz).mean(), (log_prod_qz - log_pz).mean()
    total = reconstruction + alpha * mi + beta * tc + anneal * gamma * dwkl
    return LossTerms(total, reconstruction, mi, tc, dwkl)
