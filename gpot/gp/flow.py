r"""The Gaussian-preserving flow s = Phi o Q: a rotation, then the flow of a velocity that keeps the Gaussian.

Symbols: `z` (n, d) on the Gaussian side, `Q` orthogonal, `Phi` the flow of the ODE (eq. 4) over [0, 1], `c = erf(z /
sqrt 2)` the cube, `s` the whole map. The ODE is integrated in the coordinates of the chart: c in `cube`, z in
`gaussian` and `direct`. Without discretization |det ds/dz| = exp((|s|^2 - |z|^2) / 2) (eq. 3); `log_det_error` says
what the time steps make of that.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from gpot.errors import BadConfig, OutsideCube
from gpot.gp.base import GaussianPreserving, analytic_log_det
from gpot.gp.deep_ridge import named_velocity
from gpot.gp.velocity import Velocity
from gpot.maths.charts import Chart, count_outside, cube_density, from_cube, to_cube
from gpot.maths.integrate import Along, Field, Method, Trajectory, integrate, inverted, trajectory, walk
from gpot.maths.transport import exact_log_det, path_log_det


class GaussianPreservingFlow(GaussianPreserving):
    r"""s(z) = Phi_{0 -> 1}(Q z), and its inverse.

    The state dict holds the velocity, `rotation`, `steps` (the number of steps) and `made_in` (chart and method), so a
    loaded flow is the same map; one made in another chart is refused.

    Arguments:
        velocity: gives dy/dt in every chart, or is the name of a family ("ridge", "mlp") with fresh weights.
        chart: in which it is integrated.
        n_steps: equal steps.
        method: of each step.
        rotation: Q, shape (d, d), or None for I.
        on_escape: what to do when a particle leaves the cube (chart `cube` alone): "raise" `OutsideCube`, or "count":
            its row comes out as NaN or infinity, and `escaped` counts such rows.
        dim: d, of a velocity that is named.
    Departure: the paper has no rotation and no chart but `cube`. The released code clips s to |s_i| <= 5.29.

    >>> GaussianPreservingFlow("ridge", dim=3).n_steps
    8
    """

    steps: Tensor
    made_in: Tensor

    def __init__(
        self,
        velocity: Velocity | str,
        chart: Chart | str = Chart.direct,
        n_steps: int = 8,
        method: Method | str = Method.rk4,
        rotation: Tensor | None = None,
        on_escape: Literal["raise", "count"] = "raise",
        dim: int | None = None,
    ) -> None:
        velocity = velocity if isinstance(velocity, Velocity) else named_velocity(velocity, dim)
        if dim not in (None, velocity.dim):
            raise BadConfig(f"dim={dim} was given, and the velocity has the dimension {velocity.dim}; leave dim out")
        super().__init__(velocity.dim)
        if on_escape not in ("raise", "count"):
            raise BadConfig(f"on_escape is 'raise' or 'count', and got {on_escape!r}")
        self.velocity = velocity
        self.chart = _choice(Chart, chart, "chart")
        self.method = _choice(Method, method, "method")
        self.on_escape = on_escape
        self.register_buffer("steps", torch.tensor(0, dtype=torch.int64))
        first = next(velocity.parameters(), None)
        if first is not None:
            self.rotation = self.rotation.to(first)
        if rotation is not None:
            self.set_rotation(rotation)
        self.refine(n_steps)
        self.register_buffer("made_in", torch.tensor(list(self._origin().encode()), dtype=torch.uint8))
        self.register_load_state_dict_pre_hook(_check_origin)
        self.register_load_state_dict_post_hook(_read_state)

    @property
    def n_steps(self) -> int:  # type: ignore[override]
        """Number of time steps: a copy of the buffer `steps` on the host, so that reading it waits for no device."""
        return self._n_steps

    def refine(self, n_steps: int) -> None:
        """Set the number of time steps. Phi converges to the flow of the velocity at the order of the method."""
        if n_steps < 1:
            raise BadConfig(
                f"a flow needs at least one time step, and got n_steps={n_steps}; the paper has n_steps=15",
                advice={"GaussianPreservingFlow.n_steps": 15},
            )
        self._n_steps = int(n_steps)
        self.steps.fill_(self._n_steps)

    def transport(self, z: Tensor) -> Tensor:
        """s(z) alone: shape (n, d). Nothing of the path is kept but its graph."""
        return self._leave_chart(self._advance(self._enter_chart(self._rotate(self.points(z))), 0.0, 1.0))

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """z with s(z) = s: the grid backward with `refine` corrections (`gpot.maths.integrate.inverted`), then Q^T.
        Shape (n, d)."""
        there, back = (partial(self._advance, t0=t0, t1=1.0 - t0) for t0 in (0.0, 1.0))
        return self._leave_chart(inverted(self._enter_chart(self.points(s)), there, back, refine)) @ self.rotation

    def flow_trajectory(self, z: Tensor) -> Trajectory:
        """The path of Phi from Q z, in the coordinates of the chart: n_steps + 1 times, points and velocities."""
        start = self._enter_chart(self._rotate(self.points(z)))
        points = self.velocity.points(self.chart, start, self.n_steps, self.method, 0.0, 1.0)
        if points is not None:
            return _with_velocities(points, self._field())
        path = trajectory(self._field(), start, self.n_steps, self.method)
        if self.chart is Chart.cube and self.on_escape == "raise":
            self._refuse_escaped(path.points.transpose(0, 1).flatten(1), path.points[0])
        return path

    def forward_with_points(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """s(z) (n, d), and times (N+1,) and points (N+1, n, d) of its path: for Euler's penalty, which needs no
        velocity at them."""
        start = self._enter_chart(self._rotate(z))
        points = self.velocity.points(self.chart, start, self.n_steps, self.method, 0.0, 1.0)
        if points is None:
            s, path = self.forward_with_path(z)
            return s, path.times, path.points
        return self._leave_chart(points[-1]), _times(points), points

    def forward_with_path(self, z: Tensor) -> tuple[Tensor, Trajectory]:
        """s(z) (n, d) and its path, in one pass: for losses that look at both."""
        path = self.flow_trajectory(z)
        return self._leave_chart(path.points[-1]), path

    @property
    def flow_in_time(self) -> GaussianPreservingFlow:
        """Itself."""
        return self

    def counting(self) -> GaussianPreservingFlow:
        """This map, which from now on counts particles that leave the cube, where it raised before."""
        self.on_escape = "count"
        return self

    @torch.no_grad()
    def escaped(self, z: Tensor) -> int:
        """Rows of z that s loses: out of the cube at any grid point, or not finite in the charts without a wall."""
        y = self._enter_chart(self._rotate(self.points(z)))
        if self.chart is Chart.cube:
            return count_outside(self._watch(y, 0.0, 1.0)[1])
        return int((~self._map(y).isfinite().all(dim=1)).sum())

    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """log|det ds/dz| of the discretized s, d tangents of at most `chunk` rows at a time: (n,), no graph.

        By the written derivatives of the velocity, at every stage of every step, where it has them in the chart; by
        forward mode of automatic differentiation elsewhere.
        """
        along = self.velocity.along_all(self.chart)
        if along is not None:
            start = self._rotate(self.points(z))
            log_det, end = path_log_det(along, self._enter_chart(start), self.n_steps, self.method, chunk)
            if self.chart is not Chart.cube:
                return log_det
            return log_det + analytic_log_det(from_cube(end), start)  # dc/dz is sqrt(2 / pi) exp(-z^2 / 2)
        return exact_log_det(
            lambda rows: self._leave_chart(self._map(self._enter_chart(self._rotate(rows)))), self.points(z), chunk
        )

    def cube_velocities(self, path: Trajectory) -> Tensor:
        """Velocities of the same path seen in the cube, dc/dt = (dc/dz) dz/dt, (N+1, n, d): for energies (eq. 9)."""
        return path.velocities if self.chart is Chart.cube else cube_density(path.points) * path.velocities

    def penalty_field(self) -> Field:
        """The velocity on which Euler's penalty acts: dc/dt as a function of c, or dz/dt of z in the chart `direct`.

        It holds what the parameters are now: ask for one in every training step.
        Departure: in `direct` a total derivative that is a gradient makes a geodesic of the maps that preserve the
        Gaussian, with lengths measured in z under the Gaussian (Arnold's theorem there), and not one of the cube.
        """
        return self.velocity.field(Chart.direct if self.chart is Chart.direct else Chart.cube)

    def penalty_along(self) -> Along | None:
        """`penalty_field` with its derivatives along directions, where the velocity has them written."""
        return self.velocity.along(Chart.direct if self.chart is Chart.direct else Chart.cube)

    def penalty_points(self, points: Tensor) -> Tensor:
        """Points of a path (N+1, n, d) in the coordinates of `penalty_field`."""
        return to_cube(points) if self.chart is Chart.gaussian else points

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"chart={self.chart.value}, n_steps={self.n_steps}, method={self.method.value}"

    def _origin(self) -> str:
        return f"{self.chart.value}/{self.method.value}"

    def _field(self) -> Field:
        """dy/dt in the chart; made anew for each path, since it holds what the parameters are now."""
        return self.velocity.field(self.chart)

    def _rotate(self, z: Tensor) -> Tensor:
        return z @ self.rotation.T

    def _enter_chart(self, z: Tensor) -> Tensor:
        return to_cube(z) if self.chart is Chart.cube else z

    def _leave_chart(self, y: Tensor) -> Tensor:
        return from_cube(y) if self.chart is Chart.cube else y

    def _map(self, y: Tensor) -> Tensor:
        """Phi in the chart, with no look at the points on the way."""
        return integrate(self._field(), y, self.n_steps, self.method)

    def _advance(self, y: Tensor, t0: float, t1: float) -> Tensor:
        """The point at t1, or OutsideCube if the grid points between are asked to stay in the cube and do not."""
        points = self.velocity.points(self.chart, y, self.n_steps, self.method, t0, t1)
        if points is not None:
            return points[-1]
        if self.chart is not Chart.cube or self.on_escape == "count":
            return integrate(self._field(), y, self.n_steps, self.method, t0, t1)
        end, worst = self._watch(y, t0, t1)
        self._refuse_escaped(worst, y)
        return end

    def _watch(self, y: Tensor, t0: float, t1: float) -> tuple[Tensor, Tensor]:
        """The point at t1, and the largest |c| of each coordinate over the grid points (NaN stays)."""
        end, worst = y, y.detach().abs()
        for end, _ in walk(self._field(), y, self.n_steps, self.method, t0, t1):
            worst = torch.maximum(worst, end.detach().abs())
        return end, worst

    def _refuse_escaped(self, worst: Tensor, start: Tensor) -> None:
        count = count_outside(worst)
        if count == 0:
            return
        asked = (
            f"{len(start)} particles were to stay in the cube (-1, 1)^{self.dim} over {self.n_steps} "
            f"{self.method.value} steps, and {count} did not"
        )
        if at_start := count_outside(start):  # no number of steps helps these
            raise OutsideCube(
                f"{asked}, {at_start} of them at the start: the frozen flow puts them so far out that erf rounds to 1. "
                'Train that flow for longer, or take the chart that has no wall (chart="gaussian")',
                advice={"flow_length": ..., "GaussianPreservingFlow.chart": "gaussian"},
            )
        raise OutsideCube(
            f'{asked}; take more steps (n_steps={2 * self.n_steps}) or the chart that has no wall (chart="gaussian")',
            advice={"GaussianPreservingFlow.n_steps": 2 * self.n_steps, "GaussianPreservingFlow.chart": "gaussian"},
        )


def _with_velocities(points: Tensor, field: Field) -> Trajectory:
    """The path of these grid points (N+1, n, d) over [0, 1], the field evaluated at all of them together."""
    times = _times(points)
    velocities = field(times.repeat_interleave(points.shape[1]), points.flatten(0, 1))
    return Trajectory(times, points, velocities.view(points.shape))


def _times(points: Tensor) -> Tensor:
    """Of grid points (N+1, n, d) over [0, 1]."""
    return torch.linspace(0.0, 1.0, len(points), dtype=points.dtype, device=points.device)


C = TypeVar("C", Chart, Method)


def _choice(choices: type[C], value: C | str, what: str) -> C:
    try:
        return choices(value)
    except ValueError:
        listed = ", ".join(repr(choice.value) for choice in choices)
        raise BadConfig(f"a {what} is one of {listed}, and got {value!r}") from None


def _check_origin(flow: GaussianPreservingFlow, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    """Before a state dict is loaded: it was made in the same chart by the same method. A state without the record is
    older than it, and is taken as it was."""
    key = f"{prefix}made_in"
    if key not in state:
        state[key] = flow.made_in
        return
    origin = bytes(state[key].tolist()).decode(errors="replace")
    if origin != flow._origin():
        chart, _, method = origin.partition("/")
        raise BadConfig(
            f"weights of a GP flow are a map only in the chart they were made in, {chart} by {method}, and this flow "
            f"has {flow._origin().replace('/', ' by ')}; build it with chart={chart!r}, method={method!r}"
        )


def _read_state(flow: GaussianPreservingFlow, _keys: Any) -> None:
    """After a state dict was loaded: the number of steps on the host follows the buffer."""
    flow.refine(int(flow.steps))
