"""Pyro and torch.distributions: a TransformedDistribution maps its base to x by `transforms`, first to last."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gpot.errors import FlowRefused, InverseNotAvailable
from gpot.flows.adapters.base import AdaptedFlow, first_tensor, one_context


class TransformedFlow(AdaptedFlow):
    """A TransformedDistribution: f runs its transforms backward, and log|det| is the negative sum of theirs."""

    library = "Pyro"

    def __init__(self, source: Any, base: Any, dim: int) -> None:
        super().__init__(source, dim, source.base_dist if base is None else base)
        # parameters of the transforms are those of this flow
        self.modules_of_source = nn.ModuleList(t for t in source.transforms if isinstance(t, nn.Module))

    @property
    def source_name(self) -> str:
        return f"{type(self.source).__module__.split('.')[0]} {type(self.source).__name__}"

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        total = torch.zeros_like(x[:, 0])
        try:
            for transform in reversed(self.source.transforms):
                u = transform.inv(x)
                log_det = transform.log_abs_det_jacobian(u, x)
                total = total - (log_det.sum(-1) if log_det.ndim > 1 else log_det)
                x = u
        except (NotImplementedError, KeyError) as error:
            raise FlowRefused(
                f"{self.source_name} has a transform without inverse ({error}), so x -> z cannot be computed and it "
                "has no density at given points; build it from transforms that have one"
            ) from error
        return x, total

    def from_base(self, u: Tensor) -> Tensor:
        try:
            for transform in self.source.transforms:
                u = transform(u)
        except (NotImplementedError, KeyError) as error:
            raise InverseNotAvailable(f"{self.source_name} has no samples ({error}); it is fitted on data") from error
        return u


def adapt(flow: Any, *, context: Any = None, base: Any = None, dim: int | None = None) -> AdaptedFlow | None:
    """The adapter, or None for a distribution that is no flow."""
    if hasattr(flow, "condition") and hasattr(flow, "transforms"):
        if context is None:
            raise FlowRefused(f"{type(flow).__name__} is conditional, and needs a context: type context=c")
        like = next((first_tensor(t) for t in flow.transforms if isinstance(t, nn.Module)), None)
        row = one_context(context, like, True, type(flow).__name__)
        assert row is not None
        flow = flow.condition(row[0])
    if not hasattr(flow, "transforms") or not hasattr(flow, "base_dist"):
        return None
    shape = flow.event_shape or flow.batch_shape
    if len(shape) != 1:
        raise FlowRefused(
            f"{type(flow).__name__} is over arrays {tuple(shape)}, and a flow is over rows (d,); give its base "
            "one event axis, as in dist.Normal(zeros, ones).to_event(1)"
        )
    return TransformedFlow(flow, base, dim or int(shape[0]))
