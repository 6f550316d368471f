"""Groups `sweep` and `search`: questions over many runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional


@dataclass
class SweepConfig:
    """A question, and how the summary of its sweep answers it. Options are named as they are typed."""

    name: str
    question: str
    x: str  # the option on the horizontal axis
    lines: Optional[str]  # the option that has a line for each value
    metrics: list[str]  # one panel each: keys of gpot.paper.names.METRICS


@dataclass
class RangeConfig:
    """Values of one option: `choices`, or numbers from `low` to `high`, even in their logarithm if `log`."""

    low: Optional[float] = None
    high: Optional[float] = None
    log: bool = False
    integer: bool = False
    choices: Optional[list[Any]] = None


@dataclass
class SearchConfig:
    name: str
    trials: int  # of the whole study, those of earlier runs included
    metric: str  # of the trained GP flow's manifest; the lowest is the best
    folder: str  # of the studies
    space: dict[str, RangeConfig]  # option, as it is typed -> its values
