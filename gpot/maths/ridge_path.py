r"""The whole path of a ridge field in the direct chart, with the reverse derivative of all its steps written out.

Where p = 1 and r = y, the field of :func:`gpot.maths.divergence_free.ridge_field` needs K neurons for its first term
and not 2 K, because w_k * tanh'_k is taken in by one vector m_k for each: with :math:`A_k y = \alpha_k (\beta_k \cdot
y) - \beta_k (\alpha_k \cdot y)`

.. math:: \dot y = \sum_k A_k (w_k (1 - h_k^2) - y h_k) = \sum_k m_k - \sum_k m_k h_k^2
          - \sum_k (\alpha_k (\beta_k \cdot y) - \beta_k (\alpha_k \cdot y)) h_k, \qquad m_k = A_k w_k.

One product into 3 K rows and one back, at each evaluation (:mod:`gpot.maths.written_path` has the steps).

Symbols: :math:`c = h / 2 = \mathrm{sigmoid}(2 a) - 1/2`, since the sigmoid is several times faster than tanh on a CPU;
`into` (3 K, d + 2) acts on (y, 1, t), its rows (2 w, 2 b, 2 o), (2 beta, 0, 0), (2 alpha, 0, 0); `back` (3 K, d) its
rows -4 m, -alpha, beta; `constant` (d,) the sum of m. So dy/dt = constant + back^T (c^2, c * into_beta y, c *
into_alpha y).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.maths.integrate import Field, Method
from gpot.maths.written_path import Columns, written_path

_CELLS = 65_536  # neurons times particles of a chunk: its three arrays of 3 K rows are then in the second cache


def ridge_path(y: Tensor, n_steps: int, method: Method, t0: float, t1: float, parameters: tuple[Tensor, ...]) -> Tensor:
    """The points of the path at its grid, (n_steps + 1, n, d), in the direct chart: y (n, d) first.

    Arguments:
        n_steps, method, t0, t1: as in :func:`gpot.maths.integrate.integrate`.
        parameters: w (K, d), o (K,), b (K,), alpha (K, d), beta (K, d).
    """
    return written_path(RidgeColumns, y, n_steps, method, t0, t1, packed(*parameters))


def packed(w: Tensor, o: Tensor, b: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`into`, `back` and `constant` above."""
    m = alpha * (beta * w).sum(1, keepdim=True) - beta * (alpha * w).sum(1, keepdim=True)
    in_time = torch.cat((torch.stack((b, o), dim=1), b.new_zeros(2 * len(b), 2)))
    into = 2.0 * torch.cat((torch.cat((w, beta, alpha)), in_time), dim=1)
    return into, torch.cat((-4.0 * m, -alpha, beta)), m.sum(0)


def packed_field(into: Tensor, back: Tensor, constant: Tensor) -> Field:
    """dy/dt of the packed parameters as a plain formula of (t, y), t of shape () or (n,): for what is differentiated
    more than once."""

    def field(t: Tensor, y: Tensor) -> Tensor:
        rows = torch.addmm(into[:, -2:-1] + into[:, -1:] * t, into[:, :-2], y.t())
        gate, *pairs = rows.tensor_split(3)
        c = torch.sigmoid(gate) - 0.5
        return torch.addmm(constant[:, None], back.t(), torch.cat((c * c, pairs[0] * c, pairs[1] * c))).t()

    return field


class RidgeColumns(Columns):
    """The field of `into`, `back` and `constant`."""

    formula = staticmethod(packed_field)

    def __init__(self, into: Tensor, back: Tensor, constant: Tensor) -> None:
        super().__init__(into, back, constant)
        self.into, self.back, self.constant = into, back, constant[:, None]
        self.width, self.dim = len(into) // 3, back.shape[1]
        self.size = max(64, _CELLS // self.width)
        self.back_t = back.t().contiguous()
        self._pulled: tuple[Tensor, ...] | None = None

    def velocity(self, at: Tensor) -> Tensor:
        """See :meth:`Columns.velocity`."""
        count = at.shape[1]
        rows = torch.mm(self.into, at, out=self.room("rows", 3 * self.width, count))
        gate, pairs = rows[: self.width], rows[self.width :].view(2, self.width, count)
        gate.sigmoid_().sub_(0.5)
        pairs.mul_(gate)
        gate.mul_(gate)
        return torch.addmm(self.constant, self.back_t, rows)

    def pull_back(self, at: Tensor, g_velocity: Tensor) -> Tensor:
        """See :meth:`Columns.pull_back`. The derivative of the sigmoid is 1/4 - c^2: its quarter is left to the
        products."""
        if self._pulled is None:
            down_t = self.into[:, : self.dim].t().contiguous()
            down_t[:, : self.width] *= 0.25
            zeros = (torch.zeros_like(part) for part in (self.into.t().contiguous(), self.back_t, self.constant[:, 0]))
            self._pulled = down_t, *zeros
        down_t, g_into_t, g_back_t, g_constant = self._pulled
        width, count = self.width, at.shape[1]
        rows, product, received = (self.room(name, 3 * width, count) for name in ("rows", "product", "received"))
        summed = self.room("summed", 2 * width, count).view(2, width, count)
        c, pairs = rows[:width], rows[width:].view(2, width, count)
        g_c, g_pairs = received[:width], received[width:].view(2, width, count)
        torch.mm(self.into, at, out=rows)
        c.sigmoid_().sub_(0.5)
        torch.mul(c, c, out=product[:width])
        torch.mul(pairs, c, out=product[width:].view(2, width, count))
        g_back_t.addmm_(g_velocity, product.t())
        g_constant.add_(g_velocity.sum(1))
        torch.mm(self.back, g_velocity, out=received)
        torch.mul(pairs, g_pairs, out=summed)
        through = summed[0].add_(summed[1]).addcmul_(c, g_c, value=2.0)
        torch.addcmul(through, through, product[:width], value=-4.0, out=g_c)
        g_pairs.mul_(c)
        g_into_t.addmm_(at, received.t())
        return torch.mm(down_t, received)

    def gradients(self) -> tuple[Tensor, Tensor, Tensor]:
        """See :meth:`Columns.gradients`."""
        if self._pulled is None:  # a path of no steps
            return torch.zeros_like(self.into), torch.zeros_like(self.back), torch.zeros_like(self.constant[:, 0])
        _, g_into_t, g_back_t, g_constant = self._pulled
        g_into_t[:, : self.width] *= 0.25
        return g_into_t.t(), g_back_t.t(), g_constant
