"""Gaussian-preserving maps s: z -> z, the rotation before them, and the Monge map s o f."""

from typing import TYPE_CHECKING

from gpot.lazy import names_on_demand

if TYPE_CHECKING:
    from gpot.gp.base import GaussianPreserving
    from gpot.gp.deep_ridge import DeepRidgeVelocity
    from gpot.gp.flow import GaussianPreservingFlow
    from gpot.gp.monge import MongeMap
    from gpot.gp.rotation import fit_rotation
    from gpot.gp.series import SeriesFlow
    from gpot.gp.spectral import SpectralVelocity
    from gpot.gp.twist import TwistFlow
    from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
    from gpot.maths.charts import Chart
    from gpot.maths.integrate import Method

__all__ = [
    "Chart",
    "DeepRidgeVelocity",
    "GaussianPreserving",
    "GaussianPreservingFlow",
    "MLPVelocity",
    "Method",
    "MongeMap",
    "RidgeVelocity",
    "SeriesFlow",
    "SpectralVelocity",
    "TwistFlow",
    "Velocity",
    "fit_rotation",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "Chart": "gpot.maths.charts",
        "GaussianPreserving": "gpot.gp.base",
        "GaussianPreservingFlow": "gpot.gp.flow",
        "MLPVelocity": "gpot.gp.velocity",
        "Method": "gpot.maths.integrate",
        "MongeMap": "gpot.gp.monge",
        "DeepRidgeVelocity": "gpot.gp.deep_ridge",
        "RidgeVelocity": "gpot.gp.velocity",
        "SeriesFlow": "gpot.gp.series",
        "SpectralVelocity": "gpot.gp.spectral",
        "TwistFlow": "gpot.gp.twist",
        "Velocity": "gpot.gp.velocity",
        "fit_rotation": "gpot.gp.rotation",
    },
)
