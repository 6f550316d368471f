r"""The velocity of a CNF: a network whose weights depend on the time, and which is plain at a fixed one.

At a fixed time each layer of v is affine in y (see `ConcatSquash`), so v is a plain network whose weights depend on t.
It is evaluated as a sigmoid network, by tanh u = 2 sigmoid(2u) - 1: PyTorch's sigmoid takes a sixth of its tanh's time.
With the slopes :math:`S_k = h_k (1 - h_k)` of the hidden units, diagonal, one matrix per sample, the transposed
Jacobian is :math:`W_0 S_0 W_1 \cdots S_{L-1} W_L`. Both divergences are closed forms in these matrices: they call no
automatic differentiation, and it differentiates them; of the estimate they are written out (`written.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn


class Snapshot(NamedTuple):
    """The velocity at one time: sigmoid between affine maps (row vectors: y W + b), and what its trace needs."""

    weights: tuple[Tensor, ...]  # (in, out)
    biases: tuple[Tensor, ...]  # (out,)
    coupling: Tensor | None

    def velocity(self, y: Tensor) -> tuple[Tensor, list[Tensor]]:
        """v (n, d) at y (n, d), and the slopes S_k (n, h_k) of the hidden units."""
        slopes = []
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            y = torch.sigmoid(torch.addmm(bias, y, weight))
            slopes.append(y - y * y)
        # (d, n), then transposed: with few columns the product (n, d) and its gradient are several times slower
        return torch.addmm(self.biases[-1][:, None], self.weights[-1].T, y.T).T, slopes

    def tangent(self, slopes: list[Tensor], e: Tensor) -> Tensor:
        """(dv/dy) e for e (n, d), or for many at once, (n, m, d): forward mode, by hand."""
        for weight, slope in zip(self.weights[:-1], slopes, strict=True):
            e = (e @ weight) * (slope if e.ndim == 2 else slope[:, None, :])
        return e @ self.weights[-1]

    def trace(self, slopes: list[Tensor]) -> Tensor:
        r"""tr dv/dy, shape (n,), exact.

        One and two hidden layers cost no more than a single tangent, whatever d, see `_coupling`:
        :math:`S_0 \cdot C` and :math:`S_0^\top C\, S_1`. More layers: d tangents, which start behind the first layer
        and of which the last takes d numbers.
        """
        if self.coupling is None:
            tangents = self.weights[0] * slopes[0][:, None, :]
            for weight, slope in zip(self.weights[1:-1], slopes[1:], strict=True):
                tangents = (tangents @ weight) * slope[:, None, :]
            return tangents.flatten(1) @ self.weights[-1].T.flatten()
        if len(slopes) == 1:
            return slopes[0] @ self.coupling
        return ((slopes[0] @ self.coupling) * slopes[1]).sum(1)


def _coupling(weights: Sequence[Tensor]) -> Tensor | None:
    r"""C with tr dv/dy bilinear in the slopes; weights (T, in, out) at T times.

    One hidden layer: :math:`C_i = (W_1 W_0)_{ii}`, (T, h_0). Two: :math:`C = W_1 \circ (W_2 W_0)^\top`, (T, h_0, h_1).
    """
    if len(weights) == 2:
        return (weights[0] * weights[1].mT).sum(1)
    return weights[1] * (weights[2] @ weights[0]).mT if len(weights) == 3 else None


class ConcatSquash(nn.Module):
    r"""Layer :math:`(A y + a) \circ \sigma(g t + g_0) + h t`."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self._layer = nn.Linear(n_in, n_out)
        self._hyper_bias = nn.Linear(1, n_out, bias=False)
        self._hyper_gate = nn.Linear(1, n_out)

    def at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The affine maps that the layer is at times t (T,): weights (T, out, in), biases (T, out)."""
        gate = torch.sigmoid(self._hyper_gate(t[:, None]))
        return self._layer.weight * gate[:, :, None], self._layer.bias * gate + self._hyper_bias(t[:, None])


class ODENet(nn.Module):
    """The velocity: `ConcatSquash` layers dim -> hidden... -> dim, tanh between them."""

    def __init__(self, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConcatSquash(i, o) for i, o in pairwise((dim, *hidden, dim)))

    def at(self, t: Tensor) -> list[Snapshot]:
        """The network at each of the times t (T,)."""
        weights, biases = [], []
        for k, layer in enumerate(cast("list[ConcatSquash]", self.layers)):
            weight, bias = layer.at(t)
            if k > 0:  # its input tanh u is 2 h - 1
                weight, bias = 2 * weight, bias - weight.sum(2)
            if k < len(self.layers) - 1:  # its output u goes to h = sigmoid(2 u)
                weight, bias = 2 * weight, 2 * bias
            weights.append(weight.mT.contiguous())
            biases.append(bias)
        coupling = _coupling(weights)
        per_time = zip(*(w.unbind() for w in weights), strict=True), zip(*(b.unbind() for b in biases), strict=True)
        couplings = [None] * len(t) if coupling is None else coupling.unbind()
        return [Snapshot(*parts) for parts in zip(*per_time, couplings, strict=True)]

    def forward(self, t: Tensor | float, y: Tensor) -> Tensor:
        return self.at(torch.as_tensor(t, dtype=y.dtype, device=y.device).reshape(1))[0].velocity(y)[0]


class ODEFunction(nn.Module):
    """The network, and how often the last solve evaluated it (an adaptive one: without the backward pass)."""

    def __init__(self, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.diffeq = ODENet(dim, hidden)
        self.evaluations = 0
        self.register_buffer("_num_evals", torch.tensor(0.0))  # the released counter: for its name, never changed
