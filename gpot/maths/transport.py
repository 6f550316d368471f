r"""Costs, the best rotation, the moment bound, and exact log-determinants.

Symbols: `x` data (n, d), `z` points on the Gaussian side (n, d), `Q` orthogonal (d, d). Rows are particles.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gpot.constants import LOG_2_PI
from gpot.errors import BadInput
from gpot.maths.integrate import Along, Method, integrate_tangents


def gaussian_log_density(z: Tensor) -> Tensor:
    """log N(z; 0, I) = -(|z|^2 + d log 2 pi) / 2. z (n, d); returns (n,)."""
    return -0.5 * ((z**2).sum(-1) + z.shape[-1] * LOG_2_PI)


def procrustes(x: Tensor, z: Tensor, allow_reflection: bool = False) -> Tensor:
    r"""The orthogonal matrix of least transport cost, in closed form.

    .. math:: Q = \arg\min_{Q^\top Q = I} \mathrm{mean}_i |x_i - Q z_i|^2 = U D V^\top,
              \qquad \mathrm{mean}_i\, x_i z_i^\top = U S V^\top

    D = I, except that without `allow_reflection` its last entry (that of the least singular value) is det(U V^T), so
    that det Q = 1. The moments are not centred: Q has no shift, so the cost it minimizes has none.

    Arguments:
        x, z (n, d).
    Returns: Q (d, d), used as z @ Q.T.
    Departure: ours; the paper has no rotation. det Q = -1 is the orientation-reversing case of Appendix B.1.2. It is
    off by default: a flow f with det > 0 followed by a Monge map's s keeps the orientation (Lemma 1), and no later
    flow undoes a reflection.
    """
    u, _, vh = torch.linalg.svd(x.T @ z / len(x))
    if not allow_reflection:
        flip = torch.ones_like(u[0])
        flip[-1] = torch.linalg.det(u @ vh).sign()
        u = u * flip
    return u @ vh


def square_root(cov: Tensor) -> Tensor:
    """Symmetric root of a positive semidefinite matrix; eigenvalues below 0 by no more than rounding count as 0."""
    values, vectors = torch.linalg.eigh(cov)
    rounding = len(cov) * torch.finfo(cov.dtype).eps * values.abs().max()
    if values.min() < -rounding:
        raise BadInput(
            f"a covariance must be positive semidefinite, and one has the eigenvalue {values.min().item():.3e}; "
            "pass the covariance itself, not a correlation with missing entries or a difference"
        )
    return (vectors * values.clamp(min=0.0).sqrt()) @ vectors.T


def gelbrich(mean_a: Tensor, cov_a: Tensor, mean_b: Tensor, cov_b: Tensor) -> Tensor:
    r"""Gelbrich's lower bound of the squared Wasserstein distance from means and covariances.

    .. math:: |m_a - m_b|^2 + \mathrm{tr}\, A + \mathrm{tr}\, B - 2\, \mathrm{tr} (A^{1/2} B A^{1/2})^{1/2}
              \;\le\; W_2^2(\alpha, \beta)

    with equality for two Gaussians (Bures). The last trace is the nuclear norm of A^{1/2} B^{1/2}.

    Arguments:
        mean_a, mean_b: shape (d,).
        cov_a, cov_b: A and B, shape (d, d).
    Returns: 0-dim.
    """
    cross = torch.linalg.matrix_norm(square_root(cov_a) @ square_root(cov_b), ord="nuc")
    return ((mean_a - mean_b) ** 2).sum() + cov_a.trace() + cov_b.trace() - 2.0 * cross


def jacobian(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    r"""Jacobian of a row-wise map at each row, by d forward-mode products over the whole batch.

    .. math:: J_{nij} = \partial f_i(x_n) / \partial x_{nj}

    Arguments:
        fn: takes (n, d) to (n, d'), row n of its output depending on row n of its input alone.
        x: shape (n, d).
    Returns: shape (n, d', d).
    """
    basis = torch.eye(x.shape[1], dtype=x.dtype, device=x.device)

    def product(direction: Tensor) -> Tensor:
        return torch.func.jvp(fn, (x,), (direction.expand_as(x),))[1]

    return torch.func.vmap(product, out_dims=-1)(basis)


def exact_log_det(fn: Callable[[Tensor], Tensor], x: Tensor, chunk: int = 1024) -> Tensor:
    r"""log|det df/dx| of a row-wise map by automatic differentiation: nothing is assumed of f.

    Arguments:
        x (n, d); `chunk` rows are done at a time, which bounds the memory (d tangents of each). No graph is kept.
    Returns: shape (n,), -inf where f is singular.
    """
    if chunk < 1:
        raise BadInput(f"exact_log_det works through chunks of at least 1 row, and got chunk={chunk}")
    with torch.no_grad():
        parts = [torch.linalg.slogdet(jacobian(fn, rows)).logabsdet for rows in x.split(chunk)]
    return torch.cat(parts)


_TANGENTS, _FEWEST = 16_384, 64  # numbers of the d tangents of a chunk's rows, so that they stay in a cache; rows


@torch.no_grad()
def path_log_det(
    along: Along, y: Tensor, n_steps: int, method: Method = Method.rk4, chunk: int = 1024
) -> tuple[Tensor, Tensor]:
    r"""log|det dPhi/dy| of the discretized flow Phi of a field over [0, 1], and Phi(y), from written derivatives of it.

    What :func:`exact_log_det` finds of :func:`gpot.maths.integrate.integrate`; which is sooner depends on the field and
    on d (benchmarks/log_det.py).

    Arguments: along, n_steps, method: as of :func:`gpot.maths.integrate.integrate_tangents`. y (n, d). chunk: rows at a
    time, at most.
    Returns: shapes (n,) and (n, d). No graph is kept.
    """
    dim = y.shape[1]
    eye = torch.eye(dim, dtype=y.dtype, device=y.device)[:, None, :]
    log_dets, ends = [], []
    for rows in y.split(max(1, min(chunk, max(_FEWEST, _TANGENTS // dim**2)))):
        end, columns = integrate_tangents(along, rows, eye.expand(-1, len(rows), -1), n_steps, method)
        log_dets.append(torch.linalg.slogdet(columns.transpose(0, 1)).logabsdet)
        ends.append(end)
    return torch.cat(log_dets), torch.cat(ends)
