r"""Fitting a convex potential u whose gradient takes z = T(x) back to x: what the bound of a gap is made with.

u is fitted on the Gaussian side, where grad u(z) ~ x stays smooth when axes of the data collapse, in coordinates in
which Gelbrich's optimal linear map z -> m + A (z - m') is the identity: with S = A^(1/2),

.. math:: u(z) = \tilde u(S z) + \langle c, z \rangle, \qquad y = S z, \quad t = S^{-1} (x - c), \quad
          \langle t, y \rangle = \langle x - c, z \rangle,

so that the pairs (t, y) have the Fenchel-Young gap under u~ that (x, z) have under u. A residual of grad u~ then counts
as it does in the gap, near the optimum |t - grad u~(y)|^2 / 2: a collapsed axis, no more than it costs.

u~ is a quadratic plus groups of soft maxima (:mod:`gpot.maths.soft_maxima`): on the laws of latent codes, which are of
clusters, they came closer, and sooner, than an input-convex network of three layers.

Two phases, both by Adam with one cycle of the learning rate: the regression of grad u~(y) on t, which needs no argmax;
then twice the mean gap itself, with the argmax of each point kept from visit to visit by one Newton step
(:func:`gpot.maths.fenchel.newton_step`), from y at its first.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.errors import BadInput, TrainingDiverged
from gpot.maths.fenchel import envelope_gap, newton_step
from gpot.maths.soft_maxima import SoftMaxima, soft_maxima
from gpot.progress import track

# Eigenvalues of covariances below this share of the largest count as it: any S is allowed, a singular one is not
_LEAST_VARIANCE = 1e-10
_WARM_UP = 0.15  # of the steps
_BETAS = (0.9, 0.99)
_PARTS = ("root", "linear", "weight", "bias", "output")


@dataclass(frozen=True)
class PotentialFit:
    """How a potential is fitted. groups, pieces: of its soft maxima. quadratic, modulus: of its start and of its strong
    convexity, where Gelbrich's map has 1. longest: of a Newton step, in standard deviations. lr: of the gap,
    lr_regression: before."""

    groups: int = 16
    pieces: int = 64
    regression_steps: int = 500
    steps: int = 3000
    batch_size: int = 512
    lr_regression: float = 1e-1
    lr: float = 2e-2
    quadratic: float = 0.3
    modulus: float = 0.02
    longest: float = 1.0

    def __post_init__(self) -> None:
        if min(self.regression_steps, self.steps) < 0 or min(self.batch_size, self.groups, self.pieces) < 1:
            raise BadInput(
                f"a fit has at least one group of one piece, batches of at least 1 and no negative steps; found {self}"
            )


@dataclass(frozen=True)
class Potential:
    """u(z) = base(S z) + <shift, z>. base: u~. root: S (d, d), symmetric."""

    base: SoftMaxima
    root: Tensor
    shift: Tensor

    def coordinates(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """(t, y) of pairs (x, z), in float64: their gap under u~ is that of (x, z) under u."""
        x, z = x.detach().double(), z.detach().double()
        return torch.linalg.solve(self.root, (x - self.shift).T).T, z @ self.root

    def state(self) -> dict[str, Tensor]:
        """All of it by name, as a file of tensors holds it."""
        modulus = torch.tensor(self.base.modulus, dtype=torch.float64)
        base = {f"base.{name}": getattr(self.base, name).contiguous() for name in _PARTS}
        return {"root": self.root.contiguous(), "shift": self.shift, "base.modulus": modulus} | base

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Potential:
        """The potential of `state`."""
        parts = {name: state[f"base.{name}"] for name in _PARTS}
        return cls(SoftMaxima(**parts, modulus=state["base.modulus"].item()), state["root"], state["shift"])


def gelbrich_potential(x: Tensor, z: Tensor) -> Potential:
    r"""The quadratic potential of the optimal linear map from z to x (gelbrich1990), from means and covariances.

    .. math:: A = Z^{-1/2} (Z^{1/2} X Z^{1/2})^{1/2} Z^{-1/2}, \qquad c = m_x - A m_z
    """
    x, z = x.detach().double(), z.detach().double()
    half, inverse_half = _powers(z.T.cov())
    middle = _powers(half @ x.T.cov() @ half)[0]
    root, _ = _powers(inverse_half @ middle @ inverse_half)
    shift = x.mean(0) - root @ (root @ z.mean(0))
    d = len(root)
    quadratic = SoftMaxima.quadratic(torch.zeros(d, d).double(), torch.zeros(d).double(), 1.0)
    return Potential(quadratic, root, shift)


def fit_potential(x: Tensor, z: Tensor, fit: PotentialFit, seed: int) -> Potential:
    """The fitted potential of training pairs x, z (n, d), z the image of x; in float32 on the CPU, kept in float64.

    Raises: TrainingDiverged where a loss is not finite.
    """
    start = gelbrich_potential(x, z)
    t, y = (part.float() for part in start.coordinates(x, z))
    draw = torch.Generator().manual_seed(seed)
    fresh = soft_maxima(x.shape[1], fit.groups, fit.pieces, fit.modulus, draw, quadratic=fit.quadratic)
    base = fresh.map(lambda tensor: tensor.requires_grad_(True))
    argmax = y.clone()

    def regression(rows: Tensor) -> Tensor:
        return ((base.gradient(y[rows]) - t[rows]) ** 2).sum(1).mean()

    def gap(rows: Tensor) -> Tensor:
        argmax[rows] = newton_step(base, t[rows], argmax[rows], fit.longest)
        return 2.0 * envelope_gap(base, t[rows], y[rows], argmax[rows]).mean()

    _descend(regression, base, fit.regression_steps, fit.lr_regression, fit.batch_size, len(y), draw, "regression")
    _descend(gap, base, fit.steps, fit.lr, fit.batch_size, len(y), draw, "gap")
    return Potential(base.map(lambda tensor: tensor.detach().double()), start.root, start.shift)


def _descend(
    loss_of: Callable[[Tensor], Tensor], base: SoftMaxima, steps: int, lr: float, batch_size: int, n: int,
    draw: torch.Generator, what: str,
) -> None:  # fmt: skip
    """Adam on the parameters of `base`, over batches of rows without replacement."""
    if steps == 0:
        return
    parameters = base.tensors()
    optimizer = torch.optim.Adam(parameters, lr=lr, betas=_BETAS)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=max(steps, 2), pct_start=_WARM_UP)
    order: list[Tensor] = []
    for step in track(range(steps), steps, f"fitting a convex potential ({what})"):
        if not order:
            full = max(n // batch_size, 1) * min(batch_size, n)  # the rest waits for another order
            order = list(torch.randperm(n, generator=draw)[:full].split(batch_size))
        loss = loss_of(order.pop())
        if not math.isfinite(loss.item()):
            raise TrainingDiverged(
                f"the {what} of a convex potential is {loss.item()} at step {step} of {steps}; set a smaller learning "
                f"rate than {lr:g}"
            )
        gradients = torch.autograd.grad(loss, parameters)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        schedule.step()


def _powers(cov: Tensor) -> tuple[Tensor, Tensor]:
    """Roots of a covariance and of its inverse."""
    values, vectors = torch.linalg.eigh(cov)
    values = values.clamp(min=_LEAST_VARIANCE * values.max().item())
    return (vectors * values.sqrt()) @ vectors.T, (vectors / values.sqrt()) @ vectors.T
