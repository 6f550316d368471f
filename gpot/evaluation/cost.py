"""Transport cost of a map."""

from __future__ import annotations

from torch import Tensor

from gpot.evaluation.estimate import Estimate
from gpot.maths.transport import transport_cost


def cost_summary(x: Tensor, z: Tensor) -> Estimate:
    """E|x - z|^2 over pairs x, z (n, d), z the image of x: eq. (2), the OT column of the paper's tables."""
    return Estimate.of(transport_cost(x.detach(), z.detach()))
