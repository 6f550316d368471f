"""Groups that say how and where a run goes: `optimizer device logger models paths budget`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Optional

import torch

from gpot.config.choices import LoggerKind, Schedule, Strategy, WandbMode


@dataclass
class OptimizerConfig:
    """Adam, or what a GP flow descends by. gradient_clip: largest 2-norm of the gradient, null: no clipping. points:
    step: factor of lr, of schedule=points, in rising order."""

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
    mlp_steps: int  # n_steps of `gp=mlp`: the paper's 15, or fewer, from which the fidelity guard refines
