r"""Log-determinants of symmetric positive definite matrices, one per row, from the matrices or from products.

`product` is v -> H v, row by row, (n, d) -> (n, d). Probes v (n, d) have E v v^T = I: signs (Rademacher) or N(0, I).

Of the two estimators here, one has the value and the other the gradient: `lanczos_log_det` is a number to report;
`gradient_surrogate` is a loss to differentiate, and **its value is not a log-determinant**. `stochastic_log_det` has
the value of the one and the gradient of the other.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]


def exact_log_det(hessian: Tensor) -> Tensor:
    """log det of symmetric positive definite matrices, (n, d, d) -> (n,), differentiable.

    NaN where rounding, or an input that is not positive definite, makes the determinant negative; -inf where it is 0.
    """
    sign, log_abs = torch.linalg.slogdet(hessian)
    return torch.where(sign < 0, torch.nan, log_abs)


@torch.no_grad()
def conjugate_gradient(product: Product, v: Tensor, max_steps: int | None = None, tolerance: float = 1e-3) -> Tensor:
    """u = H^-1 v, (n, d), by conjugate gradients from 0 (Hestenes and Stiefel, 1952), all rows at once.

    Stops a row where |H u - v| <= tolerance, and all rows after max_steps products (None: d, exact without rounding).
    """
    u, residual, direction = torch.zeros_like(v), v, v
    squared = residual.square().sum(1)
    for _ in range(v.shape[1] if max_steps is None else max_steps):
        active = squared > tolerance**2
        if not active.any():
            break
        image = product(direction)
        step = torch.where(active, squared / (direction * image).sum(1), 0.0)[:, None]
        u, residual = u + step * direction, residual - step * image
        before, squared = squared, residual.square().sum(1)
        direction = residual + torch.where(active, squared / before, 0.0)[:, None] * direction
    return u


def gradient_surrogate(
    product: Product, probes: Tensor, max_steps: int | None = None, tolerance: float = 1e-3
) -> Tensor:
    r"""Not a log-determinant: a loss (n,) whose gradient, averaged over probes v, is that of log det H.

    .. math:: v^\top H u, \quad u = H^{-1} v \text{ held constant}; \qquad
              \mathrm{E}\, v^\top (\partial_\theta H) H^{-1} v = \mathrm{tr}\, H^{-1} \partial_\theta H
              = \partial_\theta \log\det H

    The value is |v|^2, about d, whatever H. Huang et al. (2021), section 4. `product` must be differentiable in theta.
    Bias: that of u, see `conjugate_gradient`.
    """
    return (product(conjugate_gradient(product, probes, max_steps, tolerance)) * probes).sum(1)


@torch.no_grad()
def lanczos_log_det(product: Product, probes: Tensor, n_steps: int | None = None) -> Tensor:
    r"""Stochastic Lanczos quadrature, (n,): its mean over probes is log det H; no graph is kept.

    .. math:: v^\top (\log H)\, v \approx |v|^2 \sum_k (e_1^\top y_k)^2 \log \lambda_k, \qquad T y_k = \lambda_k y_k,

    T (m, m) tridiagonal from m = n_steps Lanczos steps that start at v (None: d, with which the formula is exact).
    Ubaru, Chen, Saad (2017). The basis is orthogonalized in full, twice a step, since d and m are small here.
    A row whose Krylov space ends early is exact from there: T is padded by an identity that has no weight.
    NaN where an eigenvalue of T is not positive.
    """
    (n, dim), eps = probes.shape, torch.finfo(probes.dtype).eps
    n_steps = min(dim if n_steps is None else n_steps, dim)
    matrix = probes.new_zeros(n, n_steps, n_steps)
    norm = probes.norm(dim=1)
    basis = (probes / norm[:, None])[:, None, :]
    alive = norm > 0
    for k in range(n_steps):
        last = basis[:, -1]
        image = product(last)
        matrix[:, k, k] = torch.where(alive, (image * last).sum(1), 1.0)
        if k + 1 == n_steps:
            break
        size = image.norm(dim=1)
        for _ in range(2):
            image = image - ((basis @ image[:, :, None]) * basis).sum(1)
        beta = image.norm(dim=1)
        alive = alive & (beta > dim * eps * size)
        matrix[:, k, k + 1] = matrix[:, k + 1, k] = torch.where(alive, beta, 0.0)
        basis = torch.cat([basis, torch.where(alive, 1 / beta, 0.0)[:, None, None] * image[:, None, :]], 1)
    values, vectors = torch.linalg.eigh(matrix)
    return norm.square() * (vectors[:, 0].square() * values.log()).sum(1)


def stochastic_log_det(product: Product, probes: Tensor) -> Tensor:
    """log det H, (n,): the value by `lanczos_log_det` with d steps, the gradient by `gradient_surrogate`.

    Both are unbiased up to the tolerance of conjugate gradients, but the gradient is not that of the value.
    """
    value = lanczos_log_det(product, probes)
    if not torch.is_grad_enabled():
        return value
    surrogate = gradient_surrogate(product, probes)
    return value + (surrogate - surrogate.detach())
