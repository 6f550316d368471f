"""The velocity of two layers of neurons; and velocities by their names."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
from gpot.maths.charts import Chart
from gpot.maths.deep_path import deep_along, deep_field, deep_packed, deep_path
from gpot.maths.divergence_free import WeightedField
from gpot.maths.integrate import Along, Method


class DeepRidgeVelocity(Velocity):
    r"""Two layers of neurons, each upper one with its own rank-two antisymmetric matrix (not in the paper): the stream
    function of a deeper network, and no tangents (:mod:`gpot.maths.deep_path`). In the chart `direct` alone.

    .. math:: \psi(t, y) = \sum_k (\alpha_k \beta_k^\top - \beta_k \alpha_k^\top) \tanh(v_k \cdot g + s_k \cdot y +
        q_k t + c_k), \qquad g = \tanh(W y + o t + b)

    Parameters w: shape (M, d); o, b: (M,); v: (K, M); s, alpha, beta: (K, d); q, c: (K,).
    Start: each layer as :class:`RidgeVelocity` starts its one, v ~ N(0, 1/M).
    """

    def __init__(self, dim: int, width: int = 64, below: int = 64, output_scale: float = 1e-2) -> None:
        super().__init__(dim)
        if min(width, below) < 1:
            raise BadConfig(
                f"a deep ridge velocity needs at least one neuron in each layer, found width={width}, below={below}; "
                "try 64 and 64"
            )
        self.width, self.below = width, below
        factor_scale = math.sqrt(output_scale / math.sqrt(2.0 * width))
        self.w = nn.Parameter(torch.randn(below, dim) / math.sqrt(dim))
        self.o = nn.Parameter(torch.randn(below))
        self.b = nn.Parameter(torch.randn(below))
        self.v = nn.Parameter(torch.randn(width, below) / math.sqrt(below))
        self.s = nn.Parameter(torch.randn(width, dim) / math.sqrt(dim))
        self.q = nn.Parameter(torch.randn(width))
        self.c = nn.Parameter(torch.randn(width))
        self.alpha = nn.Parameter(factor_scale * torch.randn(width, dim))
        self.beta = nn.Parameter(factor_scale * torch.randn(width, dim))

    def weighted_field(self) -> WeightedField:
        """In the chart `direct`: see :func:`gpot.maths.deep_path.deep_field`."""
        field = deep_field(*deep_packed(*self._neurons))

        def w(y: Tensor, t: Tensor | float, p: Tensor | None, r: Tensor) -> Tensor:
            if p is not None:
                raise BadConfig(
                    "a deep ridge velocity is one of the chart 'direct', and was asked for another; pass "
                    "chart='direct', or take a RidgeVelocity"
                )
            return field(torch.as_tensor(t, dtype=y.dtype, device=y.device), y)

        return w

    def points(self, chart: Chart, y: Tensor, n_steps: int, method: Method, t0: float, t1: float) -> Tensor | None:
        """In the chart `direct`: see :func:`gpot.maths.deep_path.deep_path`."""
        if chart is not Chart.direct:
            return None
        return deep_path(self._checked(y), n_steps, method, t0, t1, self._neurons)

    def along(self, chart: Chart) -> Along | None:
        """In the chart `direct`: see :func:`gpot.maths.deep_path.deep_along`."""
        if chart is not Chart.direct:
            return None
        packed = deep_packed(*self._neurons)
        return lambda t, y, u: deep_along(t, self._checked(y), u, packed)

    @property
    def _neurons(self) -> tuple[Tensor, ...]:
        return self.w, self.o, self.b, self.v, self.s, self.q, self.c, self.alpha, self.beta


def named_velocity(name: str, dim: int | None) -> Velocity:
    """A family by its name, with fresh weights for points of dimension `dim`: "ridge", "deep_ridge" or "mlp", at their
    defaults."""
    if dim is None:
        raise BadConfig(f"the velocity {name!r} needs the dimension of its points; type dim=2, or whatever f.dim is")
    if name == "ridge":
        return RidgeVelocity(dim, width=128 if dim == 2 else 256)
    if name == "deep_ridge":
        return DeepRidgeVelocity(dim, 32, 32) if dim == 2 else DeepRidgeVelocity(dim)
    if name == "mlp":
        return MLPVelocity(dim)
    raise BadConfig(
        f"a velocity is 'ridge', 'deep_ridge', 'mlp' or a Velocity, and got {name!r}; for twists take TwistFlow(dim)"
    )
