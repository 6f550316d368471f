"""Flows without a library: two functions, or a Module that does not know its dimension or its base."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from gpot.errors import InverseNotAvailable
from gpot.flows.adapters.base import AdaptedFlow, first_tensor, one_context


class FunctionFlow(AdaptedFlow):
    """A pair of functions: forward x -> (z, log_det), and inverse z -> x, or None.

    Functions that are Modules have their parameters frozen with the flow; parameters that a plain function holds are
    left as they are, since nothing here trains them. A context is passed as `context=`.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        inverse: Callable[..., Any] | None,
        dim: int,
        context: Any = None,
        base: Any = None,
    ) -> None:
        owner = getattr(forward, "__self__", forward)
        name = getattr(forward, "__name__", type(forward).__name__)
        super().__init__(owner, dim, base, one_context(context, first_tensor(owner), False, name))
        self._forward, self._inverse, self._name = forward, inverse, name
        # what is behind the second function is frozen too
        self.inverse_source = getattr(inverse, "__self__", inverse)

    @property
    def source_name(self) -> str:
        return self._name

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        options = {} if self.context is None else {"context": self.rows_of_context(x)}
        return self._forward(x, **options)

    def from_base(self, u: Tensor) -> Tensor:
        if self._inverse is None:
            raise InverseNotAvailable(
                f"{self._name} came without an inverse; it is fitted on data, gpot.fit((forward, None), x), and has no "
                "samples"
            )
        options = {} if self.context is None else {"context": self.rows_of_context(u)}
        return self._inverse(u, **options)


class NamelessFlow(FunctionFlow):
    """A Module with forward and inverse, whose dimension or base is said beside it."""

    def __init__(self, module: nn.Module, dim: int, context: Any = None, base: Any = None) -> None:
        super().__init__(module, module.inverse, dim, context, base)  # type: ignore[arg-type]
        self._name = type(module).__name__
