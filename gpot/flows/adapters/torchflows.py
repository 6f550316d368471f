"""torchflows: `bijection.forward(x, context) -> (z, log_det)`, and `base`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from gpot.errors import FlowRefused
from gpot.flows.adapters.base import AdaptedFlow, first_tensor, one_context
from gpot.flows.bases import normal_base


class TorchFlowsFlow(AdaptedFlow):
    """A Flow of torchflows; points are rows, whatever the shape of its event."""

    library = "torchflows"

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.source.bijection.forward(self._event(x), context=self.rows_of_context(x))[:2]
        return z.reshape(len(x), -1), log_det

    def from_base(self, u: Tensor) -> Tensor:
        x = self.source.bijection.inverse(self._event(u), context=self.rows_of_context(u))[0]
        return x.reshape(len(u), -1)

    def _event(self, y: Tensor) -> Tensor:
        return y.reshape(len(y), *self.source.event_shape)


def adapt(flow: Any, *, context: Any = None, base: Any = None, dim: int | None = None) -> AdaptedFlow | None:
    """The adapter, or None for an object of torchflows that is no flow."""
    if hasattr(flow, "bijection") and hasattr(flow, "base"):
        conditional = flow.bijection.context_shape is not None
        row = one_context(context, first_tensor(flow), conditional, type(flow).__name__)
        law = base if base is not None else _base(flow.base)
        return TorchFlowsFlow(flow, dim or int(flow.event_size), law, row)
    if hasattr(flow, "event_shape") and hasattr(flow, "inverse") and not hasattr(flow, "base"):
        raise FlowRefused(
            f"{type(flow).__name__} is a bijection of torchflows, and a flow has a base too: type "
            "torchflows.Flow(bijection), which has N(0, I)"
        )
    return None


def _base(law: Any) -> Any:
    name = type(law).__name__
    if name in ("DiagonalGaussian", "StandardGaussian"):
        return normal_base(law.loc.reshape(-1), law.scale.reshape(-1))
    if name == "DenseGaussian":
        return normal_base(law.loc.reshape(-1), law.cholesky)
    if type(law).__module__.startswith("torchflows"):
        raise FlowRefused(
            f"the base {name} of torchflows is neither normal nor a product of one-dimensional laws; train the flow "
            "with the standard one, or say what its codes are: base=torch.distributions...."
        )
    return law
