"""Numbers that need a reason, each with its reason."""

from __future__ import annotations

import math

import torch

SQRT_2 = math.sqrt(2.0)
SQRT_2_OVER_PI = math.sqrt(2.0 / math.pi)
SQRT_PI_OVER_2 = math.sqrt(math.pi / 2.0)
LOG_2_PI = math.log(2.0 * math.pi)


def finite_difference_step(dtype: torch.dtype) -> float:
    """2 sqrt(machine epsilon): balances truncation and cancellation of a one-sided difference (paper, below eq. 12)."""
    return 2.0 * math.sqrt(torch.finfo(dtype).eps)
