r"""The whole path of a ridge field in the direct chart, with the reverse derivative of all its steps written out.

Where p = 1 and r = y, the field of :func:`gpot.maths.divergence_free.ridge_field` needs K neurons for its first term
and not 2 K, because w_k * tanh'_k is taken in by one vector m_k for each: with :math:`A_k y = \alpha_k (\beta_k \cdot
y) - \beta_k (\alpha_k \cdot y)`

.. math:: \dot y = \sum_k A_k (w_k (1 - h_k^2) - y h_k) = \sum_k m_k - \sum_k m_k h_k^2
          - \sum_k (\alpha_k (\beta_k \cdot y) - \beta_k (\alpha_k \cdot y)) h_k, \qquad m_k = A_k w_k.

One product into 3 K rows and one back, at each evaluation; what autograd would keep is rebuilt from the stages of
Runge-Kutta, (d, n) each. Everything is laid out one particle per column, and written into the same few arrays, in
chunks of particles that fit in a cache.

Symbols: :math:`c = h / 2 = \mathrm{sigmoid}(2 a) - 1/2`, since the sigmoid is several times faster than tanh on a CPU;
`into` (3 K, d + 2) acts on (y, 1, t), its rows (2 w, 2 b, 2 o), (2 beta, 0, 0), (2 alpha, 0, 0); `back` (3 K, d) its
rows -4 m, -alpha, beta; `constant` (d,) the sum of m. So dy/dt = constant + back^T (c^2, c * into_beta y, c *
into_alpha y).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from gpot.maths.integrate import Field, Method, walk
from gpot.maths.written_gradients import forward_mode

_CELLS = 65_536  # neurons times particles of a chunk: its three arrays of 3 K rows are then in the second cache

# stage i starts at the fraction NODES[i] of a step, from y plus that times the velocity of the stage before
_NODES = {Method.euler: (0.0,), Method.midpoint: (0.0, 0.5), Method.rk4: (0.0, 0.5, 0.5, 1.0)}
_WEIGHTS = {Method.euler: (1.0,), Method.midpoint: (0.0, 1.0), Method.rk4: (1 / 6, 1 / 3, 1 / 3, 1 / 6)}


def ridge_path(y: Tensor, n_steps: int, method: Method, t0: float, t1: float, parameters: tuple[Tensor, ...]) -> Tensor:
    """The points of the path at its grid, (n_steps + 1, n, d), in the direct chart: y (n, d) first.

    Arguments:
        n_steps, method, t0, t1: as in :func:`gpot.maths.integrate.integrate`.
        parameters: w (K, d), o (K,), b (K,), alpha (K, d), beta (K, d).
    """
    return cast(Tensor, _path(n_steps, Method(method), t0, t1)(y, *packed(*parameters)))


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


@functools.cache
def _path(n_steps: int, method: Method, t0: float, t1: float) -> Callable[..., Any]:
    """`ridge_path` of the packed parameters."""

    def formula(y: Tensor, into: Tensor, back: Tensor, constant: Tensor) -> Tensor:
        visited = walk(packed_field(into, back, constant), y, n_steps, method, t0, t1)
        return torch.stack([point for point, _ in visited])

    class Path(torch.autograd.Function):
        @staticmethod
        def forward(*inputs: Tensor) -> tuple[Tensor, Tensor]:
            return _forward(n_steps, method, t0, t1, *inputs)

        @staticmethod
        def setup_context(ctx: Any, inputs: Sequence[Tensor], output: Sequence[Tensor]) -> None:
            ctx.mark_non_differentiable(output[1])
            ctx.save_for_backward(*inputs, output[1])
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, ...]:
            *inputs, stages = ctx.saved_tensors
            if torch.is_grad_enabled() or stages.numel() == 0:  # to be differentiated again, or under `vmap`
                return cast(tuple[Tensor, ...], torch.func.vjp(formula, *inputs)[1](grad))
            return _backward(n_steps, method, t0, t1, inputs[1], inputs[2], stages, grad)

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, None]:
            along = {k: tangent for k, tangent in enumerate(tangents) if tangent is not None}
            return forward_mode(formula, ctx.saved_tensors[:4], along), None

        @staticmethod
        def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
            points = torch.func.vmap(formula, in_dims=in_dims)(*inputs)
            return (points, points.new_empty(0)), (0, None)

    return lambda *inputs: Path.apply(*inputs)[0]


def _columns(width: int) -> int:
    return max(64, _CELLS // width)


def _forward(
    n_steps: int, method: Method, t0: float, t1: float, y: Tensor, into: Tensor, back: Tensor, constant: Tensor
) -> tuple[Tensor, Tensor]:
    """The points (N+1, n, d), and the stages' arguments (y, 1, t) as (N, stages, d + 2, n)."""
    (n, d), width, h = y.shape, len(into) // 3, (t1 - t0) / max(n_steps, 1)
    nodes, weights = _NODES[method], _WEIGHTS[method]
    stages = y.new_empty(n_steps, len(nodes), d + 2, n)
    for step in range(n_steps):
        for stage, node in enumerate(nodes):
            stages[step, stage, d], stages[step, stage, d + 1] = 1.0, t0 + (step + node) * h
    points = y.new_empty(n_steps + 1, d, n)
    points[0] = y.t()
    back_t, constant = back.t().contiguous(), constant[:, None]
    rows = y.new_empty(3 * width, min(n, _columns(width)))
    for start in range(0, n, _columns(width)):
        now = points[0, :, start : start + _columns(width)]
        part = rows[:, : now.shape[1]] if now.shape[1] == rows.shape[1] else rows.new_empty(len(rows), now.shape[1])
        gate, pairs = part[:width], part[width:].view(2, width, -1)
        for step in range(n_steps):
            following = points[step + 1, :, start : start + now.shape[1]].copy_(now)
            velocity = None
            for stage, (node, weight) in enumerate(zip(nodes, weights, strict=True)):
                at = stages[step, stage, :, start : start + now.shape[1]]
                if velocity is None:
                    at[:d] = now
                else:
                    torch.add(now, velocity, alpha=node * h, out=at[:d])
                torch.mm(into, at, out=part)
                gate.sigmoid_().sub_(0.5)
                pairs.mul_(gate)
                gate.mul_(gate)
                velocity = torch.addmm(constant, back_t, part)
                if weight:
                    following.add_(velocity, alpha=weight * h)
            now = following
    return points.transpose(1, 2), stages


