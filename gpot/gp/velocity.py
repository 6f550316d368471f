r"""Velocities of Gaussian-preserving flows: the paper's tanh network, and the ridge family.

A velocity knows psi (antisymmetric, d x d) through its parameters; `forward` turns it into dy/dt in the coordinates y
of a chart (:class:`gpot.maths.charts.Chart`). Whatever the parameters, the exact flow of dy/dt preserves the Gaussian;
what a numerical integrator loses is measured elsewhere.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from enum import Enum
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig, BadInput
from gpot.maths.charts import Chart, gaussian_factors
from gpot.maths.divergence_free import (
    WeightedAlong,
    WeightedField,
    mlp_along,
    mlp_field,
    ridge_field,
    ridge_field_along,
)
from gpot.maths.integrate import Along, Method
from gpot.maths.ridge_path import packed, ridge_path
from gpot.maths.ridge_tangents import ridge_along_path, ridge_jacobian


class Velocity(nn.Module, ABC):
    """Base: subclasses give the weighted divergence w of psi; the chart is handled here, once.

    takes_times: whether `field` takes t of shape (n,), one time per particle.
    """

    takes_times = True

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2:
            raise BadConfig(f"a Gaussian-preserving velocity needs dim >= 2, found {dim}; set dim to that of the flow")
        self.dim = dim

    @abstractmethod
    def weighted_field(self) -> WeightedField:
        r"""The field :math:`w_i = \sum_j (p_j \partial_j \psi_{ij} - r_j \psi_{ij})` as a function of (y, t, p, r).

        What depends on the parameters alone is computed here; the function is for as many evaluations as the parameters
        last.
        """

    def field(self, chart: Chart) -> Callable[[Tensor | float, Tensor], Tensor]:
        r"""Velocity dy/dt(t, y) in the coordinates of the chart: q w(c), gamma(z) w(c(z)), or w(z) with (p, r) = (1,
        z).

        The function holds the parameters' present values: make one per trajectory, not one per step and not one per
        program.
        """
        w = self.weighted_field()

        def cube(t: Tensor | float, c: Tensor) -> Tensor:
            q = 1.0 - c * c
            return q * w(self._checked(c), t, q, 2.0 * c)

        def gaussian(t: Tensor | float, z: Tensor) -> Tensor:
            c, q, speed = gaussian_factors(self._checked(z))
            return speed * w(c, t, q, 2.0 * c)

        def direct(t: Tensor | float, z: Tensor) -> Tensor:
            return w(self._checked(z), t, None, z)

        return {Chart.cube: cube, Chart.gaussian: gaussian, Chart.direct: direct}[Chart(chart)]

    def weighted_along(self) -> WeightedAlong | None:
        """`weighted_field` with its derivatives along directions, where a family has them written; None where not."""
        return None

    def along(self, chart: Chart) -> Along | None:
        """The function of (t, y, u) that gives dy/dt (n, d) and its derivatives along u, (k, n, d), in the chart; None
        where :meth:`weighted_along` is. Like `field`, of the present parameters."""
        w = self.weighted_along()
        if w is None:
            return None

        def cube(t: Tensor, c: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            q, u_q = 1.0 - c * c, -2.0 * c * u
            value, tangents = w(self._checked(c), t, q, 2.0 * c, u, u_q, 2.0 * u)
            return q * value, q * tangents + u_q * value

        def direct(t: Tensor, z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            return w(self._checked(z), t, torch.ones_like(z), z, u, torch.zeros_like(u), u)

        def gaussian(t: Tensor, z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            c, q, speed = gaussian_factors(self._checked(z))
            u_c = q / speed * u  # q / speed is dc/dz
            value, tangents = w(c, t, q, 2.0 * c, u_c, -2.0 * c * u_c, 2.0 * u_c)
            return speed * value, speed * tangents + (z * speed - 2.0 * c) * u * value

        return {Chart.cube: cube, Chart.gaussian: gaussian, Chart.direct: direct}[Chart(chart)]

    def along_all(self, chart: Chart) -> Along | None:
        """`along` for directions as many as coordinates or more, where a family has a faster way to those."""
        return self.along(chart)

    def points(self, chart: Chart, y: Tensor, n_steps: int, method: Method, t0: float, t1: float) -> Tensor | None:
        """The grid points (n_steps + 1, n, d) of the path from y (n, d), where a family has a faster way to them than
        one evaluation of its field after another; None where it has not."""
        return None

    def forward(self, t: Tensor | float, y: Tensor, chart: Chart) -> Tensor:
        """Velocity dy/dt at y, shape (n, d), in the chart's coordinates; t: number, or shape () or (n,), one time per
        particle.

        For more than one evaluation with the same parameters use :meth:`field`, which prepares them once.
        """
        return self.field(chart)(t, y)

    def _checked(self, y: Tensor) -> Tensor:
        if y.ndim != 2 or y.shape[1] != self.dim:
            raise BadInput(
                f"velocity of dimension {self.dim} needs positions of shape (n, {self.dim}), found {tuple(y.shape)}; "
                f"give one particle per row, or set the velocity's dim to {y.shape[-1] if y.ndim else 1}"
            )
        return y


class MLPInit(str, Enum):
    """How the weights of :class:`MLPVelocity` start."""

    small_output = "small_output"
    """Hidden layers as PyTorch draws them, output weights N(0, output_scale^2), output bias 0."""
    released = "released"
    """As the released code: every weight N(0, 1e-3^2), every bias 0 (hidden units align; training stalls at rank
    one)."""


class MLPVelocity(Velocity):
    r"""The paper's velocity (eq. 14 to 19): one tanh network u(y, t) whose d B outputs are the blocks a^n of psi.

    Output `component * n_blocks + block`; input (y, t) with time last; parameters `denses.k.weight`, `denses.k.bias`
    (names and shapes of the released checkpoints). With n_blocks = d - 1 every divergence-free field can be represented
    (Prop. 3). Departure: by default only the output starts small (see :class:`MLPInit`).
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (50, 50, 50),
        n_blocks: int | None = None,
        init: MLPInit | str = MLPInit.small_output,
        output_scale: float = 1e-3,
    ) -> None:
        super().__init__(dim)
        n_blocks = dim - 1 if n_blocks is None else n_blocks
        if not 1 <= n_blocks <= dim - 1:
            raise BadConfig(f"dim={dim} allows 1 to {dim - 1} blocks, found n_blocks={n_blocks}; set it in that range")
        if not hidden or min(hidden) < 1:
            raise BadConfig(
                f"at least one hidden layer of width >= 1 is needed, found hidden={tuple(hidden)}; try (50, 50, 50)"
            )
        if init not in list(MLPInit):
            raise BadConfig(f"init must be one of {[i.value for i in MLPInit]}, found {init!r}")
        self.n_blocks = n_blocks
        widths = [dim + 1, *hidden, dim * n_blocks]
        layers = [nn.Linear(i, o) for i, o in pairwise(widths)]
        with torch.no_grad():
            if MLPInit(init) is MLPInit.released:
                for dense in layers:
                    nn.init.normal_(dense.weight, std=1e-3)
                    nn.init.zeros_(dense.bias)
            else:
                nn.init.normal_(layers[-1].weight, std=output_scale)
                nn.init.zeros_(layers[-1].bias)
        self.denses = nn.ModuleList(layers)

    def weighted_field(self) -> WeightedField:
        """See :func:`gpot.maths.divergence_free.mlp_field`."""
        return mlp_field(*self._layers(), self.dim)

    def weighted_along(self) -> WeightedAlong:
        """See :func:`gpot.maths.divergence_free.mlp_along`."""
        return mlp_along(*self._layers(), self.dim)

    def _layers(self) -> tuple[list[Tensor], list[Tensor]]:
        layers = [cast(nn.Linear, layer) for layer in self.denses]
        return [layer.weight for layer in layers], [layer.bias for layer in layers]


