r"""The orthogonal factor of a matrix: the direction of a step in which all singular values count alike.

.. math:: G = U \Sigma V^\top \;\mapsto\; U V^\top

Of all matrices of spectral norm 1 it has the largest inner product with G: the steepest descent in that norm, which for
the weight matrices of a network replaces Adam's entry by entry (jordan2024muon).
"""

from __future__ import annotations

import torch
from torch import Tensor

_FLOOR = 1e-7  # of the largest eigenvalue of the Gram matrix: singular values below its root count as it


def orthogonal_factor(matrices: Tensor) -> Tensor:
    r"""U V^T of each matrix (..., m, n), through the eigenvalues of the smaller Gram matrix; 0 where the matrix is 0.

    .. math:: U V^\top = G (G^\top G)^{-1/2}

    Departure: in place of the Newton-Schulz iteration in half precision, which leaves singular values between .7 and
    1.2: here m or n is the dimension d of the particles, and the eigenvalues of one d x d matrix cost nothing.
    """
    tall = matrices if matrices.shape[-2] >= matrices.shape[-1] else matrices.mT
    values, vectors = torch.linalg.eigh((tall.mT @ tall).double())
    largest = values[..., -1:]
    roots = values.clamp(min=_FLOOR * largest).rsqrt().where(largest > 0.0, 0.0)
    factor = tall @ ((vectors * roots[..., None, :]) @ vectors.mT).to(tall)
    return factor if tall is matrices else factor.mT
