"""s(z; c): one Gaussian-preserving map for all contexts c of a conditional flow.

A map of a context has rows [z, c] (n, d + k): so its training and its guard are those of every other map. `at(c)` is s
at one context, a Gaussian-preserving map of z like any other.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig, BadInput
from gpot.gp.base import GaussianPreserving, analytic_log_det
from gpot.maths.contexts import contextual_ridge_field, rotations
from gpot.maths.integrate import Field, integrate, inverted
from gpot.maths.transport import exact_log_det


class AmortizedFlow(GaussianPreserving):
    r"""s(z; c) = Phi_c(R(c) Q z): a rotation, one of the context, and the flow of a ridge field of the context.

    A network of one hidden layer gives bias, gain and angles (:mod:`gpot.maths.contexts`) from the standardized
    context; at the start it gives no gain, bias or angle of its own. The Gaussian is kept at every context, to the
    order of the time steps.

    Arguments:
        dim: d.
        context_dim: k.
        width: neurons of the field.
        hidden: of the network.
    """

    n_steps: int
    context_mean: Tensor
    context_scale: Tensor

    def __init__(self, dim: int, context_dim: int, width: int = 128, hidden: int = 64, n_steps: int = 8) -> None:
        super().__init__(dim)
        if dim < 2 or context_dim < 1 or n_steps < 1:
            raise BadConfig(
                f"s(z; c) needs dim >= 2, context_dim >= 1, n_steps >= 1; found {dim}, {context_dim}, {n_steps}"
            )
        self.context_dim, self.width, self.hidden, self.n_steps = context_dim, width, hidden, n_steps
        scale = math.sqrt(1e-2 / math.sqrt(2.0 * width))  # as in RidgeVelocity
        self.w = nn.Parameter(torch.randn(width, dim) / math.sqrt(dim))
        self.o, self.b = nn.Parameter(torch.randn(width)), nn.Parameter(torch.randn(width))
        self.alpha = nn.Parameter(scale * torch.randn(width, dim))
        self.beta = nn.Parameter(scale * torch.randn(width, dim))
        self.network = nn.Sequential(
            nn.Linear(context_dim, hidden), nn.Tanh(), nn.Linear(hidden, 2 * width + dim * (dim - 1) // 2)
        )
        with torch.no_grad():
            for parameter in list(self.network.parameters())[-2:]:
                parameter.zero_()
        self.register_buffer("context_mean", torch.zeros(context_dim))
        self.register_buffer("context_scale", torch.ones(context_dim))

    def standardize(self, contexts: Tensor) -> None:
        """Let the network see contexts less the mean of these (m, k), in units of their standard deviation."""
        scale = contexts.std(0, unbiased=False)
        self.context_mean = contexts.mean(0).to(self.context_mean)
        self.context_scale = torch.where(scale > 0, scale, torch.ones_like(scale)).to(self.context_scale)

    def refine(self, n_steps: int) -> None:
        """Set the number of time steps."""
        self.n_steps = n_steps

    def transport(self, z: Tensor) -> Tensor:
        """s(z; c) (n, d) of rows [z, c] (n, d + k)."""
        points, context = self._split(z)
        return self._move(points, context)

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """z (n, d) with s(z; c) = s, of rows [s, c] (n, d + k); `refine` corrections."""
        points, context = self._split(s)
        field, turn = self._at(context)
        there, back = (partial(integrate, field, n_steps=self.n_steps, t0=t0, t1=1.0 - t0) for t0 in (0.0, 1.0))
        y = inverted(points, there, back, refine)
        return torch.einsum("nij,ni->nj", turn.expand(len(y), -1, -1), y) @ self.rotation

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """s (n, d) and log|det ds/dz| = (|s|^2 - |z|^2) / 2 (n,) of rows [z, c]."""
        s = self.transport(z)
        return s, analytic_log_det(s, self._split(z)[0])

    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """log|det ds/dz| at the context of each row [z, c], by automatic differentiation: (n,), no graph."""
        parts = []
        for rows in z.split(chunk):
            points, context = self._split(rows)
            parts.append(exact_log_det(lambda y, c=context: self._move(y, c), points, len(points)))  # type: ignore[misc]
        return torch.cat(parts)

    @torch.no_grad()
    def log_det_error(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """Exact less analytic log-determinant (n,), nats, of rows [z, c]."""
        return self.exact_log_det(z, chunk) - analytic_log_det(self.transport(z), self._split(z)[0])

    def at(self, context: Any) -> AtContext:
        """s( . ; c) for one context (k,) or (1, k)."""
        row = torch.as_tensor(context).to(self.rotation).reshape(1, -1)
        if row.shape[1] != self.context_dim:
            raise BadInput(f"a context of this map has {self.context_dim} numbers, and got {row.shape[1]}")
        return AtContext(self, row)

    def _split(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        if rows.ndim != 2 or rows.shape[1] != self.dim + self.context_dim:
            raise BadInput(
                f"rows of s(z; c) are [z, c] of shape (n, {self.dim} + {self.context_dim}), and got "
                f"{tuple(rows.shape)}; take at(c) for a map of z alone"
            )
        return rows[:, : self.dim], rows[:, self.dim :]

    def _at(self, context: Tensor) -> tuple[Field, Tensor]:
        """The velocity at contexts (n, k), of which n may be 1, and R(c) (n, d, d)."""
        outputs = self.network((context - self.context_mean) / self.context_scale)
        bias, gain, angles = outputs.split((self.width, self.width, outputs.shape[1] - 2 * self.width), 1)
        field = contextual_ridge_field(self.w, self.o, self.b + bias, 1.0 + gain, self.alpha, self.beta)
        return field, rotations(angles, self.dim)

    def _move(self, z: Tensor, context: Tensor) -> Tensor:
        field, turn = self._at(context)
        y = torch.einsum("nij,nj->ni", turn.expand(len(z), -1, -1), z @ self.rotation.T)
        return integrate(field, y, self.n_steps)


class AtContext(GaussianPreserving):
    """s( . ; c) at one context c (1, k): its rotation is R(c) Q, and it follows its `parent`."""

    def __init__(self, parent: AmortizedFlow, context: Tensor) -> None:
        super().__init__(parent.dim)
        self.parent = parent
        self.context: Tensor
        self.register_buffer("context", context)
        with torch.no_grad():
            self.rotation = parent._at(context)[1][0] @ parent.rotation

    @property
    def n_steps(self) -> int | None:  # type: ignore[override]
        """Of the parent."""
        return self.parent.n_steps

    def transport(self, z: Tensor) -> Tensor:
        """s(z; c) (n, d)."""
        return self.parent._move(self.points(z), self.context)

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """z (n, d)."""
        s = self.points(s)
        return self.parent.inverse(torch.cat((s, self.context.expand(len(s), -1)), 1), refine)

    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """log|det ds/dz| (n,)."""
        return exact_log_det(self.transport, z, chunk)
