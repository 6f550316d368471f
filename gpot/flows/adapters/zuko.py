"""zuko: `flow(c)` is a distribution with `transform` x -> u and `base`; it is built anew at each call, from the
parameters as they are."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from gpot.errors import FlowRefused
from gpot.flows.adapters.base import AdaptedFlow, first_tensor, one_context


class ZukoFlow(AdaptedFlow):
    """A lazy flow of zuko, with a fixed context if it has one; or what that gave, a NormalizingFlow."""

    library = "zuko"

    def __init__(self, source: Any, context: Tensor | None, base: Any, dim: int | None) -> None:
        law = _law(source, context, "zuko " + type(source).__name__)
        read = law.base if base is None else base
        super().__init__(source, dim or int(law.event_shape.numel()), read, context)

    def _transform(self) -> tuple[Any, int]:
        law = _law(self.source, self.context, self.source_name)
        return law.transform, law.reinterpreted

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        transform, reinterpreted = self._transform()
        u, log_det = transform.call_and_ladj(x)
        return u, log_det.flatten(-reinterpreted).sum(-1) if reinterpreted else log_det

    def from_base(self, u: Tensor) -> Tensor:
        return self._transform()[0].inv(u)


def _law(source: Any, context: Tensor | None, name: str) -> Any:
    if not isinstance(source, nn.Module):
        return source
    try:
        return source(None if context is None else context[0])
    except Exception as error:
        if context is None:
            reason = str(error).splitlines()[0][:120] if str(error) else repr(error)
            raise FlowRefused(
                f"{name} gives no law without a context ({reason}); a conditional flow needs one: type "
                "gpot.fit(flow, context=c)"
            ) from error
        raise FlowRefused(f"{name} gives no law for the context {tuple(context.shape[1:])}: {error}") from error


def adapt(flow: Any, *, context: Any = None, base: Any = None, dim: int | None = None) -> AdaptedFlow | None:
    """The adapter, or None for an object of zuko that is no flow."""
    if hasattr(flow, "transform") and hasattr(flow, "base"):
        return ZukoFlow(flow, one_context(context, first_tensor(flow), False, type(flow).__name__), base, dim)
    return None
