"""The one list of metrics, and printed names of metrics and datasets: what a reader is shown takes its words here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from gpot.errors import BadInput

NULL = "–"  # an en dash: no number


class Direction(Enum):
    """Which way a metric is better; `neutral` where neither is (a likelihood that must not change, a setting)."""

    higher = "higher"
    lower = "lower"
    neutral = "neutral"


_ARROWS = {Direction.higher: " ↑", Direction.lower: " ↓", Direction.neutral: ""}


@dataclass(frozen=True)
class Metric:
    """How a metric is printed.

    spec, paper_spec: format specifications, of our numbers and of the paper's. stderr: whether a result has a standard
    error beside it, `<key>_stderr`. upper: of a lower bound, the metric that is printed with it as the upper one.
    """

    key: str
    name: str
    direction: Direction
    spec: str
    unit: str = ""
    paper_spec: str = ".2f"
    stderr: bool = False
    upper: str = ""

    @property
    def heading(self) -> str:
        """Name, unit, and an arrow in the better direction: `Log-det error, mean (nats) ↓`."""
        return self.name + (f" ({self.unit})" if self.unit else "") + _ARROWS[self.direction]

    def text(self, value: float | None, stderr: float | None = None) -> str:
        """Our number, with its standard error where there is one; an en dash for None."""
        if value is None:
            return NULL
        shown = _format(value, self.spec)
        return shown if stderr is None else f"{shown} ± {_format(stderr, self.spec)}"

    def interval_text(self, lower: float | None, upper: float | None) -> str:
        """`2.670 and 2.697`; an en dash where either end is None."""
        return NULL if None in (lower, upper) else f"{self.text(lower)} and {self.text(upper)}"

    def paper_text(self, value: float | None) -> str:
        """The paper's number, to as many digits as it prints."""
        return NULL if value is None else _format(value, self.paper_spec)

    def difference_text(self, ours: float | None, paper: float | None) -> str:
        """Ours minus the paper's, with its sign."""
        return NULL if ours is None or paper is None else _format(ours - paper, "+" + self.spec)


def spreads_text(ours: float | None, paper: float | None, spread: float | None) -> str:
    """How many standard deviations over seeds our mean lies above the paper's number; nothing where they are rounding.

    >>> spreads_text(5.50, 5.60, 0.04), spreads_text(5.50, 5.60, None), spreads_text(2.859, 2.85, 1e-9)
    ('-2.5', '–', '–')
    """
    if ours is None or paper is None or spread is None or not varies(ours, spread):
        return NULL
    return format((ours - paper) / spread, "+.1f")


def varies(mean: float | None, spread: float | None) -> bool:
    """Whether repetitions differ by more than single precision rounds: an NLL, which is that of the frozen flow, does
    not.

    >>> varies(5.50, 0.04), varies(2.859, 1e-9), varies(0.0, 0.0)
    (True, False, False)
    """
    return mean is not None and spread is not None and spread > _ROUNDING * abs(mean)


_ROUNDING = 1e-6


def _format(value: float, spec: str) -> str:
    return format(round(value), spec) if spec.endswith("d") else format(value, spec)


_HIGHER, _LOWER, _NEUTRAL = Direction.higher, Direction.lower, Direction.neutral

