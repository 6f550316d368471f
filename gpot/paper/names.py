"""Printed names: one map for metrics, one for rows. Whatever is shown to a reader takes its words from here."""

from __future__ import annotations

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
    """How a metric is printed. `spec` and `paper_spec` are format specifications, of our numbers and of the paper's."""

    key: str
    name: str
    direction: Direction
    spec: str
    unit: str = ""
    paper_spec: str = ".2f"

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

    def paper_text(self, value: float | None) -> str:
        """The paper's number, to as many digits as it prints."""
        return NULL if value is None else _format(value, self.paper_spec)

    def difference_text(self, ours: float | None, paper: float | None) -> str:
        """Ours minus the paper's, with its sign."""
        return NULL if ours is None or paper is None else _format(ours - paper, "+" + self.spec)


def _format(value: float, spec: str) -> str:
    return format(round(value), spec) if spec.endswith("d") else format(value, spec)


_HIGHER, _LOWER, _NEUTRAL = Direction.higher, Direction.lower, Direction.neutral

METRICS: dict[str, Metric] = {
    entry.key: entry
    for entry in (
        Metric("disentanglement", "Disentanglement", _HIGHER, ".3f"),
        Metric("completeness", "Completeness", _HIGHER, ".3f"),
        Metric("informativeness", "Informativeness", _LOWER, ".3f"),
        Metric("mig", "MIG", _HIGHER, ".3f"),
        Metric("sap", "SAP", _HIGHER, ".3f"),
        Metric("cost", "Cost", _LOWER, ".3f"),
        Metric("gelbrich", "Gelbrich floor", _NEUTRAL, ".3f"),
        Metric("cost_data", "Cost on data", _LOWER, ".3f"),
        Metric("nll_analytic", "NLL, analytic", _NEUTRAL, ".3f", "nats"),
        Metric("nll_exact", "NLL, exact", _NEUTRAL, ".3f", "nats"),
        Metric("logdet_error_mean", "Log-det error, mean", _LOWER, ".1e", "nats"),
        Metric("logdet_error_max", "Log-det error, max", _LOWER, ".1e", "nats"),
        Metric("energy", "Energy", _LOWER, ".3f"),
        Metric("roundtrip", "Round-trip error", _LOWER, ".1e"),
        Metric("certificate", "Certificate", _LOWER, ".2%"),
        Metric("escaped", "Escaped", _LOWER, "d", "particles"),
        Metric("n_parameters_flow", "Parameters, flow", _NEUTRAL, ",d", paper_spec=",d"),
        Metric("n_parameters_gp", "Parameters, GP", _NEUTRAL, ",d", paper_spec=",d"),
        Metric("n_steps", "Time steps", _NEUTRAL, "d", paper_spec="d"),
        Metric("epochs", "Epochs", _NEUTRAL, ",d", paper_spec=",d"),
        Metric("batch_size", "Batch size", _NEUTRAL, "d", paper_spec="d"),
        Metric("lr", "Learning rate", _NEUTRAL, ".0e", paper_spec=".0e"),
        Metric("change_informative", "Image change, informative axes", _NEUTRAL, ".2%"),
        Metric("change_other", "Image change, other axes", _LOWER, ".2%"),
        Metric("n_informative", "Informative axes", _NEUTRAL, "d"),
        Metric("lost", "Lost images", _LOWER, "d"),
    )
}

SCORES = ("disentanglement", "completeness", "informativeness")
MORE_SCORES = ("mig", "sap")  # not in the paper
TRANSPORT = (
    "cost",
    "gelbrich",
    "cost_data",
    "nll_analytic",
    "nll_exact",
    "logdet_error_mean",
    "logdet_error_max",
    "energy",
    "roundtrip",
    "certificate",
    "escaped",
)
SETTINGS = ("n_parameters_flow", "n_parameters_gp", "n_steps", "epochs", "batch_size", "lr")

TRAVERSALS = ("n_informative", "change_informative", "change_other", "lost")

FLOWS = {"ffjord": "FFJORD", "bnaf": "BNAF", "cpflow": "CP-Flow"}
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

_ROWS = {
    "latent": "Initial latent space",
    "flow": "{flow}",
    "flow+rotation": "{flow}+rotation",
    "flow+gp": "{flow}+GP",
    "flow+gp+euler": "{flow}+GP+Euler",
    "flow+gp+kinetic": "{flow}+GP+kinetic",
    "flow+gp+spectral": "{flow}+GP+spectral",
    "cpflow": "CP-Flow",
}
ROWS = tuple(_ROWS)


def base_row(row: str) -> str:
    """Row key without its variant: `flow+gp:ridge` -> `flow+gp`.  Raises: BadInput for a row that is not in `ROWS`."""
    base = row.partition(":")[0]
    if base not in _ROWS:
        raise BadInput(
            f"A result's row must be one of {', '.join(ROWS)}, with a variant after a colon if need be "
            f"(flow+gp:ridge); got '{row}'."
        )
    return base


def row_name(row: str, flow: str | None = None) -> str:
    """Printed name of a row.

    Arguments: row: a key of `ROWS`, with or without a variant. flow: key of the flow (`ffjord`, `bnaf`, or any other,
    which is then printed as it is); None prints 'Flow'.

    >>> row_name("flow+gp+euler", "ffjord"), row_name("flow+gp:ridge", "bnaf"), row_name("latent")
    ('FFJORD+GP+Euler', 'BNAF+GP (ridge)', 'Initial latent space')
    """
    name = _ROWS[base_row(row)].format(flow="Flow" if flow is None else FLOWS.get(flow, flow))
    variant = row.partition(":")[2]
    return f"{name} ({variant})" if variant else name


def metric(key: str) -> Metric:
    """Look up a metric.  Raises: BadInput, with the known keys, for an unknown one."""
    if key not in METRICS:
        raise BadInput(f"No metric is called '{key}'. Known: {', '.join(METRICS)}.")
    return METRICS[key]
