r"""The inverse of a flow with its gradient, whatever it is found by.

A flow whose inverse is a formula or an ODE has a graph through it. One that is inverted by a root finding (BNAF) has
none, and the implicit function theorem gives it: with y = g^-1(z), so that g(y) = z for all z,

.. math:: \frac{\partial y}{\partial z} = \Big( \frac{\partial g}{\partial y}(y) \Big)^{-1}

exact at the y that was found. One Jacobian by d forward-mode products, one linear system of d equations per row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from gpot.flows.base import Flow, FrozenFlow
from gpot.maths.transport import jacobian

Map = Callable[[Tensor], Tensor]


def unfrozen(flow: Flow) -> Flow:
    """The flow inside a `FrozenFlow`, which builds a graph (its parameters still ask for no gradient)."""
    while isinstance(flow, FrozenFlow):
        flow = cast(Flow, flow.flow)
    return flow


def forward_map(flow: Flow) -> Map:
    """x -> z alone, by the flow's own `transform` where it has one."""
    own: Map | None = getattr(flow, "transform", None)
    return own if own is not None else lambda x: flow.forward(x)[0]


def implicit_inverse(flow: Flow, z: Tensor) -> Tensor:
    """y = g^-1(z) (n, d) with the gradient of the implicit function theorem; first derivatives only.

    NaN rows where g has no inverse at z, and where its Jacobian is singular to rounding, for the caller to count.
    """
    flow = unfrozen(flow)
    with torch.no_grad():
        y = flow.inverse(z.detach())
        finite = y.isfinite().all(1)
        at = torch.where(finite[:, None], y, 0.0)  # any point: these rows are lost, and their Jacobian is not looked at
        slopes = jacobian(forward_map(flow), at)
    # 0 as a number, and the gradient J^-1
    step, failed = torch.linalg.solve_ex(slopes, z - z.detach())
    lost = ~finite | (failed != 0) | ~step.detach().isfinite().all(1)
    return torch.where(lost[:, None], torch.nan, y + step.masked_fill(lost[:, None], 0.0))


def differentiable_inverse(flow: Flow, probe: Tensor) -> Map:
    """z -> g^-1(z) with a gradient in z: the flow's own where that has one at `probe` (n, d), else `implicit_inverse`.

    Raises: InverseNotAvailable where the flow has none.
    """
    inner = unfrozen(flow)
    with torch.enable_grad():
        own = inner.inverse(probe.detach().requires_grad_())
    return inner.inverse if own.requires_grad else lambda z: implicit_inverse(inner, z)


@torch.no_grad()
def orientation(flow: Flow, x: Tensor) -> int:
    """The sign of det df/dx, +1 or -1: the same everywhere for a diffeomorphism; that of most rows of x (n, d)."""
    signs = torch.linalg.slogdet(jacobian(forward_map(unfrozen(flow)), x)).sign
    return 1 if signs.sum().item() >= 0 else -1


def freeze(flow: Flow) -> FrozenFlow:
    """The flow as a `FrozenFlow`, itself if it is one."""
    return flow if isinstance(flow, FrozenFlow) else FrozenFlow(cast(nn.Module, flow))
