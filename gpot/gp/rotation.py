r"""The best rotation for given pairs: orthogonal, so it preserves the Gaussian exactly.

In closed form for |x - Q z|^2 (Procrustes), and for (x - Q z)^T M (x - Q z) where z has the covariance I: the term
tr(M Q E[z z^T] Q^T) is then tr M for all Q, and what is left is Procrustes of (M x, z). For another cost there is no
formula: `descend_rotation` starts from those and follows the gradient on the group.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.flows.points import as_points
from gpot.maths.costs import Cost, Euclidean, Mahalanobis, squared_euclidean
from gpot.maths.transport import procrustes

REFLECTION_GAIN = 0.1  # share of the cost that a reflection must save to be spoken of: below, its sign may be noise


def fit_rotation(
    x: Any, z: Any, allow_reflection: bool = False, cost: Cost = squared_euclidean, rows: int = 4096
) -> Tensor:
    """Orthogonal Q (d, d) of least mean c(x, Q z) over the pairs x, z (n, d), in the dtype and on the device of z.

    Tensors or arrays. Where a reflection is not allowed and would cost less by `REFLECTION_GAIN`, a warning says so.
    Moments and SVD are computed in float64 on the CPU, whatever the input: one matrix, once, and exactly orthogonal
    to the dtype of z. See `procrustes` for the formula and for why a reflection is not allowed by default. With a cost
    that has no formula, the first `rows` pairs are descended on: a local minimum, no worse than Procrustes.
    """
    x, z = (part if isinstance(part, Tensor) else as_points(part) for part in (x, z))
    if x.shape != z.shape or x.ndim != 2 or len(x) == 0:
        raise BadInput(
            f"a rotation is fitted on pairs of equal dimension, and got x of shape {tuple(x.shape)} and z of shape "
            f"{tuple(z.shape)}; pass the data x and f(x), both (n, d)"
        )
    x64, z64 = (part.detach().to("cpu", torch.float64) for part in (x, z))
    if not (x64.isfinite().all() and z64.isfinite().all()):
        raise BadInput("a rotation is fitted on finite pairs, and some are not; leave those rows out and count them")
    if isinstance(cost, Mahalanobis):
        x64 = x64 @ cost.metric.to(x64)
    q = procrustes(x64, z64, allow_reflection)
    if not allow_reflection:
        _speak_of_reflection(x64, z64, q)
    if not isinstance(cost, (Euclidean, Mahalanobis)) and cost is not squared_euclidean:
        x64, z64 = x64[:rows], z64[:rows]
        q = descend_rotation(lambda turn: cost(x64, z64 @ turn.T).mean(), [q])
    return check_orthogonal(q.to(z))


def _speak_of_reflection(x: Tensor, z: Tensor, q: Tensor) -> None:
    cost, free = (squared_euclidean(x, z @ turn.T).mean().item() for turn in (q, procrustes(x, z, True)))
    if cost - free > REFLECTION_GAIN * cost:
        warnings.warn(
            f"the best rotation costs {cost:.4g}, and the best reflection {free:.4g}. If f reverses orientation "
            "(det df/dx < 0) that one is needed: type fit_rotation(x, z, allow_reflection=True)",
            stacklevel=3,
        )


def descend_rotation(objective: Callable[[Tensor], Tensor], starts: Sequence[Tensor], iterations: int = 30) -> Tensor:
    r"""The orthogonal Q (d, d) of least objective that L-BFGS reaches from the best of `starts`.

    .. math:: Q = Q_0 \exp(A - A^\top), \qquad A \in R^{d \times d} \text{ from } 0

    The exponential of a skew matrix is a rotation, so det Q = det Q_0: a reflection among the starts stays one.

    Arguments:
        objective: Q -> 0-dim, differentiable.
        starts: orthogonal matrices (d, d).
        iterations: of L-BFGS.
    Returns: Q, of no larger objective than any start.
    """
    with torch.no_grad():
        values = [objective(q).item() for q in starts]
    best, least = starts[values.index(min(values))].detach(), min(values)
    skew = torch.zeros_like(best, requires_grad=True)
    descent = torch.optim.LBFGS([skew], max_iter=iterations, line_search_fn="strong_wolfe")

    def turned() -> Tensor:
        return best @ torch.linalg.matrix_exp(skew - skew.T)

    def closure() -> Tensor:
        value = objective(turned())
        (skew.grad,) = torch.autograd.grad(value, skew)
        return value

    descent.step(closure)
    with torch.no_grad():
        last = turned()
        return last if objective(last).item() < least else best


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
