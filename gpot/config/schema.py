"""One dataclass per config group: a misspelt key, a wrong type or a wrong choice fails before anything is built.

The YAML files extend these (`defaults: [base_x, _self_]`), so a field without a default must be given by the group's
file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Optional

import torch
from hydra.core.config_store import ConfigStore
from omegaconf import II

from gpot.config.choices import (
    Activation,
    ActNormPlace,
    CodePrecision,
    Divergence,
    Inverse,
    LogDet,
    LoggerKind,
    PenaltyKind,
    PenaltyTime,
    Precision,
    Rotation,
    Schedule,
    Solver,
    Source,
    Strategy,
    Upstream,
    WandbMode,
)
from gpot.config.options import register_options
from gpot.config.resolvers import register_resolvers
from gpot.data.mnist import Split
from gpot.evaluation.disentanglement.dci import Regressor
from gpot.maths.charts import Chart
from gpot.maths.integrate import Method
from gpot.paper.items import Item
from gpot.paper.rows import Row
from third_party.btcvae import Estimator

# OmegaConf reads the annotations at run time, on Python 3.10 too: Optional[...] stays.


@dataclass(kw_only=True)
class DatasetConfig:
    """What every dataset has; the flow sees points of dimension `dim`."""

    name: str
    dim: int
    mlp_hidden: list[int] = field(default_factory=lambda: [50, 50, 50])  # of the GP flow `mlp`: the paper's (Table 4)


@dataclass
class ImagesConfig(DatasetConfig):
    """Images, whose codes the flow sees."""

    image_size: int
    channels: int
    n_images: Optional[int]  # a random subset of the images; null: all of them
    codes: CodePrecision  # of the stored codes


@dataclass
class DSpritesConfig(ImagesConfig):
    path: Optional[str]  # the official file; null: gpot draws the images


@dataclass
class MnistConfig(ImagesConfig):
    split: Split


@dataclass
class ArchiveConfig(ImagesConfig):
    """Pictures in a tar or zip archive, or in a folder; without a path, `name` says what is fetched."""

    path: Optional[str]
    pattern: str  # of the shell, that names of images in the archive fit; * stands for slashes too


@dataclass
class OwnImagesConfig(ImagesConfig):
    """A user's own images, an .npy file of shape (n, S, S) or (n, C, S, S)."""

    path: Optional[str]


@dataclass
class ToyConfig(DatasetConfig):
    """A density of `gpot.data.toy`; `name` says which."""

    n_points: int


@dataclass
class PointsConfig(DatasetConfig):
    """A user's own points, an .npy or .npz file of shape (n, dim)."""

    path: Optional[str]
    standardize: bool  # to mean 0 and standard deviation 1, column by column


@dataclass
class VaeConfig:
    name: str
    weights: Optional[str]  # frozen instead of trained: a safetensors file with the released names, or authors:NAME
    latent_dim: int
    alpha: float
    beta: float
    gamma: float
    estimator: Estimator
    annealing_steps: int  # in which the weight of the dimension-wise KL rises from 0
    pressure_start: float  # factor of the whole divergence at the first step
    pressure_steps: int  # in which that factor falls to 1
    epochs: int
    batch_size: int
    precision: Precision


@dataclass(kw_only=True)
class FlowConfig:
    """What every flow has; each family adds its own settings. A flow in a row of a report is trained as the run's."""

    name: str
    weights: Optional[str]  # as of the VAE
    epochs: int = II("flow.epochs")
    batch_size: int = II("flow.batch_size")


@dataclass
class FFJORDConfig(FlowConfig):
    hidden: list[int]
    n_blocks: int
    solver: Solver  # of the frozen flow
    tolerance: float  # absolute and relative, of dopri5
    solver_steps: int  # per block, of rk4
    training_solver: Solver
    training_steps: int  # per block, of rk4 in training
    shifted_grid: bool  # of rk4, by a random part of a step in each training step: no grid's error can be learned
    validation_steps: Optional[int]  # per block, of rk4 in validation: a finer grid sees what training's conceals
    divergence: Divergence


@dataclass
class BNAFConfig(FlowConfig):
    width: int
    n_layers: int
    n_blocks: int
    inverse: Inverse
    tolerance: float  # of the inverse, in x


@dataclass
class CPFlowConfig(FlowConfig):
    width: int
    depth: int
    n_blocks: int
    activation: Activation
    actnorm: ActNormPlace
    training_log_det: LogDet
    tolerance: float  # of the inverse, in z


@dataclass
class FamilyConfig:
    """What moves the particles of a GP flow: a velocity, or couplings. Each family has its own settings.

    kind: its name in keys and loggers. row: of a result, where the family has one of its own.
    """

    kind: ClassVar[str]
    row: ClassVar[Optional[Row]] = None


@dataclass
class MlpConfig(FamilyConfig):
    kind = "mlp"
    hidden: list[int]
    n_blocks: Optional[int]  # null: dim - 1, which gives every divergence-free field


@dataclass
class RidgeConfig(FamilyConfig):
    kind = "ridge"
    width: int


@dataclass
class SpectralConfig(FamilyConfig):
    """Euler's equations solved for the velocity: only its initial value is learned. For points of dimension 2."""

    kind = "spectral"
    row = Row.gp_spectral
    modes: int  # sines per coordinate of the stream function
    n_steps: int  # Runge-Kutta steps of the solver over [0, 1]


