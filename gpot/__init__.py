"""gpot turns any trained normalizing flow into a Monge map without changing its density.

>>> import torch
>>> from gpot import Chart, GaussianPreservingFlow, RidgeVelocity
>>> s = GaussianPreservingFlow(RidgeVelocity(dim=3), Chart.direct, n_steps=8)
>>> z, log_det = s(torch.randn(5, 3))
>>> z.shape, log_det.shape
(torch.Size([5, 3]), torch.Size([5]))
"""

from gpot.flows.base import Flow, FrozenFlow
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.monge import MongeMap
from gpot.gp.rotation import fit_rotation
from gpot.gp.spectral import SpectralVelocity
from gpot.gp.twist import TwistFlow
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
from gpot.maths.charts import Chart
from gpot.maths.integrate import Method

__all__ = [
    "Chart",
    "Flow",
    "FrozenFlow",
    "GaussianPreservingFlow",
    "MLPVelocity",
    "Method",
    "MongeMap",
    "RidgeVelocity",
    "SpectralVelocity",
    "TwistFlow",
    "Velocity",
    "fit_rotation",
]
