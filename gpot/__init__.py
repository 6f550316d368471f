"""gpot turns any trained normalizing flow into a Monge map without changing its density.

>>> import torch
>>> from gpot import GaussianPreservingFlow
>>> s = GaussianPreservingFlow("ridge", dim=3)
>>> z, log_det = s(torch.randn(5, 3))
>>> z.shape, log_det.shape
(torch.Size([5, 3]), torch.Size([5]))

In one call, for a trained flow of zuko, nflows, normflows, Pyro, FrEIA, torchflows or your own: `gpot.fit(flow)`.
"""

from typing import TYPE_CHECKING

from gpot.lazy import names_on_demand

if TYPE_CHECKING:
    from gpot.between import MongeBetween, monge_between
    from gpot.flows.adapters import adapt
    from gpot.flows.base import Flow, FrozenFlow
    from gpot.gp.deep_ridge import DeepRidgeVelocity
    from gpot.gp.flow import GaussianPreservingFlow
    from gpot.gp.monge import MongeMap
    from gpot.gp.rotation import fit_rotation
    from gpot.gp.series import SeriesFlow
    from gpot.gp.spectral import SpectralVelocity
    from gpot.gp.twist import TwistFlow
    from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
    from gpot.library.contexts import AmortizedMap, fit_contexts
    from gpot.library.fitted import FittedMap, load
    from gpot.library.fitting import fit
    from gpot.maths.charts import Chart
    from gpot.maths.integrate import Method

__version__ = "0.1.0"

__all__ = [
    "AmortizedMap",
    "Chart",
    "DeepRidgeVelocity",
    "FittedMap",
    "Flow",
    "FrozenFlow",
    "GaussianPreservingFlow",
    "MLPVelocity",
    "Method",
    "MongeBetween",
    "MongeMap",
    "RidgeVelocity",
    "SeriesFlow",
    "SpectralVelocity",
    "TwistFlow",
    "Velocity",
    "__version__",
    "adapt",
    "fit",
    "fit_contexts",
    "fit_rotation",
    "load",
    "monge_between",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "AmortizedMap": "gpot.library.contexts",
        "Chart": "gpot.maths.charts",
        "FittedMap": "gpot.library.fitted",
        "Flow": "gpot.flows.base",
        "FrozenFlow": "gpot.flows.base",
        "GaussianPreservingFlow": "gpot.gp.flow",
        "MLPVelocity": "gpot.gp.velocity",
        "Method": "gpot.maths.integrate",
        "MongeBetween": "gpot.between.maps",
        "MongeMap": "gpot.gp.monge",
        "DeepRidgeVelocity": "gpot.gp.deep_ridge",
        "RidgeVelocity": "gpot.gp.velocity",
        "SeriesFlow": "gpot.gp.series",
        "SpectralVelocity": "gpot.gp.spectral",
        "TwistFlow": "gpot.gp.twist",
        "Velocity": "gpot.gp.velocity",
        "adapt": "gpot.flows.adapters",
        "fit": "gpot.library.fitting",
        "fit_contexts": "gpot.library.contexts",
        "fit_rotation": "gpot.gp.rotation",
        "load": "gpot.library.fitted",
        "monge_between": "gpot.between.fit",
    },
)
