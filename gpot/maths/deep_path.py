r"""Ridge fields of two layers of neurons, in the direct chart: a deep stream function at the price of a few products.

.. math:: \psi = \sum_k (\alpha_k \beta_k^\top - \beta_k \alpha_k^\top)\, h_k, \qquad
          h = \tanh(V g + S y + q t + c), \quad g = \tanh(W y + o t + b).

A neuron of the second layer is no function of one direction, yet its derivative along its own alpha_k and beta_k is all
that the field takes of it, and there the particle and the plane part:

.. math:: \beta_k \cdot \nabla h_k = (1 - h_k^2)\, \Big( s_k \cdot \beta_k + \sum_m E^\beta_{km} (1 - g_m^2) \Big),
          \qquad E^\beta_{km} = V_{km}\, (w_m \cdot \beta_k),

with a matrix E of the weights alone. So, as for one layer,

.. math:: \dot y = \sum_k \alpha_k (\beta_k \cdot Y_k) - \beta_k (\alpha_k \cdot Y_k), \qquad
          \beta_k \cdot Y_k = \beta_k \cdot \nabla h_k - h_k\, \beta_k \cdot y,

costs O(d (M + K) + M K) for each particle, where the tangents of a general network cost d times its layers. In the
direct chart only: in the others p differs from particle to particle, and E would.

Symbols: M neurons below, K above; c1 = sigmoid(2 .) - 1/2 = g / 2, and c2 = h / 2 likewise; `into` (M, d + 2) acts on
(y, 1, t), its rows (2 w, 2 b, 2 o); `into2` (3 K, d + 2) has the rows (2 s, 2 c, 2 q), (2 beta, 0, 0), (2 alpha, 0, 0);
`up` (K, M) is 4 V; `slopes` (2 K, M) is -4 E and `offset` (2 K,) the sum of E and s . beta, for beta and for alpha;
`back` (2 K, d) the rows alpha, -beta. With D = offset + slopes c1^2,

.. math:: \dot y = \mathrm{back}^\top \big( D\,(1 - 4 c_2^2) - c_2\, \mathrm{into}_2^{\beta\alpha}\, y \big).

Departure: not in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gpot.maths.integrate import Field, Method
from gpot.maths.written_path import Columns, written_path

_CELLS = 32_768  # neurons of the larger layer times particles of a chunk


def deep_path(y: Tensor, n_steps: int, method: Method, t0: float, t1: float, parameters: tuple[Tensor, ...]) -> Tensor:
    """The points of the path at its grid, (n_steps + 1, n, d): y (n, d) first.

    Arguments:
        n_steps, method, t0, t1: as in :func:`gpot.maths.integrate.integrate`.
        parameters: as of :func:`deep_packed`.
    """
    return written_path(DeepColumns, y, n_steps, method, t0, t1, deep_packed(*parameters))


def deep_packed(
    w: Tensor, o: Tensor, b: Tensor, v: Tensor, s: Tensor, q: Tensor, c: Tensor, alpha: Tensor, beta: Tensor
) -> tuple[Tensor, ...]:
    """`into`, `into2`, `up`, `slopes`, `offset` and `back` above.

    Arguments: w (M, d); o, b (M,); v (K, M); s (K, d); q, c (K,); alpha, beta (K, d).
    """
    planes = torch.cat((beta, alpha))
    twice = torch.cat((v, v)) * (planes @ w.t())
    into = 2.0 * torch.cat((w, torch.stack((b, o), dim=1)), dim=1)
    in_time = torch.cat((torch.stack((c, q), dim=1), b.new_zeros(2 * len(c), 2)))
    into2 = 2.0 * torch.cat((torch.cat((s, planes)), in_time), dim=1)
    offset = twice.sum(1) + (planes * torch.cat((s, s))).sum(1)
    return into, into2, 4.0 * v, -4.0 * twice, offset, torch.cat((alpha, -beta))


def deep_field(into: Tensor, into2: Tensor, up: Tensor, slopes: Tensor, offset: Tensor, back: Tensor) -> Field:
    """dy/dt of the packed parameters as a plain formula of (t, y), t of shape () or (n,)."""
    packed = into, into2, up, slopes, offset, back
    return lambda t, y: _evaluated(t, y, packed)[0]


def _evaluated(t: Tensor, y: Tensor, packed: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """dy/dt (n, d), and what it is made of: c1 (M, n), c2 (K, n), D and the pairs (2 K, n)."""
    into, into2, up, slopes, offset, back = packed
    below, rows = (torch.addmm(m[:, -2:-1] + m[:, -1:] * t, m[:, :-2], y.t()) for m in (into, into2))
    below = torch.sigmoid(below) - 0.5
    above = torch.sigmoid(rows[: len(up)] + up @ below) - 0.5
    along, pairs = torch.addmm(offset[:, None], slopes, below * below), rows[len(up) :]
    twice = torch.cat((above, above))
    return (along * (1.0 - 4.0 * twice * twice) - twice * pairs).t() @ back, below, above, along, pairs


def deep_along(t: Tensor, y: Tensor, u: Tensor, packed: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """dy/dt (n, d) and its derivatives along u (k, n, d), while t does not move.

    Arguments: t of shape () or (n,); y (n, d); packed: the packed parameters.
    """
    into, into2, up, slopes, _, back = packed
    value, below, above, along, pairs = _evaluated(t, y, packed)
    steep, twice, width = 0.25 - above * above, torch.cat((above, above)), len(up)
    below_u, rows_u = (m[:, :-2] @ u.transpose(1, 2) for m in (into, into2))
    below_u = (0.25 - below * below) * below_u
    above_u = steep * (rows_u[:, :width] + up @ below_u)
    twice_u = torch.cat((above_u, above_u), dim=1)
    along_u = 2.0 * (slopes @ (below * below_u))
    rising = 4.0 * along_u * torch.cat((steep, steep)) - 8.0 * along * twice * twice_u
    tangents = (rising - twice_u * pairs - twice * rows_u[:, width:]).transpose(1, 2) @ back
    return value, tangents


class DeepColumns(Columns):
    """The field of the packed parameters."""

    formula = staticmethod(deep_field)

    def __init__(self, *packed: Tensor) -> None:
        super().__init__(*packed)
        self.into, self.into2, self.up, self.slopes, offset, self.back = packed
        (self.width, self.below), self.dim = self.up.shape, self.back.shape[1]
        self.size = max(64, _CELLS // max(self.width, self.below))
        self.offset, self.back_t = offset[:, None], self.back.t().contiguous()
        self._pulled: list[Tensor] = []

    def _layers(self, at: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """c1, c1^2, c2, the pairs (2, K, m), and D (2, K, m)."""
        width, count = self.width, at.shape[1]
        below = torch.mm(self.into, at, out=self.room("below", self.below, count)).sigmoid_().sub_(0.5)
        squares = torch.mul(below, below, out=self.room("squares", self.below, count))
        rows = torch.mm(self.into2, at, out=self.room("rows", 3 * width, count))
        above = rows[:width].addmm_(self.up, below).sigmoid_().sub_(0.5)
        along = torch.addmm(self.offset, self.slopes, squares, out=self.room("along", 2 * width, count))
        return below, squares, above, rows[width:].view(2, width, count), along.view(2, width, count)

    def velocity(self, at: Tensor) -> Tensor:
        """See :meth:`Columns.velocity`."""
        _, _, above, pairs, along = self._layers(at)
        steep = torch.mul(above, above, out=self.room("steep", *above.shape))
        along.addcmul_(along, steep, value=-4.0).addcmul_(pairs, above, value=-1.0)
        return torch.mm(self.back_t, along.flatten(0, 1))

    def pull_back(self, at: Tensor, g_velocity: Tensor) -> Tensor:
        """See :meth:`Columns.pull_back`."""
        width, count = self.width, at.shape[1]
        if not self._pulled:
            self._pulled = [torch.zeros_like(part) for part in self.packed]
        g_into, g_into2, g_up, g_slopes, g_offset, g_back = self._pulled
        below, squares, above, pairs, along = self._layers(at)
        steep = torch.mul(above, above, out=self.room("steep", width, count)).mul_(-4.0).add_(1.0)  # 1 - h^2
        turned = torch.mul(along, steep, out=self.room("turned", 2 * width, count).view(2, width, count))
        turned.addcmul_(pairs, above, value=-1.0)
        g_back.addmm_(turned.flatten(0, 1), g_velocity.t())
        g_turned = torch.mm(self.back, g_velocity, out=self.room("g_turned", 2 * width, count)).view(2, width, count)

        g_rows = self.room("g_rows", 3 * width, count)
        g_above, g_pairs = g_rows[:width], g_rows[width:].view(2, width, count)
        # of c2: -8 c2 sum(g D) - sum(g pairs), times 1/4 - c2^2 = steep / 4
        products = torch.mul(g_turned, along, out=turned)
        torch.add(products[0], products[1], out=g_above).mul_(above).mul_(-8.0)
        torch.mul(g_turned, pairs, out=products)
        g_above.sub_(products[0]).sub_(products[1]).mul_(steep).mul_(0.25)
        torch.mul(g_turned, above, out=g_pairs).neg_()
        g_along = g_turned.mul_(steep).flatten(0, 1)

        g_slopes.addmm_(g_along, squares.t())
        g_offset.add_(g_along.sum(1))
        g_up.addmm_(g_above, below.t())
        g_into2.addmm_(g_rows, at.t())
        g_below = torch.mm(self.slopes.t(), g_along, out=self.room("g_below", self.below, count))
        g_below.mul_(below).mul_(2.0).addmm_(self.up.t(), g_above)
        g_below.mul_(squares.neg_().add_(0.25))
        g_into.addmm_(g_below, at.t())
        return torch.mm(self.into[:, : self.dim].t(), g_below).addmm_(self.into2[:, : self.dim].t(), g_rows)

    def gradients(self) -> tuple[Tensor, ...]:
        """See :meth:`Columns.gradients`."""
        return tuple(self._pulled or (torch.zeros_like(part) for part in self.packed))  # none after no steps
