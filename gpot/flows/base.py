"""What a flow is to the rest of gpot, and how a trained one is frozen.

f carries data x (law mu) to the Gaussian side z (law nu, close to N(0, I)).
"""

from __future__ import annotations

import warnings
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from gpot.errors import BadInput, FlowRefused, GpotWarning, InverseNotAvailable
from gpot.flows.handshake import ROWS, Handshake, handshake
from gpot.flows.points import as_points, device_of, dtype_of
from gpot.flows.results import checked_inverse, checked_points, checked_result, inverse_of
from gpot.flows.weights import without_wrapper


@runtime_checkable
class Flow(Protocol):
    """dim: d. forward: x -> (z, log|det df/dx|). inverse: z -> x, or raises InverseNotAvailable."""

    @property
    def dim(self) -> int: ...

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]: ...

    def inverse(self, z: Tensor) -> Tensor: ...


class FrozenFlow(nn.Module):
    """A trained flow that nothing changes any more, held to the convention of :mod:`gpot.flows.handshake`.

    Its parameters ask for no gradient (so no optimizer should be given them, and none would move them), it stays in
    evaluation mode through any later `.train()` of a parent, and, unless `graph`, it builds no graph: results are
    detached from x. The wrapped module is the attribute `flow`. Every result has its shapes checked, and a log_det
    (n, 1) is squeezed. A flow that is not of gpot is looked at on a few rows when it is frozen: see `meeting`.

    Arguments:
        flow: the module; it is frozen in place.
        graph: whether results may be differentiated in x.
        check: whether to look at it now (None: where it is not of gpot).
    """

    def __init__(self, flow: nn.Module, graph: bool = False, check: bool | None = None) -> None:
        super().__init__()
        missing = [name for name in ("dim", "forward", "inverse") if not hasattr(flow, name)]
        if missing or not isinstance(flow, nn.Module):
            raise BadInput(
                f"a flow to freeze is a torch.nn.Module with dim, forward and inverse; {type(flow).__name__} "
                f"{'lacks ' + ', '.join(missing) if missing else 'is not a Module'}. Type gpot.adapt(flow) for one of "
                "another library, or wrap it in a Module like gpot.flows.FFJORDFlow; inverse may raise "
                "InverseNotAvailable."
            )
        self.flow = flow.eval().requires_grad_(False)
        self.graph = graph
        self.register_load_state_dict_pre_hook(without_wrapper)
        ours = type(flow).__module__.startswith("gpot.flows.") and not hasattr(flow, "source_name")
        self.meeting = meet(flow) if check or (check is None and not ours) else None

    @property
    def dim(self) -> int:
        """d."""
        return cast(int, self.flow.dim)

    @property
    def device(self) -> torch.device:
        """Where its parameters are; the CPU for a flow that has none."""
        parameter = next(self.flow.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    @property
    def onto(self) -> bool:
        """Whether every point of the Gaussian side has a preimage; a flow says that it is not by `onto = False`."""
        return bool(getattr(self.flow, "onto", True))

    def train(self, mode: bool = True) -> FrozenFlow:
        """Does nothing."""
        return super().train(False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,)."""
        with self._graph():
            x = self._points(x)
            return checked_result(self.flow(x), x, self.flow)

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x) alone; cheaper than `forward` where the flow has a `transform` of its own."""
        own = getattr(self.flow, "transform", None)
        if own is None:
            return self.forward(x)[0]
        with self._graph():
            return cast(Tensor, own(self._points(x)))

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z), (n, d).  Raises: InverseNotAvailable where f has none."""
        with self._graph():
            z = self._points(z)
            return checked_inverse(cast(Flow, self.flow).inverse(z), z, self.flow)

    def _graph(self) -> AbstractContextManager[object]:
        return nullcontext() if self.graph else torch.no_grad()

    def _points(self, y: Any) -> Tensor:
        if not isinstance(y, Tensor):
            y = as_points(y, dtype_of(self.flow), device_of(self.flow))
        return checked_points(y, self.flow, self.dim)


def meet(flow: Any) -> Handshake | None:
    """The handshake on rows that f^-1 gives, or, without an inverse, on normal ones; None where f is not at home on
    these, so that only data can tell."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(ROWS, flow.dim, generator=generator).to(dtype=dtype_of(flow), device=device_of(flow))
    with torch.no_grad():
        try:
            x = inverse_of(flow, z)
        except InverseNotAvailable:
            return _meet_on_a_guess(flow, z)
    kept = x.isfinite().all(1)
    if getattr(flow, "onto", True) and 2 * int(kept.sum()) < len(x):
        warnings.warn(
            f"{int((~kept).sum())} of {len(x)} normal z have no x under the inverse of {type(flow).__name__}: its base "
            "is not N(0, I), or it is far from onto. Name its base, gpot.adapt(flow, base=...), which is then "
            "composed with the map from it to N(0, I); or say that it is not onto: onto = False",
            GpotWarning,
            stacklevel=5,
        )
    x = x[kept]
    return handshake(flow, x.detach()) if len(x) > 1 else None


def _meet_on_a_guess(flow: Any, x: Tensor) -> Handshake | None:
    with torch.no_grad():
        try:
            at_home = checked_result(flow(x), x, flow)[0].isfinite().all()
        except FlowRefused:
            raise
        except Exception:  # whatever a flow raises outside its domain
            return None
    return handshake(flow, x) if at_home else None


@torch.no_grad()
def pull_back(
    flow: Flow,
    z: Tensor,
    chunk: int = 16384,
    allow_lost: bool = False,
) -> Tensor:
    """x = f^-1(z), (n, d), in pieces of `chunk` rows; z ~ N(0, I) gives samples of the flow's model law.

    Nothing is dropped. `allow_lost`: for a flow that is not onto, whose rows without a preimage are not finite.
    Raises: BadInput for such rows otherwise.
    """
    if chunk < 1:
        raise BadInput(f"pull_back needs pieces of at least one row, got chunk={chunk}. Try chunk=16384.")
    pieces = [flow.inverse(z[start : start + chunk]) for start in range(0, len(z), chunk)]
    x = torch.cat(pieces) if pieces else torch.empty_like(z)
    lost = int((~x.isfinite().all(dim=1)).sum())
    if lost and not allow_lost:
        raise BadInput(
            f"f^-1 of {lost} of {len(z)} points is not finite. "
            "Solve the flow more finely (n_steps, or atol and rtol), or check that z lies in its range."
        )
    return x


def require_shape(y: Tensor, flow: nn.Module, dim: int) -> Tensor:
    """y, if it is (n, dim) and of the dtype of the flow's parameters; otherwise BadInput says what to change."""
    name = type(flow).__name__
    if y.ndim != 2 or y.shape[1] != dim:
        raise BadInput(f"{name} works on shape (n, {dim}), got {tuple(y.shape)}. Give it points of its dimension.")
    parameter = next(flow.parameters(), None)
    if parameter is not None and y.dtype != parameter.dtype:
        raise BadInput(
            f"{name} has parameters of {parameter.dtype}, got points of {y.dtype}. "
            f"Convert one of them, as in flow.to({y.dtype})."
        )
    return y
