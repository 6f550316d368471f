"""What a result must say: cost, likelihood, fidelity, energy, certificate, disentanglement."""

from typing import TYPE_CHECKING

from gpot.lazy import names_on_demand

if TYPE_CHECKING:
    from gpot.evaluation.certificate import assignment_gap
    from gpot.evaluation.cost import cost_summary
    from gpot.evaluation.energy import cube_energy
    from gpot.evaluation.estimate import Estimate
    from gpot.evaluation.fidelity import Guard
    from gpot.evaluation.likelihood import LogDetError, log_det_error, nll, nll_exact
    from gpot.evaluation.optimum import discrete_w2

__all__ = [
    "Estimate",
    "Guard",
    "LogDetError",
    "assignment_gap",
    "cost_summary",
    "cube_energy",
    "discrete_w2",
    "log_det_error",
    "nll",
    "nll_exact",
]

__getattr__, __dir__ = names_on_demand(
    __name__,
    {
        "Estimate": "gpot.evaluation.estimate",
        "Guard": "gpot.evaluation.fidelity",
        "LogDetError": "gpot.evaluation.likelihood",
        "assignment_gap": "gpot.evaluation.certificate",
        "cost_summary": "gpot.evaluation.cost",
        "cube_energy": "gpot.evaluation.energy",
        "discrete_w2": "gpot.evaluation.optimum",
        "log_det_error": "gpot.evaluation.likelihood",
        "nll": "gpot.evaluation.likelihood",
        "nll_exact": "gpot.evaluation.likelihood",
    },
)
