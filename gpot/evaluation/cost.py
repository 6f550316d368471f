"""Transport cost of a map."""

from __future__ import annotations

from torch import Tensor

from gpot.evaluation.estimate import Estimate
from gpot.maths.costs import Cost, squared_euclidean


def cost_summary(x: Tensor, z: Tensor, cost: Cost = squared_euclidean) -> Estimate:
    """E c(x, z) over pairs x, z (n, d), z the image of x; with |x - z|^2 eq. (2), the OT column of the paper's
    tables."""
    return Estimate.of(cost(x.detach(), z.detach()))
