"""One dataclass per config group: a misspelt key, a wrong type or a wrong choice fails before anything is built.

The YAML files extend these (`defaults: [base_x, _self_]`), so a field without a default must be given by the group's
file. OmegaConf reads the annotations at run time, on Python 3.10 too: Optional[...] stays.
"""

from gpot.config.schema.costs import CostConfig, EuclideanCost, L1Cost, LpCost, MahalanobisCost
from gpot.config.schema.datasets import (
    ArchiveConfig,
    DatasetConfig,
    DSpritesConfig,
    ImagesConfig,
    MnistConfig,
    OwnImagesConfig,
    PointsConfig,
    ToyConfig,
    VaeConfig,
)
from gpot.config.schema.flows import BNAFConfig, CPFlowConfig, FFJORDConfig, FlowConfig
from gpot.config.schema.gps import (
    DeepRidgeConfig,
    FamilyConfig,
    GpConfig,
    MlpConfig,
    PenaltyConfig,
    RidgeConfig,
    SpectralConfig,
    TwistConfig,
)
from gpot.config.schema.results import BoundsConfig, EvaluateConfig, ReportConfig, TraversalConfig, VariantConfig
from gpot.config.schema.root import GROUPS, KINDS, Config, register
from gpot.config.schema.running import (
    BudgetConfig,
    DeviceConfig,
    LoggerConfig,
    ModelsConfig,
    OptimizerConfig,
    OptimizersConfig,
    PathsConfig,
)
from gpot.config.schema.sweeps import RangeConfig, SearchConfig, SweepConfig

__all__ = [
    "GROUPS",
    "KINDS",
    "ArchiveConfig",
    "BNAFConfig",
    "BoundsConfig",
    "BudgetConfig",
    "CPFlowConfig",
    "Config",
    "CostConfig",
    "DSpritesConfig",
    "DatasetConfig",
    "DeepRidgeConfig",
    "DeviceConfig",
    "EuclideanCost",
    "EvaluateConfig",
    "FFJORDConfig",
    "FamilyConfig",
    "FlowConfig",
    "GpConfig",
    "ImagesConfig",
    "L1Cost",
    "LoggerConfig",
    "LpCost",
    "MahalanobisCost",
    "MlpConfig",
    "MnistConfig",
    "ModelsConfig",
    "OptimizerConfig",
    "OptimizersConfig",
    "OwnImagesConfig",
    "PathsConfig",
    "PenaltyConfig",
    "PointsConfig",
    "RangeConfig",
    "ReportConfig",
    "RidgeConfig",
    "SearchConfig",
    "SpectralConfig",
    "SweepConfig",
    "ToyConfig",
    "TraversalConfig",
    "TwistConfig",
    "VaeConfig",
    "VariantConfig",
    "register",
]
