"""Gaussian-preserving maps one after another."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart


class SeriesFlow(GaussianPreserving):
    r"""s = s_L o ... o s_1 o Q: what each keeps, all of them keep (not in the paper).

    Where the stages are flows in time, s is the flow of a velocity whose weights change L times on the way: L times the
    parameters of one flow, at the cost of one on a grid as fine.

    Arguments:
        stages: s_1, ..., s_L, any Gaussian-preserving maps of one dimension.
        rotation: Q, shape (d, d), or None for I.
    Attribute `n_steps`: time steps of all stages together; None where none has any.
    Errors: BadConfig for no stage, or for stages of different dimensions.

    >>> SeriesFlow.of_ridges(dim=3, n_stages=4, width=8).n_steps
    4
    """

    def __init__(self, stages: Sequence[GaussianPreserving], rotation: Tensor | None = None) -> None:
        dims = sorted({stage.dim for stage in stages})
        if len(dims) != 1:
            found = f"of the dimensions {dims}" if dims else "none"
            raise BadConfig(f"a series needs one stage or more, all of the same dimension, and got {found}")
        super().__init__(dims[0])
        self.stages = nn.ModuleList(stages)
        self.rotation = self.rotation.to(stages[0].rotation)
        if rotation is not None:
            self.set_rotation(rotation)

    @classmethod
    def of_ridges(cls, dim: int, n_stages: int = 4, width: int = 128, n_steps: int = 1) -> SeriesFlow:
        """Ridge fields in the chart `direct`, of `width` neurons and with `n_steps` time steps each, fresh weights."""
        if n_stages < 1:
            raise BadConfig(f"a series of ridge fields needs at least one, and got n_stages={n_stages}; try 4")
        return cls([GaussianPreservingFlow(RidgeVelocity(dim, width), Chart.direct, n_steps) for _ in range(n_stages)])

    @property
    def n_steps(self) -> int | None:  # type: ignore[override]
        """Of all stages together."""
        timed = [stage.n_steps for stage in self._maps if stage.n_steps is not None]
        return sum(timed) if timed else None

    def refine(self, n_steps: int) -> None:
        """Give the flows in time among the stages equal numbers of steps, at least `n_steps` together."""
        timed = [stage for stage in self._maps if isinstance(stage, GaussianPreservingFlow)]
        if not timed:
            raise BadConfig("no stage of this series has time steps; nothing is discretized that could be refined")
        for stage in timed:
            stage.refine(-(-n_steps // len(timed)))

    def transport(self, z: Tensor) -> Tensor:
        """s(z) alone: shape (n, d)."""
        y = self.points(z) @ self.rotation.T
        for stage in self._maps:
            y = stage.transport(y)
        return y

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """z with s(z) = s, `refine` corrections of each stage: shape (n, d)."""
        y = self.points(s)
        for stage in reversed(self._maps):
            y = stage.inverse(y, refine)
        return y @ self.rotation

    @torch.no_grad()
    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """log|det ds/dz|, the sum of those of the stages, each by automatic differentiation: (n,), no graph."""
        y = self.points(z) @ self.rotation.T
        total = torch.zeros_like(y[:, 0])
        for stage in self._maps:
            total = total + stage.exact_log_det(y, chunk)
            y = stage.transport(y)
        return total

    def extra_repr(self) -> str:
        """Shown by print."""
        return f"dim={self.dim}, n_steps={self.n_steps}"

    @property
    def _maps(self) -> list[GaussianPreserving]:
        return list(self.stages)  # type: ignore[arg-type]
