"""One dataclass per config group: a misspelt key, a wrong type or a wrong choice fails before anything is built.

The YAML files extend these (`defaults: [base_x, _self_]`), so a field without a default must be given by the group's
file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Optional

from hydra.core.config_store import ConfigStore

from gpot.evaluation.dci import Regressor
from gpot.maths.charts import Chart
from gpot.maths.integrate import Method
from third_party.btcvae import Estimator

# OmegaConf reads the annotations at run time, on Python 3.10 too: Optional[...] stays.


class Schedule(str, Enum):
    """Learning rate: constant, or one cycle (linear to its peak over 15 % of the steps, then by a cosine to 0)."""

    constant = "constant"
    one_cycle = "one_cycle"


class Precision(str, Enum):
    """Arithmetic of the network's matrix products in training: 32-bit, or bfloat16 with 32-bit weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Solver(str, Enum):
    """How FFJORD integrates: adaptive Dormand-Prince with the adjoint method, or Runge-Kutta 4 on a fixed grid."""

    dopri5 = "dopri5"
    rk4 = "rk4"


class Divergence(str, Enum):
    """Trace of the Jacobian in FFJORD's training: exact, or Hutchinson's unbiased estimate with one Gaussian probe."""

    exact = "exact"
    hutchinson = "hutchinson"


class Rotation(str, Enum):
    """The orthogonal map before the GP flow, the best one in closed form.

    `procrustes`: among rotations (det Q = 1): a flow that keeps orientation, as FFJORD does, reaches the Monge map by
    no other (Lemma 1). `reflection`: among all orthogonal maps, for flows that reverse it (appendix B.1.2).
    """

    none = "none"
    procrustes = "procrustes"
    reflection = "reflection"


class Source(str, Enum):
    """What the GP flow trains on: prior samples pulled back by the flow's inverse, or the data (section 5)."""

    prior = "prior"
    data = "data"


class VelocityName(str, Enum):
    mlp = "mlp"
    ridge = "ridge"


class PenaltyKind(str, Enum):
    none = "none"
    euler = "euler"
    kinetic = "kinetic"


class PenaltyTime(str, Enum):
    """Sum over time steps (the released code, and what the paper's lambda mean), or the integral (the sum times dt)."""

    sum = "sum"
    integral = "integral"


class LoggerKind(str, Enum):
    none = "none"
    csv = "csv"
    tensorboard = "tensorboard"
    wandb = "wandb"


class Upstream(str, Enum):
    """When a stage needs an earlier one's result and the store lacks it: make it, or stop and name the command."""

    make = "make"
    require = "require"


class Item(str, Enum):
    """What the report stage reproduces."""

    table1 = "table1"


@dataclass
class DatasetConfig:
    name: str
    scale: str  # which column of the budget holds this dataset's epochs and sample counts
    dim: int  # of the points that the flow sees
    image_size: int
    channels: int
    n_images: Optional[int]  # a random subset of the images; null: all of them
    path: Optional[str] = None  # the official file; null: gpot draws the images


@dataclass
class VaeConfig:
    name: str
    weights: Optional[str]  # a safetensors file with the released names: frozen instead of trained
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


@dataclass
class FlowConfig:
    name: str
    weights: Optional[str]
    hidden: list[int]
    n_blocks: int
    solver: Solver  # of the frozen flow
    tolerance: float  # absolute and relative, of dopri5
    solver_steps: int  # per block, of rk4
    training_solver: Solver
    training_steps: int  # per block, of rk4 in training
    divergence: Divergence
    epochs: int
    batch_size: int


@dataclass
class MlpConfig:
    hidden: list[int]
    n_blocks: Optional[int]  # null: dim - 1, which gives every divergence-free field


@dataclass
class RidgeConfig:
    width: int


