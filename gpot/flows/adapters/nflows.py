"""nflows: `_transform(x, context) -> (u, log_det)`, `_distribution`, and a network that embeds the context."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gpot.errors import FlowRefused, InverseNotAvailable
from gpot.flows.adapters.base import AdaptedFlow, base_context, first_tensor, one_context
from gpot.flows.bases import Base, normal_base


class NFlowsFlow(AdaptedFlow):
    """A Flow of nflows, with a fixed context if it has one."""

    library = "nflows"

    def __init__(self, source: Any, context: Tensor | None, base: Any, dim: int | None) -> None:
        law = source._distribution
        dim = dim or int(law._shape.numel() if hasattr(law, "_shape") else law.event_shape.numel())
        embedded = None if context is None else source._embedding_net(context)
        super().__init__(source, dim, base if base is not None else _base(law, embedded, dim), context)

    def _embedded(self, x: Tensor) -> Tensor | None:
        return None if self.context is None else self.source._embedding_net(self.rows_of_context(x))

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.source._transform(x, context=self._embedded(x))

    def from_base(self, u: Tensor) -> Tensor:
        try:
            return self.source._transform.inverse(u, context=self._embedded(u))[0]
        except Exception as error:
            if type(error).__name__ != "InverseNotAvailable":
                raise
            raise InverseNotAvailable(
                f"{self.source_name} has no inverse; it is fitted on data: gpot.fit(flow, x)"
            ) from error


def _base(law: Any, embedded: Tensor | None, dim: int) -> Any:
    name = type(law).__name__
    if name == "StandardNormal":
        return Base()
    if name == "DiagonalNormal":
        return normal_base(law.mean_.reshape(-1), law.log_std_.reshape(-1).exp())
    if name == "ConditionalDiagonalNormal":
        with torch.no_grad():
            mean, log_std = law._compute_params(base_context(embedded, "this nflows Flow"))
        return normal_base(mean.reshape(-1), log_std.reshape(-1).exp())
    if isinstance(law, torch.distributions.Distribution):
        return law
    raise FlowRefused(
        f"the base {name} of nflows is neither normal nor a product of one-dimensional laws; train the flow with "
        "StandardNormal, or say what its codes are: base=torch.distributions...."
    )


def adapt(flow: Any, *, context: Any = None, base: Any = None, dim: int | None = None) -> AdaptedFlow | None:
    """The adapter, or None for an object of nflows that is no flow."""
    if hasattr(flow, "_transform") and hasattr(flow, "_distribution"):
        # without a context such a layer leaves out its weights and says nothing
        conditional = any(name.endswith("context_layer") for name, _ in flow._transform.named_modules())
        row = one_context(context, first_tensor(flow), conditional, f"nflows {type(flow).__name__}")
        return NFlowsFlow(flow, row, base, dim)
    return None
