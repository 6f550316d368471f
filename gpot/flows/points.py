"""Points as they are handed over: tensors, NumPy arrays, tables; and what of them can be held by a flow."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpot.errors import BadInput

_COMPARED = 20_000  # rows of which distinct values are counted


def as_points(x: Any, dtype: torch.dtype | None = None, device: torch.device | None = None) -> Tensor:
    """x as a tensor (n, d) of finite numbers, in `dtype` on `device` where they are given.

    x: a tensor, a NumPy array, a table with `to_numpy`, or nested lists. Integers become float32. Raises BadInput for
    another shape, and, with row and column, where a value is not finite or is lost by the conversion.
    """
    if isinstance(x, Tensor):
        original = x.detach()
    else:
        try:
            array = np.asarray(x.to_numpy() if hasattr(x, "to_numpy") else x)
            original = torch.as_tensor(np.ascontiguousarray(array))
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(f"points are numbers in rows, and {type(x).__name__} is not ({error}); pass an array (n, d)"
                           ) from None  # fmt: skip
    if original.ndim != 2 or 0 in original.shape:
        hint = "reshape it to one row per point" if original.numel() else "it is empty"
        raise BadInput(f"points have the shape (n, d), and got {tuple(original.shape)}; {hint}")
    if not original.is_floating_point():
        original = original.to(dtype or torch.float32)
    points = original.to(dtype=dtype, device=device)
    bad = ~points.isfinite()
    if bad.any():
        row, column = (int(i) for i in bad.nonzero()[0])
        raise BadInput(
            f"points are finite numbers of {points.dtype}, and {int(bad.any(1).sum())} of {len(points)} rows are not: "
            f"the first is {original[row, column].item()} in row {row}, column {column}; leave such rows out"
        )
    if points.dtype != original.dtype:
        _refuse_lost_values(original[:_COMPARED], points[:_COMPARED])
    return points


def _refuse_lost_values(original: Tensor, points: Tensor) -> None:
    for column in range(original.shape[1]):
        before, after = (len(part[:, column].unique()) for part in (original, points))
        if after < 0.9 * before:
            raise BadInput(
                f"column {column} has {before} distinct values in {original.dtype} and {after} in {points.dtype}; "
                "centre and scale it first, or use a flow of float64"
            )


def dtype_of(flow: Any, default: torch.dtype = torch.float32) -> torch.dtype:
    """The dtype that a flow computes in: that of its first floating parameter or buffer."""
    first = _first(flow)
    return default if first is None else first.dtype


def device_of(flow: Any) -> torch.device:
    """The device that a flow computes on."""
    first = _first(flow)
    return torch.device("cpu") if first is None else first.device


def _first(flow: Any) -> Tensor | None:
    if not isinstance(flow, torch.nn.Module):
        return None
    return next((tensor for tensor in chain(flow.parameters(), flow.buffers()) if tensor.is_floating_point()), None)
