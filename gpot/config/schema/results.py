"""What is measured and shown: `evaluate bounds report`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from gpot.config.schema.flows import FlowConfig
from gpot.config.schema.gps import GpConfig, PenaltyConfig
from gpot.evaluation.disentanglement.dci import Regressor
from gpot.evaluation.traversals import INFORMATIVE_KL
from gpot.paper.items import Item


@dataclass
class EvaluateConfig:
    n_prior: int  # prior samples behind the cost, the energy and the round trip
    n_data: int  # held-out data points behind the cost on data and the likelihood
    n_exact: int  # points at which log|det| is found by automatic differentiation
    certificate_batch: int
    certificate_batches: int
    regressor: Regressor
    alpha: float  # of the Lasso
    n_dci_train: Optional[int] = None  # labelled images of the disentanglement scores; null where there are no labels
    n_dci_test: Optional[int] = None
    optimum_sizes: list[int] = field(default_factory=list)  # points of the discrete problems; empty: none is solved
    optimum_repeats: int = 5


@dataclass
class BoundsConfig:
    """How the potential is fitted that bounds a cost's distance from the optimum."""

    n_train: int  # pairs that it is fitted on
    groups: int  # of soft maxima
    pieces: int  # of each group
    regression_steps: int
    steps: int  # on the bound itself
    lr: float  # of these
    batch_size: int


@dataclass
class VariantConfig:
    """A further row of a result: the config of the run with other groups in places; null: as in the run.

    label: what the row's name has after a colon, where two rows would share a name.
    """

    label: str = ""
    flow: Optional[FlowConfig] = None  # given alone, the row is that flow without a GP flow
    gp: Optional[GpConfig] = None
    penalty: Optional[PenaltyConfig] = None


@dataclass
class TraversalConfig:
    """Images along the axes of a code space: one coordinate of a data point's code takes `n_values` values in
    [-extent, extent], the others stay."""

    n_points: int = 7  # data points: all in the animation, the first `n_shown` a figure each
    n_shown: int = 3
    extent: float = 1.75
    n_values: int = 7
    threshold: float = INFORMATIVE_KL  # nats of KL divergence above which a coordinate of the VAE is informative


@dataclass
class ReportConfig:
    item: Item
    variants: dict[str, VariantConfig] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)  # experiments whose rows this item collects
    traversal: TraversalConfig = field(default_factory=TraversalConfig)
    seeds: list[int] = field(default_factory=list)  # of the GP flows, over which rows are means; empty: the run's own
    jobs: int = 1  # processes side by side that make the results which an item needs, on a CPU