@dataclass
class TwistConfig(FamilyConfig):
    """Couplings without an ODE, and so without a velocity. For points of dimension 3 or more."""

    kind = "twist"
    n_layers: int
    width: int  # of the hidden layer of each angle


@dataclass
class GpConfig:
    """A GP flow, and how it is trained: the group `scale` says so of the run's, one in a row of a report follows."""

    name: str
    family: FamilyConfig
    chart: Chart
    rotation: Rotation
    method: Method
    n_steps: int
    max_steps: int  # the fidelity guard refines the time grid up to this many
    logdet_tolerance: float  # nats, mean of the absolute log-determinant error on held-out points
    source: Source
    n_train: int = II("gp.n_train")
    n_validation: int = II("gp.n_validation")
    epochs: int = II("gp.epochs")
    epochs_penalized: int = II("gp.epochs_penalized")  # of runs with a penalty (Table 4)
    epochs_twist: int = II("gp.epochs_twist")  # of couplings without an ODE, whose steps cost less
    batch_size: int = II("gp.batch_size")
    seed: Optional[int] = None  # of the GP flow alone, so that repetitions share a frozen flow; null: the run's seed


@dataclass
class PenaltyConfig:
    name: str
    kind: PenaltyKind
    weight: float  # lambda at the first epoch
    halvings: int  # lambda is halved this many times, at equal intervals
    probes: int
    exact: bool  # exact total derivative instead of (12)
    time: PenaltyTime
    particles: Optional[int] = II("penalty.particles")  # of each batch, for the estimate; null: all of them

    @property
    def acting(self) -> PenaltyKind:
        """The kind, or `none` where a weight of 0 makes it so: a sweep over the weight may start at 0."""
        return self.kind if self.weight > 0 else PenaltyKind.none

    @property
    def row(self) -> Row:
        """The row of a GP flow that is trained with this penalty."""
        return {PenaltyKind.none: Row.gp, PenaltyKind.euler: Row.gp_euler, PenaltyKind.kinetic: Row.gp_kinetic}[
            self.acting
        ]


@dataclass
class OptimizerConfig:
    """Adam. gradient_clip: largest 2-norm of the gradient, null: no clipping. points: step: factor of lr, of
    schedule=points, in rising order."""

    lr: float
    schedule: Schedule
    weight_decay: float
    gradient_clip: Optional[float]
    points: dict[int, float] = field(default_factory=dict)


@dataclass
class OptimizersConfig:
    name: str
    vae: OptimizerConfig
    flow: OptimizerConfig
    gp: OptimizerConfig


@dataclass
class DeviceConfig:
    name: str
    accelerator: str  # cpu, gpu, or auto: gpu where there is one
    devices: Any  # a number of devices, or a list of indices
    strategy: Strategy = Strategy.single

    @property
    def kind(self) -> str:
        """`cpu` or `gpu`."""
        if self.accelerator == "auto":
            return "gpu" if torch.cuda.is_available() else "cpu"
        return self.accelerator

    @property
    def processes(self) -> int:
        """How many processes train one network together."""
        if self.strategy is Strategy.single:
            return 1
        return len(self.devices) if isinstance(self.devices, list) else int(self.devices)

    @property
    def first(self) -> torch.device:
        """Where evaluation runs: the first device of the group."""
        if self.kind != "gpu":
            return torch.device("cpu")
        return torch.device("cuda", self.devices[0] if isinstance(self.devices, list) else 0)

    @property
    def words(self) -> str:
        """Kind of device for the manifest: the GPU's name, or the number of threads; and the processes, if several."""
        gpu = self.kind == "gpu"
        words = torch.cuda.get_device_name(self.first) if gpu else f"cpu, {torch.get_num_threads()} threads"
        return words if self.processes == 1 else f"{words}, {self.processes} processes"


@dataclass
class LoggerConfig:
    name: str
    kind: LoggerKind
    project: str = "gpot"
    mode: str = WandbMode.auto.value  # of W&B; checks.logger_fits says which there are
    figures: int = 5  # how often in a run pictures are drawn; 0: never


@dataclass
class ModelsConfig:
    """Which frozen models a report is about; what they are for each dataset is in the group `frozen`."""

    name: str


@dataclass
class PathsConfig:
    artifacts: str
    report: str
    logs: str
    data: str  # where downloaded files are, or go


@dataclass
class BudgetConfig:
    """How long GP flows train, and how much is evaluated; the sizes of each dataset are in the group `scale`."""

    name: str


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
    widths: list[int]  # of its layers
    regression_steps: int
    steps: int  # on the bound itself
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
    threshold: float = 0.05  # nats of KL divergence above which a coordinate of the VAE counts as informative


@dataclass
class ReportConfig:
    item: Item
    variants: dict[str, VariantConfig] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)  # experiments whose rows this item collects
    traversal: TraversalConfig = field(default_factory=TraversalConfig)
    seeds: list[int] = field(default_factory=list)  # of the GP flows, over which rows are means; empty: the run's own


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


@dataclass
class Config:
    seed: int
    upstream: Upstream
    pretrained: Optional[str]
    dataset: DatasetConfig
    flow: FlowConfig
    gp: GpConfig
    penalty: PenaltyConfig
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
    "gp": {"gp": GpConfig, "mlp": MlpConfig, "ridge": RidgeConfig, "spectral": SpectralConfig, "twist": TwistConfig},
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
