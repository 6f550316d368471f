"""Errors for users: what was asked, what was found, what to type next, in that order.

Messages speak Python, `chart="gaussian"`: whoever calls a function types its arguments. On the command line
`gpot.config.advice` adds the options that set these.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class GpotError(Exception):
    """Base of every error that gpot raises on purpose.

    advice: the arguments that the message asks for, `Class.argument` or `argument` -> value; `...` for any value. Their
    names are those of `gpot.config.advice.OPTIONS`.
    """

    def __init__(self, *message: object, advice: Mapping[str, Any] | None = None) -> None:
        super().__init__(*message)
        self.advice = dict(advice or {})


class BadInput(GpotError, ValueError):
    """A value, array or file handed to gpot is not what the function needs."""


class FlowRefused(BadInput):
    """A flow does not keep to the convention, in shape, sign, dtype or inverse: nothing was built on it."""


class BadConfig(GpotError, ValueError):
    """Options that cannot go together, or a value out of its range."""


class DataMissing(GpotError, FileNotFoundError):
    """A data file is needed, and is neither here nor can be made."""


class ArtifactMissing(GpotError, FileNotFoundError):
    """A stage needs the result of an earlier one, and it is not in the store."""


class ArtifactCorrupt(GpotError):
    """A stored file does not have the content that its manifest records."""


class InverseNotAvailable(GpotError, NotImplementedError):
    """A flow has no inverse."""


class OutsideCube(GpotError):
    """Particles left (-1, 1)^d: the time steps do not resolve the velocity."""


class FidelityLost(GpotError):
    """The discretized map no longer preserves the Gaussian to the tolerance asked for."""


class TrainingDiverged(GpotError):
    """A loss or a parameter is no longer a finite number."""


class ProcessLost(GpotError):
    """A process that made a result was ended from outside."""


class LoggerUnavailable(GpotError):
    """A logger cannot be opened: no connection, no permission."""


class GpotWarning(UserWarning):
    """What a user should know of a result that stands all the same."""


class OptimumNotReached(GpotError):
    """The network simplex stopped before the optimum."""
