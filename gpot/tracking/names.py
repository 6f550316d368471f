"""Names of everything that a run logs: one table, read by the training, the dashboard, the tests and docs/wandb.md.

The same names stand in W&B, TensorBoard and the CSV files. Lightning adds `epoch`, and W&B's axis is `GLOBAL_STEP`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum


class Kind(str, Enum):
    curve = "curve"  # a number, at each validation or epoch
    images = "images"
    table = "table"


class When(str, Enum):
    """What must hold of a run for it to have the name."""

    always = "always"
    penalty = "with a penalty"
    path = "where the map has a path (not gp=twist)"
    planar = "2-D data"
    images = "images"
    printed = "where the paper prints one"


@dataclass(frozen=True)
class Logged:
    """One name: the stages that log it, what it means, its unit, the condition, and the word that progress shows
    for it (none: progress leaves it out)."""

    key: str
    stages: tuple[str, ...]
    meaning: str
    unit: str = ""
    kind: Kind = Kind.curve
    when: When = When.always
    word: str | None = None


GLOBAL_STEP = "trainer/global_step"

TRAIN_LOSS, VAL_LOSS = "train/loss", "val/loss"
TRAIN_NLL, VAL_NLL = "train/nll", "val/nll"
TRAIN_COST, VAL_COST = "train/cost", "val/cost"
TRAIN_PENALTY, PENALTY_WEIGHT = "train/penalty", "penalty/weight"
TRAIN_LR = "train/lr"
VAL_NLL_EXACT, VAL_ENERGY = "val/nll_exact", "val/energy"
VAL_LOG_DET_MEAN, VAL_LOG_DET_MAX = "val/logdet_error_mean", "val/logdet_error_max"
VAL_STEPS, ESCAPED = "val/n_steps", "domain/escaped"
PAPER_COST, PAPER_ENERGY, PAPER_NLL = "paper/cost", "paper/energy", "paper/nll"
FIGURE_DENSITY, FIGURE_MESH, FIGURE_TRAVERSALS = "figures/density", "figures/mesh", "figures/traversals"
REPORT_TABLE, REPORT_FIGURES = "report/table", "report/figures"

VAE_TERMS = {  # field of the loss -> what it is
    "reconstruction": "negative log-likelihood of the pixels",
    "mutual_information": "mutual information of image and code",
    "total_correlation": "dependence among the code's coordinates",
    "dimension_wise_kl": "divergence of each coordinate from N(0, 1)",
}

_VAE, _FLOW, _GP, _REPORT = ("vae",), ("flow",), ("gp",), ("report",)

LOGGED: tuple[Logged, ...] = (
    Logged(TRAIN_LOSS, _VAE, "objective of the beta-TCVAE, mean over the epoch", "nats"),
    Logged(VAL_LOSS, _VAE, "the same on some of the images, without annealing", "nats", word="loss"),
    *(
        Logged(f"{part}/{term}", _VAE, meaning, "nats")
        for part in ("train", "val")
        for term, meaning in VAE_TERMS.items()
    ),
    Logged(TRAIN_NLL, _FLOW, "negative log-likelihood, mean over the epoch", "nats per point"),
    Logged(VAL_NLL, _FLOW, "negative log-likelihood of held-out points, exact", "nats per point", word="NLL"),
    Logged(TRAIN_COST, _GP, "transport cost E|x - s(f(x))|^2, mean over the epoch"),
    Logged(VAL_COST, _GP, "transport cost of held-out pairs", word="cost"),
    Logged(TRAIN_PENALTY, _GP, "penalty R before its weight, mean over the epoch", when=When.penalty),
    Logged(PENALTY_WEIGHT, _GP, "lambda, the weight of R"),
    Logged(VAL_ENERGY, _GP, "energy of the flow in the cube (eq. 9)", when=When.path),
    Logged(VAL_NLL_EXACT, _GP, "NLL of s o f with the exact log-determinant of the time steps", "nats per point"),
    Logged(VAL_LOG_DET_MEAN, _GP, "log-determinant error of the time steps, mean", "nats", word="log-det error"),
    Logged(VAL_LOG_DET_MAX, _GP, "the same, largest", "nats"),
    Logged(ESCAPED, _GP, "held-out particles whose image is not finite", "particles", word="escaped"),
    Logged(VAL_STEPS, _GP, "time steps of the map", when=When.path),
    Logged(TRAIN_LR, ("vae", "flow", "gp"), "learning rate at the end of the epoch"),
    Logged(PAPER_COST, _GP, "the paper's cost, a reference line", when=When.printed),
    Logged(PAPER_ENERGY, _GP, "the paper's energy, a reference line", when=When.printed),
    Logged(PAPER_NLL, ("flow", "gp"), "the paper's loss, a reference line", "nats per point", when=When.printed),
    Logged(FIGURE_DENSITY, _GP, "density of s o f, and paths of particles", kind=Kind.images, when=When.planar),
    Logged(FIGURE_MESH, _GP, "image of a uniform mesh under s o f", kind=Kind.images, when=When.planar),
    Logged(FIGURE_TRAVERSALS, _GP, "traversals of a data point under s o f", kind=Kind.images, when=When.images),
    Logged(REPORT_TABLE, _REPORT, "every number of an item of the paper, ours and printed", kind=Kind.table),
    Logged(REPORT_FIGURES, _REPORT, "the figures of the item", kind=Kind.images),
)

# Of a run's config in W&B: flat, so that runs can be grouped and filtered by it
SETTINGS: dict[str, str] = {
    "stage": "vae, flow, gp or report",
    "key": "key of the artefact",
    "dataset": "name of the dataset",
    "vae": "name of the VAE, or none",
    "flow": "name of the flow",
    "gp": "name of the GP flow",
    "velocity": "family of the velocity",
    "chart": "chart of the integration",
    "penalty": "name of the penalty",
    "lambda": "weight of the penalty at the first epoch",
    "cost": "name of the cost that the GP flow makes small",
    "seed": "seed",
    "budget": "name of the budget",
    "commit": "git commit of gpot, -dirty where files differ",
    "item": "of a report: the table or figure",
}


def names(stages: Iterable[str], holds: Collection[When] = tuple(When)) -> set[str]:
    """Names that runs of these stages have, where the conditions `holds` hold (`always` is among them or not at all).

    >>> sorted(names(["flow"], [When.always]))
    ['train/lr', 'train/nll', 'val/nll']
    """
    kinds = set(stages)
    return {entry.key for entry in LOGGED if kinds & set(entry.stages) and entry.when in holds}


WORDS: dict[str, str] = {entry.key: entry.word for entry in LOGGED if entry.word is not None}