class RidgeVelocity(Velocity):
    r"""K neurons, each with its own rank-two antisymmetric matrix; cost linear in d (not in the paper).

    .. math:: \psi(t, y) = \sum_k (\alpha_k \beta_k^\top - \beta_k \alpha_k^\top) \tanh(w_k \cdot y + o_k t + b_k)

    Parameters w, alpha, beta: shape (K, d); o, b: shape (K,).
    Start: w ~ N(0, 1/d), o, b ~ N(0, 1), so that tanh is neither linear nor saturated for y of unit variance; alpha,
    beta ~ N(0, s^2) with s^2 = output_scale / sqrt(2 K), which makes the field of size output_scale while its factors,
    and so the gradients, stay far larger.
    """

    def __init__(self, dim: int, width: int = 256, output_scale: float = 1e-2) -> None:
        super().__init__(dim)
        if width < 1:
            raise BadConfig(f"the ridge velocity needs at least one neuron, found width={width}; try 64 (d = 2) or 256")
        self.width = width
        factor_scale = math.sqrt(output_scale / math.sqrt(2.0 * width))
        self.w = nn.Parameter(torch.randn(width, dim) / math.sqrt(dim))
        self.o = nn.Parameter(torch.randn(width))
        self.b = nn.Parameter(torch.randn(width))
        self.alpha = nn.Parameter(factor_scale * torch.randn(width, dim))
        self.beta = nn.Parameter(factor_scale * torch.randn(width, dim))

    def weighted_field(self) -> WeightedField:
        """See :func:`gpot.maths.divergence_free.ridge_field`."""
        return ridge_field(*self._neurons)

    def weighted_along(self) -> WeightedAlong:
        """See :func:`gpot.maths.divergence_free.ridge_field_along`."""
        return ridge_field_along(*self._neurons)

    def along(self, chart: Chart) -> Along | None:
        """In the chart `direct` by :func:`gpot.maths.ridge_tangents.ridge_along_path`."""
        if chart is not Chart.direct:
            return super().along(chart)
        matrices = packed(*self._neurons)
        return lambda t, z, u: ridge_along_path(self._checked(z), t.expand(len(z)), u, *matrices)

    def along_all(self, chart: Chart) -> Along | None:
        """In the chart `direct` by the Jacobian, :func:`gpot.maths.ridge_tangents.ridge_jacobian`."""
        if chart is not Chart.direct:
            return self.along(chart)
        values = ridge_jacobian(*packed(*self._neurons))

        def through_jacobian(t: Tensor, z: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
            velocity, jacobian = values(t, self._checked(z))
            return velocity, (u.transpose(0, 1) @ jacobian.mT).transpose(0, 1)

        return through_jacobian

    def points(self, chart: Chart, y: Tensor, n_steps: int, method: Method, t0: float, t1: float) -> Tensor | None:
        """In the chart `direct`: see :func:`gpot.maths.ridge_path.ridge_path`."""
        if chart is not Chart.direct:
            return None
        return ridge_path(self._checked(y), n_steps, method, t0, t1, self._neurons)

    @property
    def _neurons(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        return self.w, self.o, self.b, self.alpha, self.beta
