"""A mean with its standard error: the form of every sampled number."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.errors import BadInput


@dataclass(frozen=True)
class Estimate:
    """mean, and the standard error of that mean (NaN for a single value: nothing is known of its spread)."""

    mean: float
    stderr: float

    @classmethod
    def of(cls, values: Tensor) -> Estimate:
        """Mean and std / sqrt(n) of independent values (n,), summed in float64. NaN and infinite values are kept."""
        if values.ndim != 1 or len(values) == 0:
            raise BadInput(f"an estimate is made of one value per sample, shape (n,), and got {tuple(values.shape)}")
        values = values.detach().to("cpu", torch.float64)
        stderr = (values.std() / math.sqrt(len(values))).item() if len(values) > 1 else math.nan
        return cls(values.mean().item(), stderr)

    def __str__(self) -> str:
        return f"{self.mean:.4g} ± {self.stderr:.1g}"
