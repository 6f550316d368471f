r"""Explicit Runge-Kutta on an equidistant time grid: the discretization of the flow ODE (paper, eq. 4).

Symbols: `y` (n, d) the particles in whatever coordinates the field lives in, `t` time, `h = (t1 - t0) / n_steps` the
step, `field(t, y) = dy/dt`. Times are handed to the field as 0-dim tensors on the device of `y`: no step waits for
the device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from gpot.errors import BadInput

Field = Callable[[Tensor, Tensor], Tensor]
Along = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]
"""A field v with its derivatives along directions: (t, y, u) to v (n, d) and (grad v) u_l (k, n, d); t of shape () or
(n,), y (n, d), u (k, n, d)."""


class Method(str, Enum):
    """Explicit Euler (order 1), midpoint (order 2), the classical Runge-Kutta scheme (order 4)."""

    euler = "euler"
    midpoint = "midpoint"
    rk4 = "rk4"

    @property
    def order(self) -> int:
        """The global error is O(h^order)."""
        return {Method.euler: 1, Method.midpoint: 2, Method.rk4: 4}[self]


@dataclass(frozen=True)
class Trajectory:
    """A path on its time grid: times (N+1,), points (N+1, n, d), and velocities (N+1, n, d), the field at both."""

    times: Tensor
    points: Tensor
    velocities: Tensor

    @property
    def n_steps(self) -> int:
        """N: one less than the number of grid points."""
        return len(self.times) - 1

    @property
    def dt(self) -> Tensor:
        """The step h (0-dim; negative for a path followed backward, 0 for a path of no steps)."""
        return (self.times[-1] - self.times[0]) / max(self.n_steps, 1)


def _increment(field: Field, times: Tensor, y: Tensor, first: Tensor, h: float, method: Method) -> Tensor:
    """y(t + h) - y(t), where times = (t, t + h/2, t + h) and first = field(t, y)."""
    if method is Method.euler:
        return h * first
    second = field(times[1], y + (0.5 * h) * first)
    if method is Method.midpoint:
        return h * second
    third = field(times[1], y + (0.5 * h) * second)
    fourth = field(times[2], y + h * third)
    return (h / 6.0) * (first + 2.0 * (second + third) + fourth)


def _half_grid(y: Tensor, n_steps: int, t0: float, t1: float) -> Tensor:
    """t0, t0 + h/2, ..., t1: shape (2 n_steps + 1,), dtype and device of y."""
    if n_steps < 0:
        raise BadInput(f"integrate needs a number of steps that is at least 0, and got {n_steps}; pass n_steps=15, say")
    return torch.linspace(t0, t1, 2 * n_steps + 1, dtype=y.dtype, device=y.device)


def walk(
    field: Field, y: Tensor, n_steps: int, method: Method = Method.rk4, t0: float = 0.0, t1: float = 1.0
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """The path one grid point at a time, for a caller that looks at each: pairs (y, field(t, y)), N + 1 of them.

    The last velocity is not needed to integrate, so it is not computed: its place holds None.
    """
    grid, method = _half_grid(y, n_steps, t0, t1), Method(method)
    h = (t1 - t0) / max(n_steps, 1)
    for k in range(n_steps):
        first = field(grid[2 * k], y)
        yield y, first
        y = y + _increment(field, grid[2 * k : 2 * k + 3], y, first, h, method)
    yield y, None


def integrate(
    field: Field, y: Tensor, n_steps: int, method: Method = Method.rk4, t0: float = 0.0, t1: float = 1.0
) -> Tensor:
    r"""The point at t1 of the path through (t0, y).

    .. math:: X(t_1), \qquad \dot X = \mathrm{field}(t, X), \quad X(t_0) = y

    Arguments:
        y (n, d).
        n_steps: 0 is the identity.
        t0, t1: t1 < t0 integrates backward, which inverts the map to the order of the method and not exactly.
    Returns: shape (n, d). Nothing but the graph is kept of the points in between.
    Reference: paper, eq. (4) and section 5 (Runge-Kutta 4).
    """
    end = y
    for end, _ in walk(field, y, n_steps, method, t0, t1):  # noqa: B007 - the last one is the result
        pass
    return end


def integrate_tangents(
    along: Along, y: Tensor, u: Tensor, n_steps: int, method: Method = Method.rk4, t0: float = 0.0, t1: float = 1.0
) -> tuple[Tensor, Tensor]:
    r"""The point at t1 of the path through (t0, y), and the derivatives of that point along directions of y.

    Every stage of a Runge-Kutta step is differentiated as it stands: these are the derivatives of what
    :func:`integrate` computes, its step errors included, and not those of the exact flow.

    Arguments:
        along: (t, y, u) -> the field (n, d) and its derivatives along u (k, n, d).
        y (n, d); u (k, n, d), a direction for each particle; the rest as of `integrate`.
    Returns: shapes (n, d) and (k, n, d).
    """

    def field(t: Tensor, state: Tensor) -> Tensor:
        velocity, tangents = along(t, state[0], state[1:])
        return torch.cat((velocity[None], tangents))

    end = integrate(field, torch.cat((y[None], u)), n_steps, method, t0, t1)
    return end[0], end[1:]


def inverted(
    target: Tensor, there: Callable[[Tensor], Tensor], back: Callable[[Tensor], Tensor], refine: int
) -> Tensor:
    r"""y with Phi(y) = target, from a grid backward, Psi, that inverts the discretized Phi to the order of the method.

    .. math:: y_0 = \Psi(\text{target}), \qquad y \leftarrow y + \Psi(\text{target}) - \Psi(\Phi(y))

    Arguments:
        there: Phi.
        back: Psi.
        refine: corrections; each costs two integrations and multiplies the error by O(h^order), since Psi o Phi = id +
            O(h^order): a few reach rounding.
    Departure: the released code has no correction. (y <- y - (Phi(y) - target) diverges where Phi is far from the
    identity.)
    """
    backward = back(target)
    y = backward
    for _ in range(refine):
        y = y + backward - back(there(y))
    return y


def trajectory(
    field: Field, y: Tensor, n_steps: int, method: Method = Method.rk4, t0: float = 0.0, t1: float = 1.0
) -> Trajectory:
    """The same path as `integrate`, with its points and velocities at the grid points.

    The velocities are the first stages of the steps, and one more evaluation at the end.
    Departure: the released code pairs the position after a step with the time before it; here times, points and
    velocities at one index belong together.
    """
    visited = list(walk(field, y, n_steps, method, t0, t1))
    times = _half_grid(y, n_steps, t0, t1)[::2]
    points = torch.stack([point for point, _ in visited])
    velocities = [velocity for _, velocity in visited if velocity is not None] + [field(times[-1], points[-1])]
    return Trajectory(times, points, torch.stack(velocities))
