"""CP-Flow: convex potential flows, gradients of input-convex networks. See README.md."""

from third_party.cpflow.icnn import ACTIVATIONS, ICNN, ActNorm
from third_party.cpflow.inverse import InverseFailed, Solution, invert_gradient
from third_party.cpflow.model import ACTNORMS, LOG_DETS, ConvexBlock, CPFlow

__all__ = [
    "ACTIVATIONS",
    "ACTNORMS",
    "ICNN",
    "LOG_DETS",
    "ActNorm",
    "CPFlow",
    "ConvexBlock",
    "InverseFailed",
    "Solution",
    "invert_gradient",
]
