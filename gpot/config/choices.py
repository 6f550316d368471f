"""The choices that config groups offer by name: enums, whose members a wrong choice is answered with."""

from __future__ import annotations

from enum import Enum


class Schedule(str, Enum):
    """Learning rate: constant; one cycle (linear to its peak over 15 % of the steps, then by a cosine to 0); or through
    given points, by straight lines."""

    constant = "constant"
    one_cycle = "one_cycle"
    points = "points"


class Precision(str, Enum):
    """Arithmetic of the network's matrix products in training: 32-bit, or bfloat16 with 32-bit weights."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class CodePrecision(str, Enum):
    """How the codes of images are stored: what a flow sees is what is stored, so the two are different points."""

    float32 = "float32"
    float16 = "float16"


class Solver(str, Enum):
    """How FFJORD integrates: adaptive Dormand-Prince with the adjoint method, or Runge-Kutta 4 on a fixed grid."""

    dopri5 = "dopri5"
    rk4 = "rk4"


class Divergence(str, Enum):
    """Trace of the Jacobian in FFJORD's training: exact, or Hutchinson's unbiased estimate with one probe: Gaussian
    (hutchinson), or of random signs (rademacher), which has less variance."""

    exact = "exact"
    hutchinson = "hutchinson"
    rademacher = "rademacher"


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


class Inverse(str, Enum):
    """How BNAF is inverted: one bracketed root finding per coordinate, or not at all, as in the paper."""

    bisection = "bisection"
    none = "none"


class Activation(str, Enum):
    """Softplus of CP-Flow's potential: the integral of the normal distribution function, or log(1 + e^x)."""

    gaussian_softplus = "gaussian_softplus"
    softplus = "softplus"


class ActNormPlace(str, Enum):
    """CP-Flow's scaling of its input: on both sides of the gradient, which keeps a Monge map, or before it alone, as in
    the released code, which does not."""

    around = "around"
    before = "before"


class LogDet(str, Enum):
    """CP-Flow's log-determinant in training: exact, or unbiased estimates of value and gradient from products."""

    exact = "exact"
    conjugate_gradient = "conjugate_gradient"


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


class WandbMode(str, Enum):
    """Whether W&B sends a run: `auto` where there is an API key, unless WANDB_MODE says otherwise."""

    auto = "auto"
    online = "online"
    offline = "offline"


class Strategy(str, Enum):
    """One process, or several that share each batch and average their gradients (distributed data parallel)."""

    single = "single"
    ddp = "ddp"


class Upstream(str, Enum):
    """When a stage needs an earlier one's result and the store lacks it: make it, or stop and name the command."""

    make = "make"
    require = "require"
