r"""Inversion of the gradient of a strictly convex function by Newton's method.

:math:`\nabla G(x) = z` holds where :math:`G(x) - x \cdot z` is least. Each row is a problem of its own, and all rows
advance at once. What each step must decrease is the residual |grad G(x) - z|, not the objective: its only stationary
point is the solution, because the Hessian is regular, and it does not drown in rounding near it as the objective does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

_DECREASE = 1e-4  # share of the decrease promised by the slope that a step must bring (Armijo)
_MAX_HALVINGS = 40


class InverseFailed(RuntimeError):
    """Rows whose residual stayed above the tolerance."""


class Solution(NamedTuple):
    """x (n, d); residual |grad G(x) - z| of each row, (n,); Newton steps of the slowest row."""

    x: Tensor
    residual: Tensor
    n_steps: int


@torch.no_grad()
def invert_gradient(
    derivatives: Callable[[Tensor], tuple[Tensor, Tensor]],
    z: Tensor,
    start: Tensor,
    tolerance: float = 1e-9,
    max_steps: int = 100,
) -> Solution:
    """x with |grad G(x) - z| <= tolerance in each row, by damped Newton steps: halved until the residual falls.

    Arguments:
        derivatives: x (m, d) -> gradient (m, d), Hessian (m, d, d), row by row.
        z, start (n, d).
    Raises InverseFailed with the number of rows above the tolerance after max_steps, or where no step helps any more.
    """
    x, n_steps = start.clone(), 0
    gradient, hessian = derivatives(x)
    difference = gradient - z
    residual = difference.norm(dim=1)
    rows = (~(residual <= tolerance)).nonzero()[:, 0]
    while len(rows) and n_steps < max_steps:
        n_steps += 1
        direction = torch.linalg.solve_ex(hessian[rows], difference[rows])[0]
        step, pending = 1.0, torch.arange(len(rows), device=x.device)
        for _ in range(_MAX_HALVINGS):
            at = rows[pending]
            trial = x[at] - step * direction[pending]
            gradient, trial_hessian = derivatives(trial)
            trial_difference = gradient - z[at]
            trial_residual = trial_difference.norm(dim=1)
            better = trial_residual <= (1 - _DECREASE * step) * residual[at]
            done = at[better]
            x[done], hessian[done] = trial[better], trial_hessian[better]
            difference[done], residual[done] = trial_difference[better], trial_residual[better]
            pending, step = pending[~better], step / 2
            if len(pending) == 0:
                break
        stepped = torch.ones_like(rows, dtype=torch.bool)
        stepped[pending] = False
        rows = rows[stepped & ~(residual[rows] <= tolerance)]
    failed = ~(residual <= tolerance)
    if failed.any():
        raise InverseFailed(
            f"the inverse of {len(z)} points was asked for to {tolerance:g}; {int(failed.sum())} of them end with "
            f"residuals |f(x) - z| up to {residual[failed].max().item():.2g} after {n_steps} Newton steps. "
            f"Check that z is finite, or pass a larger tolerance or more than max_steps={max_steps}."
        )
    return Solution(x, residual, n_steps)
