"""FrEIA: `net(x) -> (z, log_det)` and `net(z, rev=True)`; conditions are a list. Its codes have no law of their own:
N(0, I) unless `base` says another."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from gpot.errors import FlowRefused
from gpot.flows.adapters.base import AdaptedFlow, first_tensor, one_context


class FreiaFlow(AdaptedFlow):
    """A SequenceINN or GraphINN with one input and one output."""

    library = "FrEIA"

    def to_base(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.source(x, **self._options(x))
        if isinstance(z, (tuple, list)):
            (z,) = z
        log_det = torch.as_tensor(log_det, dtype=x.dtype, device=x.device)
        return z, log_det.expand(len(x)) if log_det.ndim == 0 else log_det  # a constant stands for all rows

    def from_base(self, u: Tensor) -> Tensor:
        x, _ = self.source(u, rev=True, **self._options(u))
        if isinstance(x, (tuple, list)):
            (x,) = x
        return x

    def _options(self, y: Tensor) -> dict[str, list[Tensor]]:
        rows = self.rows_of_context(y)
        return {} if rows is None else {"c": [rows]}


def adapt(flow: Any, *, context: Any = None, base: Any = None, dim: int | None = None) -> AdaptedFlow | None:
    """The adapter, or None for a module of FrEIA that is no net."""
    name = type(flow).__name__
    if hasattr(flow, "shapes"):
        shape, conditional = flow.shapes[0], any(c is not None for c in flow.conditions)
    elif hasattr(flow, "in_nodes"):
        if len(flow.in_nodes) != 1 or len(flow.out_nodes) != 1:
            raise FlowRefused(f"{name} has several inputs or outputs, and a flow has one of each; join them")
        shape, conditional = flow.in_nodes[0].output_dims[0], len(flow.condition_nodes) > 0
    else:
        return None
    if len(shape) != 1:
        raise FlowRefused(f"{name} works on arrays {tuple(shape)}, and a flow on rows (d,); put a Flatten before it")
    row = one_context(context, first_tensor(flow), conditional, name)
    return FreiaFlow(flow, dim or math.prod(shape), base, row)
