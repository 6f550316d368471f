"""The whole config, and its groups as Hydra knows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from hydra.core.config_store import ConfigStore

from gpot.config.choices import Upstream
from gpot.config.options import register_options
from gpot.config.resolvers import register_resolvers
from gpot.config.schema.costs import CostConfig, EuclideanCost, L1Cost, LpCost, MahalanobisCost
from gpot.config.schema.datasets import (
    ArchiveConfig,
    DatasetConfig,
    DSpritesConfig,
    MnistConfig,
    OwnImagesConfig,
    PointsConfig,
    ToyConfig,
    VaeConfig,
)
from gpot.config.schema.flows import BNAFConfig, CPFlowConfig, FFJORDConfig, FlowConfig
from gpot.config.schema.gps import (
    DeepRidgeConfig,
    GpConfig,
    MlpConfig,
    PenaltyConfig,
    RidgeConfig,
    SpectralConfig,
    TwistConfig,
)
from gpot.config.schema.results import BoundsConfig, EvaluateConfig, ReportConfig
from gpot.config.schema.running import (
    BudgetConfig,
    DeviceConfig,
    LoggerConfig,
    ModelsConfig,
    OptimizersConfig,
    PathsConfig,
)
from gpot.config.schema.sweeps import SearchConfig, SweepConfig
from gpot.paper.rows import Row


@dataclass
class Config:
    seed: int
    upstream: Upstream
    pretrained: Optional[str]
    dataset: DatasetConfig
    flow: FlowConfig
    gp: GpConfig
    penalty: PenaltyConfig
    cost: CostConfig
    optimizer: OptimizersConfig
    device: DeviceConfig
    logger: LoggerConfig
    budget: BudgetConfig
    evaluate: EvaluateConfig
    bounds: BoundsConfig
    report: ReportConfig
    paths: PathsConfig
    models: ModelsConfig
    vae: Optional[VaeConfig] = None  # of datasets of images
    sweep: Optional[SweepConfig] = None  # of a ready sweep
    search: Optional[SearchConfig] = None  # of scripts/search.py
    typed: list[str] = field(default_factory=list)  # the overrides on the command line, to compose a sibling config
    multirun: Optional[str] = None  # of a job of a sweep: the sweep's name, by which its runs are grouped

    @property
    def gp_seed(self) -> int:
        """Of the GP flow alone: what comes before it has the run's."""
        return self.seed if self.gp.seed is None else self.gp.seed

    @property
    def gp_row(self) -> Row:
        """The row of the GP flow that this config trains."""
        return self.gp.family.row or self.penalty.row


GROUPS: dict[str, type] = {
    "dataset": DatasetConfig,
    "vae": VaeConfig,
    "flow": FlowConfig,
    "gp": GpConfig,
    "penalty": PenaltyConfig,
    "cost": CostConfig,
    "optimizer": OptimizersConfig,
    "device": DeviceConfig,
    "logger": LoggerConfig,
    "budget": BudgetConfig,
    "paths": PathsConfig,
    "models": ModelsConfig,
    "sweep": SweepConfig,
    "search": SearchConfig,
}


# Groups whose options are of several kinds: each kind extends the group's class, or stands in its `family`
KINDS: dict[str, dict[str, type]] = {
    "dataset": {
        "dsprites": DSpritesConfig,
        "mnist": MnistConfig,
        "archive": ArchiveConfig,
        "own_images": OwnImagesConfig,
        "toy": ToyConfig,
        "points": PointsConfig,
    },
    "flow": {"ffjord": FFJORDConfig, "bnaf": BNAFConfig, "cpflow": CPFlowConfig},
    "cost": {"euclidean": EuclideanCost, "l1": L1Cost, "lp": LpCost, "mahalanobis": MahalanobisCost},
    "gp": {
        "gp": GpConfig,
        "mlp": MlpConfig,
        "ridge": RidgeConfig,
        "deep_ridge": DeepRidgeConfig,
        "spectral": SpectralConfig,
        "twist": TwistConfig,
    },
}


def register() -> None:
    """Make resolvers and schema known to Hydra: `base_config` for the roots, for the groups `<group>/base_<group>` or
    `<group>/base_<kind>`; and the options that have no file."""
    register_resolvers()
    store = ConfigStore.instance()
    store.store(name="base_config", node=Config)
    for group, node in GROUPS.items():
        for kind, extended in KINDS.get(group, {group: node}).items():
            store.store(group=group, name=f"base_{kind}", node=extended)
    register_options()
