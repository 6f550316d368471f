"""What the adapters share: a foreign flow, then its base carried to N(0, I)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gpot.errors import FlowRefused, InverseNotAvailable
from gpot.flows.bases import Base, read_base
from gpot.flows.results import checked_inverse, checked_result, jacobian_of


class AdaptedFlow(nn.Module):
    """f = h o F: the foreign map F from x to the codes u of its base, then h from these to N(0, I).

    A subclass gives `to_base` and `from_base`.

    Arguments:
        source: the foreign flow; a Module among the attributes, so that its parameters are those of this flow.
        dim: d.
        base: the law of u, or None for N(0, I).
    """

    library = ""

    def __init__(self, source: Any, dim: int, base: Any = None, context: Tensor | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.source = source
        self.base: Base = read_base(base, dim)
        self.context: Tensor | None
        self.register_buffer("context", context)

    @property
    def source_name(self) -> str:
        """The name of the foreign flow, for errors."""
        return f"{self.library} {type(self.source).__name__}".strip()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = h(F(x)), (n, d), and log|det dz/dx|, (n,)."""
        u, log_det = checked_result(self.to_base(x), x, self)
        if isinstance(self.base, Base) and type(self.base) is Base:
            return u, log_det
        z, more = self.base(u)
        return z, log_det + more

    def inverse(self, z: Tensor) -> Tensor:
        """x = F^-1(h^-1(z)), (n, d); InverseNotAvailable where F has none."""
        try:
            return checked_inverse(self.from_base(self.base.inverse(z)), z, self)
        except NotImplementedError as error:
            raise InverseNotAvailable(
                f"{self.source_name} has no inverse ({error}); it is fitted on data: gpot.fit(flow, x)"
            ) from error

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """u = F(x) and log|det dF/dx|."""
        raise NotImplementedError

    def from_base(self, u: Tensor) -> Tensor:
        """F^-1(u)."""
        raise NotImplementedError

    def rows_of_context(self, x: Tensor) -> Tensor | None:
        """The context repeated for each row of x."""
        return None if self.context is None else self.context.expand(len(x), *self.context.shape[1:])


class ExactLogDet(nn.Module):
    """A flow whose log-determinant is taken by automatic differentiation, d reverse-mode passes a call."""

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        self.flow = flow
        self.dim = int(flow.dim)  # type: ignore[arg-type]
        self.source_name = getattr(flow, "source_name", type(flow).__name__)

    def transform(self, x: Tensor) -> Tensor:
        """z alone."""
        result = self.flow(x)
        return result if isinstance(result, Tensor) else checked_result(result, x, self)[0]

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z (n, d) and the exact log|det dz/dx| (n,), without a graph of its own."""

        def zero(points: Tensor) -> tuple[Tensor, Tensor]:
            return self.transform(points), points.new_zeros(len(points))

        matrices, _ = jacobian_of(zero, x)
        return self.transform(x), torch.linalg.slogdet(matrices).logabsdet

    def inverse(self, z: Tensor) -> Tensor:
        """x (n, d)."""
        return checked_inverse(self.flow.inverse(z), z, self)  # type: ignore[operator]


def base_context(context: Tensor | None, name: str) -> Tensor:
    """The context that the base of a flow depends on; refused where there is none."""
    if context is None:
        raise FlowRefused(f"the base of {name} is conditional: type gpot.fit(flow, context=c)")
    return context


def one_context(context: Any, like: Tensor | None, conditional: bool, name: str) -> Tensor | None:
    """The context as one row (1, k), of the dtype and device of the flow; refused where the flow takes none, or needs
    one and has none."""
    if context is None:
        if conditional:
            raise FlowRefused(f"{name} is conditional, and needs a context: type gpot.fit(flow, context=c)")
        return None
    row = torch.as_tensor(context)
    if like is not None:
        row = row.to(like.device, like.dtype if row.is_floating_point() else row.dtype)
    row = row.reshape(1, *row.shape) if row.ndim < 2 and row.ndim != 0 else row.reshape(1, 1) if row.ndim == 0 else row
    if len(row) != 1:
        raise FlowRefused(
            f"a context is one row, the same for every point, and got {tuple(row.shape)}; fit one map for "
            "all contexts, gpot.fit_contexts(flow, contexts), or one for each: gpot.fit(flow, context=contexts[0])"
        )
    return row


def first_tensor(module: Any) -> Tensor | None:
    """A floating parameter or buffer of a module, for its dtype and device."""
    if not isinstance(module, nn.Module):
        return None
    return next((t for t in (*module.parameters(), *module.buffers()) if t.is_floating_point()), None)