def _backward(
    n_steps: int, method: Method, t0: float, t1: float, into: Tensor, back: Tensor, stages: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients in y, into, back and constant, from that in the points (N+1, n, d). Steps and stages backwards."""
    n, d, width, h = stages.shape[3], back.shape[1], len(into) // 3, (t1 - t0) / max(n_steps, 1)
    nodes, weights = _NODES[method], _WEIGHTS[method]
    g_into_t, g_back_t = torch.zeros_like(into.t().contiguous()), torch.zeros_like(back.t().contiguous())
    g_constant = back.new_zeros(d)
    # the derivative of the sigmoid is 1/4 - c^2: its quarter is left to the products
    down_t = into[:, :d].t().contiguous()
    down_t[:, :width] *= 0.25
    grad_t = grad.transpose(1, 2).contiguous()
    g_y_t = torch.empty_like(grad_t[0])
    columns = _columns(width)
    for start in range(0, n, columns):
        here = slice(start, start + columns)
        g_now = grad_t[-1, :, here].clone()
        count = g_now.shape[1]
        rows, product, received = (back.new_empty(3 * width, count) for _ in range(3))
        summed = back.new_empty(2, width, count)
        c, pairs = rows[:width], rows[width:].view(2, width, count)
        g_c, g_pairs = received[:width], received[width:].view(2, width, count)
        for step in reversed(range(n_steps)):
            g_before, g_argument = g_now.clone(), None
            for stage in reversed(range(len(nodes))):
                g_velocity = g_now * (h * weights[stage])
                if g_argument is not None:
                    g_velocity.add_(g_argument, alpha=h * nodes[stage + 1])
                at = stages[step, stage, :, here]
                torch.mm(into, at, out=rows)
                c.sigmoid_().sub_(0.5)
                torch.mul(c, c, out=product[:width])
                torch.mul(pairs, c, out=product[width:].view(2, width, count))
                g_back_t.addmm_(g_velocity, product.t())
                g_constant.add_(g_velocity.sum(1))
                torch.mm(back, g_velocity, out=received)
                torch.mul(pairs, g_pairs, out=summed)
                through = summed[0].add_(summed[1]).addcmul_(c, g_c, value=2.0)
                torch.addcmul(through, through, product[:width], value=-4.0, out=g_c)
                g_pairs.mul_(c)
                g_into_t.addmm_(at, received.t())
                g_argument = torch.mm(down_t, received)
                g_before.add_(g_argument)
            g_now = g_before.add_(grad_t[step, :, here])
        g_y_t[:, here] = g_now
    g_into_t[:, :width] *= 0.25
    return g_y_t.t(), g_into_t.t(), g_back_t.t(), g_constant
