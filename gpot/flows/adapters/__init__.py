"""Flows of other libraries, of pairs of functions, and behind wrappers, as flows of gpot."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Literal

from torch import nn

from gpot.errors import FlowRefused
from gpot.flows.adapters.base import AdaptedFlow, ExactLogDet
from gpot.flows.adapters.functions import FunctionFlow, NamelessFlow

# Top package of a flow's class, or of one that it derives from -> the module here that knows it. A library is imported
# by nobody but its user: its flow is there already when it is looked up.
LIBRARIES = {
    "zuko": "zuko",
    "nflows": "nflows",
    "normflows": "normflows",
    "pyro": "pyro",
    "FrEIA": "freia",
    "torchflows": "torchflows",
    "torch": "pyro",  # torch.distributions.TransformedDistribution, which Pyro's derives from
}
NAMES = "zuko, nflows, normflows, Pyro, FrEIA, torchflows"


def adapt(
    flow: Any,
    *,
    context: Any = None,
    base: Any = None,
    dim: int | None = None,
    log_det: Literal["given", "exact"] = "given",
) -> nn.Module:
    """A flow as gpot knows it: `dim`, `forward(x) -> (z, log_det)` with z ~ N(0, I), `inverse(z) -> x`.

    Arguments:
        flow: of zuko, nflows, normflows, Pyro (or a torch TransformedDistribution), FrEIA or torchflows, by its type; a
            pair of functions (forward, inverse), inverse None where there is none; a Module with forward and inverse;
            any of these within DataParallel or torch.compile.
        context: of a conditional flow, one row.
        base: the law of the codes, a torch distribution, where the flow does not know it itself.
        dim: d, where it does not know that.
        log_det: "exact" replaces the flow's own by that of automatic differentiation.
    """
    adapted = _adapted(_unwrapped(flow), context, base, dim)
    return adapted if log_det == "given" else ExactLogDet(adapted)


def _adapted(flow: Any, context: Any, base: Any, dim: int | None) -> nn.Module:
    library = _library_of(flow)
    if library is not None:
        adapter = import_module(f"gpot.flows.adapters.{LIBRARIES[library]}")
        adapted: AdaptedFlow | None = adapter.adapt(flow, context=context, base=base, dim=dim)
        if adapted is not None:
            return adapted
    if isinstance(flow, (tuple, list)) and len(flow) == 2 and callable(flow[0]):
        return FunctionFlow(flow[0], flow[1], _needed(dim, "a pair of functions"), context=context, base=base)
    if isinstance(flow, nn.Module) and all(hasattr(flow, name) for name in ("dim", "forward", "inverse")):
        if context is None and base is None:
            return flow
        return NamelessFlow(flow, int(flow.dim), context=context, base=base)  # type: ignore[arg-type]
    if isinstance(flow, nn.Module) and type(flow).forward is not nn.Module.forward:
        if hasattr(flow, "inverse"):
            return NamelessFlow(flow, _needed(dim, type(flow).__name__), context=context, base=base)
        raise FlowRefused(
            f"a Module is a flow if it has forward(x) -> (z, log_det) and inverse(z) -> x, and {type(flow).__name__} "
            "lacks inverse; pass a pair: gpot.fit((flow, None), x) without one, or gpot.fit((flow, inverse), x)"
        )
    raise FlowRefused(
        f"a flow is one of {NAMES}, a Module with dim, forward and inverse, or a pair of functions (forward, inverse), "
        f"and got {type(flow).__module__}.{type(flow).__name__}"
    )


def _unwrapped(flow: Any) -> Any:
    """What is within DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        name = type(flow).__name__
        if name in ("DataParallel", "DistributedDataParallel"):
            flow = flow.module
        elif name == "OptimizedModule" and hasattr(flow, "_orig_mod"):
            flow = flow._orig_mod
        else:
            return flow


def _library_of(flow: Any) -> str | None:
    for cls in type(flow).__mro__:
        top = cls.__module__.split(".")[0]
        if top in LIBRARIES and (top != "torch" or cls.__name__ == "TransformedDistribution"):
            return top
    return None


def _needed(dim: int | None, what: str) -> int:
    if dim is None:
        raise FlowRefused(f"{what} does not know its dimension; type dim=2, or pass the data: gpot.fit(flow, x)")
    return dim


__all__ = ["LIBRARIES", "AdaptedFlow", "ExactLogDet", "FunctionFlow", "adapt"]
