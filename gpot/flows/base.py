"""What a flow is to the rest of gpot, and how a trained one is frozen.

f carries data x (law mu) to the Gaussian side z (law nu, close to N(0, I)).
"""

from __future__ import annotations

from typing import Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from gpot.errors import BadInput


@runtime_checkable
class Flow(Protocol):
    """dim: d. forward: x -> (z, log|det df/dx|). inverse: z -> x, or raises InverseNotAvailable."""

    @property
    def dim(self) -> int: ...

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def inverse(self, z: Tensor) -> Tensor: ...


class FrozenFlow(nn.Module):
    """A trained flow that nothing changes any more.

    Its parameters ask for no gradient (so no optimizer should be given them, and none would move them), it stays in
    evaluation mode through any later `.train()` of a parent, and it builds no graph: results are detached from x.
    The wrapped module is the attribute `flow`, for the rare caller who differentiates through f.
    """

    def __init__(self, flow: nn.Module) -> None:
        super().__init__()
        missing = [name for name in ("dim", "forward", "inverse") if not hasattr(flow, name)]
        if missing or not isinstance(flow, nn.Module):
            raise BadInput(
                f"a flow to freeze is a torch.nn.Module with dim, forward and inverse; {type(flow).__name__} "
                f"{'lacks ' + ', '.join(missing) if missing else 'is not a Module'}. "
                "Wrap it in a Module like gpot.flows.FFJORDFlow; inverse may raise InverseNotAvailable."
            )
        self.flow = flow.eval().requires_grad_(False)

    @property
    def dim(self) -> int:
        """d."""
        return cast(int, self.flow.dim)

    def train(self, mode: bool = True) -> FrozenFlow:
        """Does nothing."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,)."""
        return self.flow(x)

    @torch.no_grad()
    def transform(self, x: Tensor) -> Tensor:
        """z = f(x) alone; cheaper than `forward` where the flow has a `transform` of its own."""
        own = getattr(self.flow, "transform", None)
        return self.flow(x)[0] if own is None else own(x)

    @torch.no_grad()
    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z), (n, d); raises InverseNotAvailable where f has none."""
        return cast(Flow, self.flow).inverse(z)


def require_shape(y: Tensor, flow: nn.Module, dim: int) -> Tensor:
    """y, if it is (n, dim) and of the dtype of the flow's parameters; otherwise BadInput says what to change."""
    name = type(flow).__name__
    if y.ndim != 2 or y.shape[1] != dim:
        raise BadInput(f"{name} works on shape (n, {dim}), got {tuple(y.shape)}. Check dataset.dim against flow.dim.")
    parameter = next(flow.parameters(), None)
    if parameter is not None and y.dtype != parameter.dtype:
        raise BadInput(
            f"{name} has parameters of {parameter.dtype}, got points of {y.dtype}. "
            f"Convert one of them, as in flow.to({y.dtype})."
        )
    return y
