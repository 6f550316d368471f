r"""Fitting a convex potential u whose gradient takes z = T(x) back to x: what the bound of a gap is made with.

u is fitted on the Gaussian side, where grad u(z) ~ x stays smooth when axes of the data collapse, in coordinates in
which Gelbrich's optimal linear map z -> m + A (z - m') is the identity: with S = A^(1/2),

.. math:: u(z) = \tilde u(S z) + \langle c, z \rangle, \qquad y = S z, \quad t = S^{-1} (x - c), \quad
          \langle t, y \rangle = \langle x - c, z \rangle,

so that the pairs (t, y) have the Fenchel-Young gap under u~ that (x, z) have under u. A residual of grad u~ then counts
as it does in the gap, near the optimum |t - grad u~(y)|^2 / 2: a collapsed axis, no more than it costs.

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
from gpot.maths.convex_network import ConvexLayer, ConvexNetwork, convex_network
from gpot.maths.fenchel import envelope_gap, newton_step
from gpot.progress import track

# Eigenvalues of covariances below this share of the largest count as it: any S is allowed, a singular one is not
_LEAST_VARIANCE = 1e-10
_WARM_UP = 0.15  # of the steps
_BETAS = (0.9, 0.99)


@dataclass(frozen=True)
class PotentialFit:
    """How a potential is fitted. quadratic, modulus: of the network's start and of its strong convexity, where
    Gelbrich's map has 1. longest: of a Newton step, in standard deviations. lr: of the gap, lr_regression: before."""

    widths: tuple[int, ...] = (64, 64, 64)
    regression_steps: int = 500
    steps: int = 2000
    batch_size: int = 1024
    lr_regression: float = 2e-2
    lr: float = 1e-2
    quadratic: float = 0.3
    modulus: float = 0.02
    longest: float = 1.0

    def __post_init__(self) -> None:
        if min(self.regression_steps, self.steps) < 0 or self.batch_size < 1 or not self.widths:
            raise BadInput(f"a fit has at least one layer, batches of at least 1 and no negative steps; found {self}")


@dataclass(frozen=True)
class Potential:
    """u(z) = network(S z) + <shift, z>. root: S (d, d), symmetric."""

    network: ConvexNetwork
    root: Tensor
    shift: Tensor

    def coordinates(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """(t, y) of pairs (x, z), in float64: their gap under the network is that of (x, z) under u."""
        x, z = x.detach().double(), z.detach().double()
        return torch.linalg.solve(self.root, (x - self.shift).T).T, z @ self.root

    def state(self) -> dict[str, Tensor]:
        """All of it by name, as a file of tensors holds it."""
        network = self.network
        modulus = torch.tensor(network.modulus, dtype=torch.float64)
        state = {"root": self.root, "shift": self.shift, "modulus": modulus}
        state |= {"network.root": network.root, "network.linear": network.linear}
        for index, layer in enumerate(network.layers):
            parts = {"weight": layer.weight, "bias": layer.bias, "mixing": layer.mixing, "output": layer.output}
            state |= {f"network.{index}.{name}": part for name, part in parts.items() if part is not None}
        return {name: part.contiguous() for name, part in state.items()}

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> Potential:
        """The potential of `state`."""
        layers: list[ConvexLayer] = []
        while f"network.{len(layers)}.weight" in state:
            start = f"network.{len(layers)}."
            parts = state[f"{start}weight"], state[f"{start}bias"], state.get(f"{start}mixing"), state[f"{start}output"]
            layers.append(ConvexLayer(*parts))
        modulus = state["modulus"].item()
        network = ConvexNetwork(state["network.root"], state["network.linear"], modulus, tuple(layers))
        return cls(network, state["root"], state["shift"])


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
    quadratic = ConvexNetwork(torch.zeros(d, d).double(), torch.zeros(d).double(), 1.0)
    return Potential(quadratic, root, shift)


def fit_potential(x: Tensor, z: Tensor, fit: PotentialFit, seed: int) -> Potential:
    """The fitted potential of training pairs x, z (n, d), z the image of x; in float32 on the CPU, kept in float64.

    Raises: TrainingDiverged where a loss is not finite.
    """
    start = gelbrich_potential(x, z)
    t, y = (part.float() for part in start.coordinates(x, z))
    draw = torch.Generator().manual_seed(seed)
    fresh = convex_network(x.shape[1], fit.widths, fit.modulus, draw, quadratic=fit.quadratic)
    network = fresh.map(lambda tensor: tensor.requires_grad_(True))
    argmax = y.clone()

    def regression(rows: Tensor) -> Tensor:
        return ((network.gradient(y[rows]) - t[rows]) ** 2).sum(1).mean()

    def gap(rows: Tensor) -> Tensor:
        argmax[rows] = newton_step(network, t[rows], argmax[rows], fit.longest)
        return 2.0 * envelope_gap(network, t[rows], y[rows], argmax[rows]).mean()

    _descend(regression, network, fit.regression_steps, fit.lr_regression, fit.batch_size, len(y), draw, "regression")
    _descend(gap, network, fit.steps, fit.lr, fit.batch_size, len(y), draw, "gap")
    return Potential(network.map(lambda tensor: tensor.detach().double()), start.root, start.shift)


def _descend(
    loss_of: Callable[[Tensor], Tensor], network: ConvexNetwork, steps: int, lr: float, batch_size: int, n: int,
    draw: torch.Generator, what: str,
) -> None:  # fmt: skip
    """Adam on the network's parameters, over batches of rows without replacement."""
    if steps == 0:
        return
    parameters = network.tensors()
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