_SCORES = (
    Metric("disentanglement", "Disentanglement", _HIGHER, ".3f"),
    Metric("completeness", "Completeness", _HIGHER, ".3f"),
    Metric("informativeness", "Informativeness", _LOWER, ".3f"),
)
_MORE_SCORES = (
    Metric("mig", "MIG", _HIGHER, ".3f"),
    Metric("sap", "SAP", _HIGHER, ".3f"),
)
_TRANSPORT = (
    Metric("cost", "Cost", _LOWER, ".3f", stderr=True),
    Metric("optimum_lower", "Optimum between", _NEUTRAL, ".3f", upper="cost"),
    Metric("gap_upper", "Above optimum by at most", _LOWER, ".2%", stderr=True),
    Metric("gelbrich", "Gelbrich floor", _NEUTRAL, ".3f"),
    Metric("cost_data", "Cost on data", _LOWER, ".3f", stderr=True),
    Metric("cost_units", "Cost, in the data's units", _LOWER, ".4g", stderr=True),
    Metric("nll_analytic", "NLL, analytic", _NEUTRAL, ".3f", "nats"),
    Metric("nll_exact", "NLL, exact", _NEUTRAL, ".3f", "nats"),
    Metric("logdet_error_mean", "Log-det error, mean", _LOWER, ".1e", "nats"),
    Metric("logdet_error_max", "Log-det error, max", _LOWER, ".1e", "nats"),
    Metric("energy", "Energy", _LOWER, ".3f", stderr=True),
    Metric("roundtrip", "Round-trip error", _LOWER, ".1e"),
    Metric("certificate", "Improvable by exchange", _LOWER, ".2%", stderr=True),
    Metric("escaped", "Escaped", _LOWER, "d", "particles"),
    Metric("escaped_data", "Escaped, data", _LOWER, "d", "particles"),
)
_UNSHOWN = (
    Metric("nll_stderr", "NLL, standard error", _NEUTRAL, ".3f", "nats"),
    Metric("roundtrip_max", "Round-trip error, largest", _LOWER, ".1e"),
    Metric("escaped_codes", "Escaped, scored codes", _LOWER, "d", "particles"),
)
_MODEL = (
    Metric("n_parameters_flow", "Parameters, flow", _NEUTRAL, ",d", paper_spec=",d"),
    Metric("n_parameters_gp", "Parameters, GP", _NEUTRAL, ",d", paper_spec=",d"),
    Metric("n_steps", "Time steps", _NEUTRAL, "d", paper_spec="d"),
)
_TRAINING = (
    Metric("epochs", "Epochs", _NEUTRAL, ",d", paper_spec=",d"),
    Metric("batch_size", "Batch size", _NEUTRAL, "d", paper_spec="d"),
    Metric("lr", "Learning rate", _NEUTRAL, ".0e", paper_spec=".0e"),
)
_TRAVERSALS = (
    Metric("n_informative", "Informative axes", _NEUTRAL, "d"),
    Metric("change_informative", "Image change, informative axes", _NEUTRAL, ".2%"),
    Metric("change_other", "Image change, other axes", _LOWER, ".2%"),
    Metric("lost", "Lost images", _LOWER, "d"),
)

METRICS: dict[str, Metric] = {
    entry.key: entry
    for group in (_SCORES, _MORE_SCORES, _TRANSPORT, _UNSHOWN, _MODEL, _TRAINING, _TRAVERSALS)
    for entry in group
}


def _keys(*groups: tuple[Metric, ...]) -> tuple[str, ...]:
    return tuple(entry.key for group in groups for entry in group)


SCORES = _keys(_SCORES)
MORE_SCORES = _keys(_MORE_SCORES)  # not in the paper
TRANSPORT = _keys(_TRANSPORT)
BOUNDS = ("optimum_lower", "gap_upper")  # found by a stage of their own
SETTINGS = _keys(_MODEL, _TRAINING)
TRAVERSALS = _keys(_TRAVERSALS)
EVALUATED = _keys(_TRANSPORT, _UNSHOWN, _MODEL)  # what an evaluation finds of a row, its scores aside


def with_stderr(metrics: Iterable[str]) -> tuple[str, ...]:
    """Metrics, each followed by the key of its standard error where it has one.

    >>> with_stderr(["cost", "gelbrich"])
    ('cost', 'cost_stderr', 'gelbrich')
    """
    return tuple(k for key in metrics for k in ([key, f"{key}_stderr"] if METRICS[key].stderr else [key]))


DATASETS = {
    "dsprites": "dSprites",
    "mnist": "MNIST",
    "chairs": "3D chairs",
    "celeba": "CelebA",
    "eight_gaussians": "eight Gaussians",
    "two_moons": "two moons",
    "pinwheel": "pinwheel",
    "two_spirals": "two spirals",
    "checkerboard": "checkerboard",
    "swiss_roll": "Swiss roll",
    "circles": "circles",
    "rings": "rings",
    "cosine": "cosine",
    "line": "line",
    "array": "points",
    "latents": "codes",
}
PROTOCOLS = {"with_shape": "with shape", "continuous": "continuous only"}


def metric(key: str) -> Metric:
    """Look up a metric.  Raises: BadInput, with the known keys, for an unknown one."""
    if key not in METRICS:
        raise BadInput(f"No metric is called '{key}'. Known: {', '.join(METRICS)}.")
    return METRICS[key]
