"""normflows: `flows` map z to x, so that their inverses, last first, are f; the base q0 may be trainable."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Uniform

from gpot.errors import FlowRefused
from gpot.flows.adapters.base import AdaptedFlow, base_context, first_tensor, one_context
from gpot.flows.bases import normal_base


class NormFlowsFlow(AdaptedFlow):
    """A NormalizingFlow of normflows, or a conditional one with a fixed context.

    The layers are called here one by one: `inverse_and_log_det` sums log-determinants in float32, whatever x is.
    """

    library = "normflows"

    def __init__(self, source: Any, context: Tensor | None, base: Any, dim: int | None) -> None:
        known = getattr(source.q0, "d", getattr(source.q0, "dim", None))
        if dim is None and known is None:
            raise FlowRefused(f"the base {type(source.q0).__name__} of normflows says no dimension; type dim=2")
        dim = dim or int(known or 0)
        super().__init__(source, dim, base if base is not None else _base(source.q0, context, dim), context)

    def _options(self, y: Tensor) -> dict[str, Tensor | None]:
        return {} if self.context is None else {"context": self.rows_of_context(y)}

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        u, total = x, torch.zeros_like(x[:, 0])
        for layer in reversed(list(self.source.flows)):
            u, log_det = layer.inverse(u, **self._options(x))
            total = total + log_det
        return u, total

    def from_base(self, u: Tensor) -> Tensor:
        for layer in self.source.flows:
            u, _ = layer(u, **self._options(u))
        return u


def _base(q0: Any, context: Tensor | None, dim: int) -> Any:
    name, cold = type(q0).__name__, getattr(q0, "temperature", None)
    warmth = 1.0 if cold is None else float(cold)
    if name == "DiagGaussian":
        return normal_base(q0.loc.reshape(-1), q0.log_scale.reshape(-1).exp() * warmth)
    if name == "ConditionalDiagGaussian":
        with torch.no_grad():
            mean, log_scale = q0.context_encoder(base_context(context, "this normflows flow")).chunk(2, dim=-1)
        return normal_base(mean.reshape(-1), log_scale.reshape(-1).exp())
    if name == "Uniform":
        return Uniform(q0.low.expand(dim), q0.high.expand(dim), validate_args=False)
    raise FlowRefused(
        f"the base {name} of normflows is neither normal nor a product of one-dimensional laws; train the flow with "
        "DiagGaussian, or say what its codes are: base=torch.distributions...."
    )


def adapt(flow: Any, *, context: Any = None, base: Any = None, dim: int | None = None) -> AdaptedFlow | None:
    """The adapter, or None for an object of normflows that is no flow."""
    if not isinstance(flow, nn.Module) or not hasattr(flow, "flows"):
        return None
    name = type(flow).__name__
    if not hasattr(flow, "q0") or not callable(getattr(flow, "inverse_and_log_det", None)):
        raise FlowRefused(
            f"{name} of normflows is not one map x -> z (classes or scales have their own); pass a pair of functions: "
            "gpot.fit((forward, inverse), x)"
        )
    conditional = name.startswith("Conditional")
    if conditional and context is None:
        raise FlowRefused(f"{name} of normflows needs a context: type gpot.fit(flow, context=c)")
    return NormFlowsFlow(flow, one_context(context, first_tensor(flow), conditional, name), base, dim)
