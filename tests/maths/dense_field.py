r"""The paper's construction, literally: the specification that the fast form must equal.

Blocks a^n (n, d, B), psi_ij = sum_n m^n_i m^n_j (a^n_i - a^n_j) (eq. 14, unshifted), all of it differentiated
automatically, one particle at a time: w_i = sum_j (p_j d_j psi_ij - r_j psi_ij) (eq. 17). No formula of gpot is used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Psi = Callable[[Tensor], Tensor]
"""One particle (d,) -> antisymmetric matrix (d, d)."""


def mlp_psi(weights: Sequence[Tensor], biases: Sequence[Tensor], dim: int, t: float) -> Psi:
    """psi of the blocks of a tanh network: input (y, t), output component * B + block."""

    def psi(y: Tensor) -> Tensor:
        h = torch.cat((y, y.new_tensor([t])))
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            h = torch.tanh(weight @ h + bias)
        a = (weights[-1] @ h + biases[-1]).reshape(dim, -1)
        total = y.new_zeros(dim, dim)
        for n in range(a.shape[1]):
            inside = (torch.arange(dim) >= n).to(y.dtype)
            total = total + torch.outer(inside, inside) * (a[:, n][:, None] - a[:, n][None, :])
        return total

    return psi


def ridge_psi(w: Tensor, o: Tensor, b: Tensor, alpha: Tensor, beta: Tensor, t: float) -> Psi:
    """psi = sum_k (alpha_k beta_k^T - beta_k alpha_k^T) tanh(w_k . y + o_k t + b_k), neuron by neuron."""

    def psi(y: Tensor) -> Tensor:
        total = y.new_zeros(len(y), len(y))
        for k in range(len(w)):
            plane = torch.outer(alpha[k], beta[k]) - torch.outer(beta[k], alpha[k])
            total = total + plane * torch.tanh(w[k] @ y + o[k] * t + b[k])
        return total

    return psi


def dense_field(psi: Psi, y: Tensor, p: Tensor, r: Tensor) -> Tensor:
    """w (n, d) of a psi at y (n, d) under the weights p, r (n, d)."""
    rows = []
    for one, p_one, r_one in zip(y, p, r, strict=True):
        value = psi(one)
        jacobian = torch.autograd.functional.jacobian(psi, one, create_graph=True)  # [i, j, k] = d_k psi_ij
        gradient = torch.diagonal(jacobian, dim1=1, dim2=2)  # [i, j] = d_j psi_ij
        rows.append((p_one * gradient - r_one * value).sum(1))
    return torch.stack(rows)
