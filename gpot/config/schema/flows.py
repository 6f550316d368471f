"""Group `flow`: the normalizing flow that is frozen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from omegaconf import II

from gpot.config.choices import Activation, ActNormPlace, Divergence, Inverse, LogDet, Solver


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
