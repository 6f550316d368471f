"""The velocity that solves Euler's equations, with its initial value as the parameter: the baseline of Figure 4."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.gp.velocity import Velocity
from gpot.maths.charts import Chart
from gpot.maths.divergence_free import WeightedField
from gpot.maths.integrate import Trajectory
from gpot.maths.spectral import cube_field, gaussian_field, hermite, solve_euler, stream_weights


class SpectralVelocity(Velocity):
    r"""v(t, c) = sum_mn b_mn(t) phi_mn(c): b(0) is learned, b(t) solves Euler's equations (paper, section 6.1).

    Parameter `initial`: b(0), shape (M, M), in the orthonormal basis of :mod:`gpot.maths.spectral`; it starts
    U(-initial_scale, initial_scale), so that the initial energy is M^2 initial_scale^2 / 24 on average.
    :meth:`field` solves for the path of the coefficients once, by `n_steps` steps of Runge-Kutta 4, and interpolates it
    in time to the same order: the grid of the flow is free. What the solver loses is Euler's equations and never the
    Gaussian: every velocity of the basis preserves that.
    For points of dimension 2, in the charts `cube` and `gaussian`.
    Departure: sines for polynomials, see :mod:`gpot.maths.spectral`.
    """

    takes_times = False  # the solution is interpolated at one time

    def __init__(self, dim: int = 2, modes: int = 8, n_steps: int = 15, initial_scale: float = 0.01) -> None:
        super().__init__(dim)
        if dim != 2:
            raise BadConfig(
                f"the spectral velocity solves Euler's equations on a square, so dim=2 is needed, found dim={dim}; "
                "take MLPVelocity or RidgeVelocity, with the penalty of Euler's equations to come near them",
                advice={"velocity": "mlp", "penalty": "euler_latent"},
            )
        if modes < 1 or n_steps < 1:
            raise BadConfig(
                "the spectral velocity needs at least one sine per coordinate and one step of the solver, found "
                f"modes={modes}, n_steps={n_steps}; try modes=8, n_steps=15",
                advice={"SpectralVelocity.modes": 8, "SpectralVelocity.n_steps": 15},
            )
        self.n_steps = n_steps
        self.initial = nn.Parameter(torch.empty(modes, modes).uniform_(-initial_scale, initial_scale))

    def coefficients(self) -> Trajectory:
        """The solved path of b: times (N+1,), points and velocities (N+1, M, M), differentiable in `initial`."""
        return solve_euler(self.initial, self.n_steps)

    def field(self, chart: Chart) -> Callable[[Tensor | float, Tensor], Tensor]:
        """Velocity dy/dt(t, y) in the coordinates of the chart `cube` or `gaussian`; the equations are solved here.

        The function holds the solution for the parameters' present values: make one per trajectory.
        """
        if Chart(chart) is Chart.direct:
            raise BadConfig(
                "the spectral velocity is given on the square, so it has the charts cube and gaussian, found direct; "
                'take chart="gaussian"',
                advice={"GaussianPreservingFlow.chart": "gaussian"},
            )
        at_points = {Chart.cube: cube_field, Chart.gaussian: gaussian_field}[Chart(chart)]
        path = self.coefficients()
        weights = hermite(Trajectory(path.times, stream_weights(path.points), stream_weights(path.velocities)))
        return lambda t, y: at_points(self._checked(y), weights(t))

    def weighted_field(self) -> WeightedField:
        """Not available: the sines vanish at the walls as cos(pi c / 2), not as the weight 1 - c^2."""
        raise BadConfig(
            "the spectral velocity has no weighted divergence of a potential that is smooth at the walls; "
            "call field(chart) in place of weighted_field()"
        )
