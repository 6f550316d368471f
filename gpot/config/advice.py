"""The options that set the arguments which an error asks for."""

from __future__ import annotations

from gpot.errors import GpotError

# Argument in Python -> option on the command line
OPTIONS = {
    "velocity": "gp",
    "penalty": "penalty",
    "GaussianPreservingFlow.n_steps": "gp.n_steps",
    "GaussianPreservingFlow.chart": "gp.chart",
    "SpectralVelocity.modes": "gp.family.modes",
    "SpectralVelocity.n_steps": "gp.family.n_steps",
    "BNAFFlow.inverse": "flow.inverse",
    "BNAFFlow.tolerance": "flow.tolerance",
    "Guard.tolerance": "gp.logdet_tolerance",
    "Guard.max_steps": "gp.max_steps",
    "lr": "optimizer.gp.lr",
    "length": "gp.epochs",
    "flow_length": "flow.epochs",
    "dim": "dataset.dim",
    "path": "dataset.path",
    "pattern": "dataset.pattern",
    "channels": "dataset.channels",
    "n_images": "dataset.n_images",
    "folder": "paths.data",
    "models": "models",
    "metrics": "sweep.metrics",
}


def options(error: BaseException) -> str:
    """What to type for the arguments that an error asks for; empty where it asks for none.

    >>> options(GpotError("take more steps", advice={"GaussianPreservingFlow.n_steps": 30}))
    'On the command line: gp.n_steps=30'
    """
    advice = error.advice if isinstance(error, GpotError) else {}
    typed = [f"{OPTIONS[name]}={_typed(value)}" for name, value in advice.items()]
    return f"On the command line: {', '.join(typed)}" if typed else ""


def _typed(value: object) -> str:
    if value is None:
        return "null"
    return "..." if value is ... else str(value)