@dataclass
class GpConfig:
    name: str
    velocity: VelocityName
    mlp: MlpConfig
    ridge: RidgeConfig
    chart: Chart
    rotation: Rotation
    method: Method
    n_steps: int
    max_steps: int  # the fidelity guard refines the time grid up to this many
    logdet_tolerance: float  # nats, mean of the absolute log-determinant error on held-out points
    source: Source
    n_train: int
    n_validation: int
    epochs: int
    epochs_penalized: int  # Table 4 gives runs with Euler's penalty another number of epochs
    batch_size: int


@dataclass
class PenaltyConfig:
    name: str
    kind: PenaltyKind
    weight: float  # lambda at the first epoch
    halvings: int  # lambda is halved this many times, at equal intervals
    probes: int
    particles: Optional[int]  # of each batch, on which the penalty is estimated; null: all of them
    exact: bool  # exact total derivative instead of (12)
    time: PenaltyTime

    @property
    def acting(self) -> PenaltyKind:
        """The kind, or `none` where a weight of 0 makes it so: a sweep over the weight may start at 0."""
        return self.kind if self.weight > 0 else PenaltyKind.none


@dataclass
class OptimizerConfig:
    """Adam. gradient_clip: largest 2-norm of the gradient, null: no clipping."""

    lr: float
    schedule: Schedule
    weight_decay: float
    gradient_clip: Optional[float]


@dataclass
class OptimizersConfig:
    name: str
    vae: OptimizerConfig
    flow: OptimizerConfig
    gp: OptimizerConfig


@dataclass
class DeviceConfig:
    name: str
    accelerator: str
    devices: Any  # a number of devices, or a list of indices


@dataclass
class LoggerConfig:
    name: str
    kind: LoggerKind
    project: str = "gpot"
    mode: str = "offline"


@dataclass
class PathsConfig:
    artifacts: str
    report: str
    logs: str


@dataclass
class VaeScale:
    epochs: int
    batch_size: int
    annealing_steps: int
    pressure_start: float
    pressure_steps: int
    precision: Precision


@dataclass
class FlowScale:
    epochs: int
    batch_size: int


@dataclass
class GpScale:
    n_train: int
    n_validation: int
    epochs: int
    epochs_penalized: int
    batch_size: int
    penalty_particles: Optional[int]


@dataclass
class EvaluateScale:
    n_prior: int
    n_data: int
    n_exact: int
    n_dci_train: int
    n_dci_test: int
    certificate_batch: int
    certificate_batches: int


@dataclass
class ScaleConfig:
    n_images: Optional[int]
    vae: VaeScale
    flow: FlowScale
    gp: GpScale
    evaluate: EvaluateScale


@dataclass
class BudgetConfig:
    name: str
    scales: dict[str, ScaleConfig]


@dataclass
class EvaluateConfig:
    n_prior: int  # prior samples behind the cost, the energy and the round trip
    n_data: int  # held-out data points behind the cost on data and the likelihood
    n_exact: int  # points at which log|det| is found by automatic differentiation
    certificate_batch: int
    certificate_batches: int
    n_dci_train: int
    n_dci_test: int
    regressor: Regressor
    alpha: float  # of the Lasso


@dataclass
class ReportConfig:
    item: Item
    variants: dict[str, PenaltyConfig] = field(default_factory=dict)  # GP rows: name -> penalty


@dataclass
class Config:
    seed: int
    upstream: Upstream
    pretrained: Optional[str]
    dataset: DatasetConfig
    vae: VaeConfig
    flow: FlowConfig
    gp: GpConfig
    penalty: PenaltyConfig
    optimizer: OptimizersConfig
    device: DeviceConfig
    logger: LoggerConfig
    budget: BudgetConfig
    evaluate: EvaluateConfig
    report: ReportConfig
    paths: PathsConfig


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
}


def register() -> None:
    """Make the schema known to Hydra: `base_config` for the roots, `<group>/base_<group>` for the groups."""
    store = ConfigStore.instance()
    store.store(name="base_config", node=Config)
    for group, node in GROUPS.items():
        store.store(group=group, name=f"base_{group}", node=node)
