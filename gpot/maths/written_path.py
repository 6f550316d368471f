r"""The whole path of a field in the direct chart, with the reverse derivative of all its steps written out.

What autograd would keep of every evaluation is rebuilt from the stages of Runge-Kutta, (d, n) each. Everything is laid
out one particle per column, and written into the same few arrays, in chunks of particles that fit in a cache. A field
says how one evaluation is made and pulled back (:class:`Columns`); the steps are here, once for all of them.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from torch import Tensor

from gpot.maths.integrate import Field, Method, walk
from gpot.maths.written_gradients import forward_mode

# stage i starts at the fraction NODES[i] of a step, from y plus that times the velocity of the stage before
_NODES = {Method.euler: (0.0,), Method.midpoint: (0.0, 0.5), Method.rk4: (0.0, 0.5, 0.5, 1.0)}
_WEIGHTS = {Method.euler: (1.0,), Method.midpoint: (0.0, 1.0), Method.rk4: (1 / 6, 1 / 3, 1 / 3, 1 / 6)}


class Columns(ABC):
    """A field of packed parameters, evaluated for particles in columns: `at` (d + 2, m) has their (y, 1, t).

    formula: dy/dt of the packed parameters as a plain formula of (t, y), t of shape () or (n,), for what is
    differentiated more than once. size: particles of a chunk.
    """

    formula: ClassVar[Callable[..., Field]]
    size: int

    def __init__(self, *packed: Tensor) -> None:
        self.packed = packed
        self._room: dict[tuple[str, int], Tensor] = {}

    @abstractmethod
    def velocity(self, at: Tensor) -> Tensor:
        """dy/dt (d, m)."""

    @abstractmethod
    def pull_back(self, at: Tensor, g_velocity: Tensor) -> Tensor:
        """The gradient in y (d, m), from that in dy/dt; those in the parameters are added to what they have."""

    @abstractmethod
    def gradients(self) -> tuple[Tensor, ...]:
        """Of the packed parameters, after all that was pulled back."""

    def room(self, name: str, rows: int, count: int) -> Tensor:
        """An array (rows, count), the same one each time: a fresh one would be cleared first."""
        held = self._room.get((name, count))
        if held is None:
            held = self._room[name, count] = self.packed[0].new_empty(rows, count)
        return held


def written_path(
    columns: type[Columns], y: Tensor, n_steps: int, method: Method, t0: float, t1: float, packed: tuple[Tensor, ...]
) -> Tensor:
    """The points of the path at its grid, (n_steps + 1, n, d): y (n, d) first.

    Arguments:
        columns: the kind of field.
        n_steps, method, t0, t1: as in :func:`gpot.maths.integrate.integrate`.
        packed: its parameters.
    """
    return cast(Tensor, _path(columns, n_steps, Method(method), t0, t1)(y, *packed))


@functools.cache
def _path(columns: type[Columns], n_steps: int, method: Method, t0: float, t1: float) -> Callable[..., Any]:
    """`written_path` of (y, *packed)."""

    def formula(y: Tensor, *packed: Tensor) -> Tensor:
        visited = walk(columns.formula(*packed), y, n_steps, method, t0, t1)
        return torch.stack([point for point, _ in visited])

    class Path(torch.autograd.Function):
        @staticmethod
        def forward(y: Tensor, *packed: Tensor) -> tuple[Tensor, Tensor]:
            return _forward(columns(*packed), n_steps, method, t0, t1, y)

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
            return _backward(columns(*inputs[1:]), n_steps, method, t0, t1, stages, grad)

        @staticmethod
        def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor, None]:
            along = {k: tangent for k, tangent in enumerate(tangents) if tangent is not None}
            return forward_mode(formula, ctx.saved_tensors[: len(tangents)], along), None

        @staticmethod
        def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Any, Any]:
            points = torch.func.vmap(formula, in_dims=in_dims)(*inputs)
            return (points, points.new_empty(0)), (0, None)

    return lambda *inputs: Path.apply(*inputs)[0]


def _forward(field: Columns, n_steps: int, method: Method, t0: float, t1: float, y: Tensor) -> tuple[Tensor, Tensor]:
    """The points (N+1, n, d), and the stages' arguments (y, 1, t) as (N, stages, d + 2, n)."""
    (n, d), h = y.shape, (t1 - t0) / max(n_steps, 1)
    nodes, weights = _NODES[method], _WEIGHTS[method]
    stages = y.new_empty(n_steps, len(nodes), d + 2, n)
    for step in range(n_steps):
        for stage, node in enumerate(nodes):
            stages[step, stage, d], stages[step, stage, d + 1] = 1.0, t0 + (step + node) * h
    points = y.new_empty(n_steps + 1, d, n)
    points[0] = y.t()
    for start in range(0, n, field.size):
        here = slice(start, start + field.size)
        now = points[0, :, here]
        for step in range(n_steps):
            following = points[step + 1, :, here].copy_(now)
            velocity = None
            for stage, (node, weight) in enumerate(zip(nodes, weights, strict=True)):
                at = stages[step, stage, :, here]
                if velocity is None:
                    at[:d] = now
                else:
                    torch.add(now, velocity, alpha=node * h, out=at[:d])
                velocity = field.velocity(at)
                if weight:
                    following.add_(velocity, alpha=weight * h)
            now = following
    return points.transpose(1, 2), stages


def _backward(
    field: Columns, n_steps: int, method: Method, t0: float, t1: float, stages: Tensor, grad: Tensor
) -> tuple[Tensor, ...]:
    """Gradients in y and in the packed parameters, from that in the points (N+1, n, d). Steps and stages backwards."""
    n, h = stages.shape[3], (t1 - t0) / max(n_steps, 1)
    nodes, weights = _NODES[method], _WEIGHTS[method]
    grad_t = grad.transpose(1, 2).contiguous()
    g_y_t = torch.empty_like(grad_t[0])
    for start in range(0, n, field.size):
        here = slice(start, start + field.size)
        g_now = grad_t[-1, :, here].clone()
        for step in reversed(range(n_steps)):
            g_before, g_argument = g_now.clone(), None
            for stage in reversed(range(len(nodes))):
                g_velocity = g_now * (h * weights[stage])
                if g_argument is not None:
                    g_velocity.add_(g_argument, alpha=h * nodes[stage + 1])
                g_argument = field.pull_back(stages[step, stage, :, here], g_velocity)
                g_before.add_(g_argument)
            g_now = g_before.add_(grad_t[step, :, here])
        g_y_t[:, here] = g_now
    return g_y_t.t(), *field.gradients()
