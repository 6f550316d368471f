"""Groups `gp` and `penalty`: the Gaussian-preserving flow, its family, and what holds it to Euler's equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional

from omegaconf import II

from gpot.config.choices import PenaltyKind, PenaltyTime, Rotation, Source
from gpot.gp.optimizer import Descent
from gpot.maths.charts import Chart
from gpot.maths.integrate import Method
from gpot.paper.rows import Row


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
class DeepRidgeConfig(FamilyConfig):
    """Two layers of neurons, in the chart `direct`."""

    kind = "deep_ridge"
    width: int
    below: int  # neurons of the lower layer


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
    descent: Descent = Descent.adam
    lr_factor: float = 1.0  # the learning rate, in units of optimizer.gp.lr, which is that of the scale
    control_variate: bool = False  # of |x - s|^2, where source=prior: the same mean and less noise
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
