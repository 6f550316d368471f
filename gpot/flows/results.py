"""Calls of a flow of any library: what it returns, in the shapes of gpot, or one sentence on what it should have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gpot.errors import FlowRefused, InverseNotAvailable
from gpot.flows.points import device_of, dtype_of


def name_of(flow: Any) -> str:
    """The flow as its owner knows it: adapters say what they adapt."""
    return str(getattr(flow, "source_name", type(flow).__name__))


def forward_of(flow: Any, x: Tensor) -> tuple[Tensor, Tensor]:
    """(z, log_det) of x (n, d), checked; whatever the flow raises becomes one sentence."""
    return checked_result(called(flow, "forward", x), x, flow)


def inverse_of(flow: Any, z: Tensor) -> Tensor:
    """x of z (n, d), likewise.  Raises: InverseNotAvailable where there is none."""
    return checked_inverse(called(flow, "inverse", z), z, flow)


def called(flow: Any, what: str, y: Tensor) -> Any:
    """What a method of the flow returns for y, or one sentence in place of whatever it raised."""
    method: Callable[[Tensor], Any] = flow.__call__ if what == "forward" else getattr(flow, what)
    try:
        return method(y)
    except (FlowRefused, InverseNotAvailable):
        raise
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        missing = (
            "argument" in reason and ("missing" in reason or "required" in reason)
        ) or "context" in reason.lower()
        without = getattr(flow, "context", 0) is None and "shape" in reason
        hint = f"call it yourself on a tensor {tuple(y.shape)} of {y.dtype} on {y.device} to see where"
        if missing or without:
            hint = "a conditional flow needs its context: type gpot.fit(flow, context=c)"
        raise FlowRefused(f"{what} of {name_of(flow)} fails on {len(y)} rows ({reason}); {hint}") from error


def checked_result(result: Any, x: Tensor, flow: Any) -> tuple[Tensor, Tensor]:
    """(z, log_det) of what a forward returned for x (n, d); a log_det (n, 1) is squeezed, anything else is refused."""
    name, (n, d) = name_of(flow), x.shape
    if isinstance(result, Tensor):
        raise FlowRefused(
            f"forward(x) returns (z, log_det), and that of {name} returns one tensor {tuple(result.shape)}; return "
            'log|det dz/dx| (n,) too, or let it be computed: gpot.fit(flow, log_det="exact")'
        )
    if not isinstance(result, (tuple, list)) or len(result) != 2 or not all(isinstance(r, Tensor) for r in result):
        actual = f"{len(result)} values" if isinstance(result, (tuple, list)) else type(result).__name__
        raise FlowRefused(
            f"forward(x) returns two tensors, z and log_det, and that of {name} returns {actual}; return "
            "(z, log_det), or pass a pair of functions: gpot.fit((forward, inverse), x)"
        )
    z, log_det = result
    if z.shape != x.shape:
        raise FlowRefused(
            f"{name} maps points {tuple(x.shape)} to codes {tuple(z.shape)}; z needs the shape of x: flatten what has "
            "more axes, and leave out flows that change the dimension"
        )
    if log_det.shape == (n, 1) and n != 1:
        log_det = log_det.squeeze(1)
    if log_det.shape != (n,):
        if log_det.numel() != n:
            each = " (one value per coordinate: type log_det.sum(1))" if log_det.shape == (n, d) else ""
            raise FlowRefused(
                f"log_det has one value per row, shape ({n},), and that of {name} has the shape "
                f"{tuple(log_det.shape)}{each}; return log|det dz/dx| of each row"
            )
        log_det = log_det.reshape(n)
    return z, log_det


def checked_inverse(result: Any, z: Tensor, flow: Any) -> Tensor:
    """x of what an inverse returned for z (n, d): a tensor, or the first of a pair (x, log_det)."""
    x = result[0] if isinstance(result, (tuple, list)) and len(result) == 2 else result
    if not isinstance(x, Tensor) or x.shape != z.shape:
        actual = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(result).__name__
        raise FlowRefused(
            f"inverse(z) returns x {tuple(z.shape)}, and that of {name_of(flow)} returns {actual}; return x alone, "
            "or (x, log_det)"
        )
    return x


def checked_points(x: Tensor, flow: Any, dim: int) -> Tensor:
    """x, if it is (n, dim) and of the dtype and on the device of the flow."""
    name = name_of(flow)
    if x.ndim != 2 or x.shape[1] != dim:
        raise FlowRefused(f"{name} works on shape (n, {dim}), got {tuple(x.shape)}; give one point per row")
    dtype, device = dtype_of(flow, x.dtype), device_of(flow)
    if x.dtype != dtype:
        keep = f", or flow.to({x.dtype}) to keep their digits" if x.is_floating_point() else ""
        raise FlowRefused(f"{name} computes in {dtype}, got points of {x.dtype}; type x.to({dtype}){keep}")
    if x.device != device and isinstance(flow, torch.nn.Module) and any(True for _ in flow.parameters()):
        raise FlowRefused(f"{name} is on {device}, got points on {x.device}; type x.to('{device}')")
    return x


def jacobian_of(flow: Any, x: Tensor) -> tuple[Tensor, bool]:
    """df/dx (n, d, d) at each row, and whether it is exact: d reverse-mode passes, or central differences for a flow
    that automatic differentiation does not see through."""
    try:
        with torch.enable_grad():
            points = x.detach().clone().requires_grad_()
            z = checked_result(flow(points), points, flow)[0]
            rows = [
                torch.autograd.grad(z[:, i].sum(), points, retain_graph=i + 1 < z.shape[1])[0]
                for i in range(z.shape[1])
            ]
        return torch.stack(rows, 1).detach(), True
    except (RuntimeError, NotImplementedError):
        pass
    step = torch.finfo(x.dtype).eps ** (1 / 3) * x.abs().mean().clamp(min=1e-3).item()
    columns = []
    with torch.no_grad():
        for j in range(x.shape[1]):
            up, down = x.clone(), x.clone()
            up[:, j] += step
            down[:, j] -= step
            ends = [checked_result(flow(end), end, flow)[0] for end in (up, down)]
            columns.append((ends[0] - ends[1]) / (up[:, j] - down[:, j])[:, None])
    return torch.stack(columns, 2), False
