r"""Gaussian-preserving maps that depend on a context: pure functions of what a network makes of it.

Symbols: `z` (n, d) on the Gaussian side, one context per row, of which a network made `bias`, `gain` (n, K) and
`angles` (n, d (d - 1) / 2). The context does not move along a path, so each row's velocity is divergence-free against
the Gaussian at its own context, whatever the network: the law N(0, I) is kept for every one of them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.maths.integrate import Field


def contextual_ridge_field(w: Tensor, o: Tensor, bias: Tensor, gain: Tensor, alpha: Tensor, beta: Tensor) -> Field:
    r"""The velocity dz/dt of a ridge field whose neurons are shifted and weighted by a context.

    .. math:: \psi(t, z; c) = \sum_k g_k(c)\, (\alpha_k \beta_k^\top - \beta_k \alpha_k^\top)\, h_k, \qquad
              h_k = \tanh(w_k \cdot z + o_k t + b_k(c)),

    .. math:: \dot z_i = \sum_j (\partial_j \psi_{ij} - z_j \psi_{ij}) = \sum_k g_k\, [\alpha_k (\beta_k \cdot Y_k) -
              \beta_k (\alpha_k \cdot Y_k)]_i, \qquad Y_k = (1 - h_k^2)\, w_k - h_k z.

    Arguments:
        w, alpha, beta: shape (K, d).
        o: shape (K,).
        bias, gain: b(c) and g(c), shape (n, K), or (1, K) for one context of all rows.
    Returns: the velocity as a function of (t, z), z (n, d), for `integrate` in the chart `direct`.
    Departure: ours. With bias and gain the same for all rows it is `ridge_field` in that chart.
    """
    along_beta, along_alpha = (beta * w).sum(1), (alpha * w).sum(1)

    def field(t: Tensor | float, z: Tensor) -> Tensor:
        h = torch.tanh(z @ w.T + o * t + bias)
        steep = 1.0 - h * h
        of_beta = gain * (steep * along_beta - h * (z @ beta.T))
        of_alpha = gain * (steep * along_alpha - h * (z @ alpha.T))
        return of_beta @ alpha - of_alpha @ beta

    return field


def rotations(angles: Tensor, dim: int) -> Tensor:
    r"""exp(S) (n, d, d) with S antisymmetric, its upper triangle by rows `angles` (n, d (d - 1) / 2).

    Orthogonal with determinant 1; 0 gives the identity.
    """
    rows, columns = torch.triu_indices(dim, dim, offset=1, device=angles.device)
    skew = angles.new_zeros(len(angles), dim, dim)
    skew = skew.index_put((torch.arange(len(angles), device=angles.device)[:, None], rows, columns), angles)
    return torch.linalg.matrix_exp(skew - skew.transpose(1, 2))
