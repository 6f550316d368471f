"""The best rotation for given pairs: orthogonal, so it preserves the Gaussian exactly, and in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.transport import procrustes


def fit_rotation(x: Tensor, z: Tensor, allow_reflection: bool = False) -> Tensor:
    """Orthogonal Q (d, d) of least mean |x - Q z|^2 over the pairs x, z (n, d), in the dtype and on the device of z.

    Moments and SVD are computed in float64 on the CPU, whatever the input: one matrix, once, and exactly orthogonal
    to the dtype of z. See `procrustes` for the formula and for why a reflection is not allowed by default.
    """
    if x.shape != z.shape or x.ndim != 2 or len(x) == 0:
        raise BadInput(
            f"a rotation is fitted on pairs of equal dimension, and got x of shape {tuple(x.shape)} and z of shape "
            f"{tuple(z.shape)}; pass the data x and f(x), both (n, d)"
        )
    x64, z64 = (part.detach().to("cpu", torch.float64) for part in (x, z))
    if not (x64.isfinite().all() and z64.isfinite().all()):
        raise BadInput("a rotation is fitted on finite pairs, and some are not; leave those rows out and count them")
    return check_orthogonal(procrustes(x64, z64, allow_reflection).to(z))


def check_orthogonal(q: Tensor) -> Tensor:
    """q itself if Q^T Q = I to the rounding of float32 (16 d eps in the largest entry), or of a coarser dtype of q.

    Not to that of float64: a rotation that was stored in float32 stays one when its flow is converted.
    """
    if q.ndim != 2 or q.shape[0] != q.shape[1]:
        raise BadInput(f"a rotation is a square matrix, and got the shape {tuple(q.shape)}; pass Q of shape (d, d)")
    error = (q.T @ q - torch.eye(len(q), dtype=q.dtype, device=q.device)).abs().max().item()
    tolerance = 16 * len(q) * max(torch.finfo(q.dtype).eps, torch.finfo(torch.float32).eps)
    if not error <= tolerance:
        raise BadInput(
            f"a rotation must be orthogonal to {tolerance:.1e}, and max|Q^T Q - I| is {error:.1e}: it would change the "
            "density; fit it with fit_rotation(x, z)"
        )
    return q
