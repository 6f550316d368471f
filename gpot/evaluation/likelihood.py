r"""Negative log-likelihood with the analytic log-determinant and with that of the discretized map, and their gap.

Symbols: `z = f(x)` (n, d), `s` the Gaussian-preserving flow; -log p(x) = -log N(s(z); 0, I) - log|det df/dx| -
log|det ds/dz| (eq. 1). With the analytic (|s|^2 - |z|^2) / 2 (eq. 3) the last terms cancel for any s at all; only the
exact one measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.evaluation.estimate import Estimate
from gpot.gp.base import GaussianPreserving, analytic_log_det
from gpot.maths.transport import gaussian_log_density


@dataclass(frozen=True)
class LogDetError:
    """Mean and max over samples of |exact - analytic| log|det ds/dz|, and the mean with its sign, in nats."""

    mean: float
    max: float
    bias: float


def nll(z: Tensor, log_det: Tensor) -> Estimate:
    """-log p(x) = -log N(z; 0, I) - log|det dz/dx| in nats, for any map's z (n, d) and log_det (n,)."""
    return Estimate.of(-(gaussian_log_density(z) + log_det))


@torch.no_grad()
def nll_exact(
    gp: GaussianPreserving,
    z: Tensor,
    log_det: Tensor,
    n_exact: int | None = None,
    s: Tensor | None = None,
    chunk: int = 1024,
) -> Estimate:
    r"""-log p(x) of s o f in nats, with the exact log|det ds/dz|; z = f(x) (n, d) and log_det (n,) are those of f.

    .. math:: \frac1n \sum_i L_i - \frac1m \sum_{i \le m} (e_i - a_i)

    L the analytic value at all n points, e and a the exact and the analytic log|det ds/dz|: their difference, small as
    it is, is found as well at the first m = `n_exact` points (None for all), each of which costs d tangents of the
    flow. s: s(z), where it is known already.
    Departure: the paper reports the analytic value, which cannot differ from that of f.
    """
    s = gp.transport(z) if s is None else s
    of_all = nll(s, log_det + analytic_log_det(s, z))
    error = Estimate.of(gp.log_det_error(z[:n_exact], chunk))
    return Estimate(of_all.mean - error.mean, math.hypot(of_all.stderr, error.stderr))


@torch.no_grad()
def log_det_error(gp: GaussianPreserving, z: Tensor, chunk: int = 1024) -> LogDetError:
    """How far the discretized s is from preserving the Gaussian at z (n, d): |log-determinant error| in nats."""
    error = gp.log_det_error(z, chunk).double()
    size = error.abs()
    return LogDetError(size.mean().item(), size.max().item(), error.mean().item())
