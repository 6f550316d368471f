r"""Problems with a known optimum for the families of Gaussian-preserving maps, and the scores of a map on one.

x = grad u0(z0), z = h(z0) (:mod:`gpot.maths.known_truth`), where h is built of another family than the one that is
tested, or the answer would be in its reach by construction:

field: z -> R' B(R z), two random rotations and in between, in blocks of at most 8 coordinates, the flow of the paper's
field with a wide tanh network of two layers, integrated in fine steps. For the families ridge and twist.

twist: z -> R' T(z), a chain of twist couplings: exact, cheap in any dimension, and hard for ridge fields. d >= 3.

Both are scaled so that what lies between the rotations displaces a coordinate by `strength` in the mean square.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.evaluation.estimate import Estimate
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.twist import TwistFlow
from gpot.gp.velocity import MLPVelocity
from gpot.maths.charts import Chart
from gpot.maths.convex_network import ConvexNetwork
from gpot.maths.known_truth import POTENTIALS, excess_cost, unexplained_variance

Transport = Callable[[Tensor], Tensor]

_BLOCK = 8  # coordinates of one field at most: its cost grows with their square
_HIDDEN = (32, 32)
_STEPS = 16  # of Runge-Kutta: the law is kept to far less than the tolerance of a training
_LAYERS, _WIDTH = 6, 32
_CALIBRATION = 512  # draws
_SECANTS = 8
_CHUNK = 512


@dataclass(frozen=True)
class Triples:
    """Pairs x, z (n, d) of a flow, and the optimal image z0 of each."""

    x: Tensor
    z: Tensor
    z0: Tensor


@dataclass(frozen=True)
class Scores:
    """Of a map on draws that it has not seen: L2-UVP in percent; cost above the optimum, absolute and in percent of the
    optimal cost; that cost."""

    uvp: Estimate
    excess: Estimate
    excess_percent: float
    optimal_cost: float


@dataclass(frozen=True)
class KnownTruth:
    """u0 and h of one problem. scrambled: h, (n, d) to (n, d). blocks: the maps of which h is made, for measurements of
    how well it keeps the Gaussian."""

    dim: int
    potential: ConvexNetwork
    scrambled: Transport
    parts: tuple[GaussianPreserving, ...]

    def draw(self, n: int, seed: int, dtype: torch.dtype = torch.float32) -> Triples:
        """n independent draws; x and z are computed from the z0 that is returned."""
        generator = torch.Generator().manual_seed(seed)
        z0 = torch.randn(n, self.dim, generator=generator, dtype=torch.float64).to(dtype)
        potential = self.potential.map(lambda tensor: tensor.to(dtype))
        with torch.no_grad():
            chunks = z0.split(_CHUNK)
            x, z = (torch.cat([of(rows) for rows in chunks]) for of in (potential.gradient, self.scrambled))
        return Triples(x, z, z0)

    @torch.no_grad()
    def scores(self, transport: Transport, triples: Triples) -> Scores:
        """Of s, given as the function z -> s(z)."""
        s = torch.cat([transport(rows) for rows in triples.z.split(_CHUNK)]).double()
        z0, x = triples.z0.double(), triples.x.double()
        optimal = ((x - z0) ** 2).sum(1).mean().item()
        excess = Estimate.of(excess_cost(self.potential, s, z0))
        return Scores(Estimate.of(unexplained_variance(s, z0)), excess, 100.0 * excess.mean / optimal, optimal)


def known_truth(
    dim: int, potential: str = "ridges", scramble: str = "field", strength: float = 0.5, seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> KnownTruth:  # fmt: skip
    """The problem of a seed. potential: "ridges" or "network". scramble: "field" or "twist", computed in `dtype`.
    strength: mean square displacement of a coordinate, below 2, which two independent Gaussians have."""
    if potential not in POTENTIALS or scramble not in SCRAMBLES or not 0.0 < strength < 1.5:
        raise BadConfig(
            f"a known truth has a potential of {sorted(POTENTIALS)}, a scramble of {sorted(SCRAMBLES)} and a strength "
            f"between 0 and 1.5, and got {potential!r}, {scramble!r}, {strength}"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        u0 = POTENTIALS[potential](dim, generator)
        before, after = (_rotation(dim, generator) for _ in range(2))
        parts = SCRAMBLES[scramble](dim, strength)
    parts = tuple(part.to(dtype).requires_grad_(False) for part in parts)

    def scrambled(z: Tensor) -> Tensor:
        return _blockwise(parts, z @ before.to(z).T) @ after.to(z).T

    return KnownTruth(dim, u0, scrambled, parts)


def _fields(dim: int, strength: float) -> tuple[GaussianPreserving, ...]:
    """Flows of tanh fields for blocks of coordinates, none of a single one."""
    n_blocks = -(-dim // _BLOCK)
    sizes = [dim // n_blocks + (1 if k < dim % n_blocks else 0) for k in range(n_blocks)]
    return tuple(_field(size, strength) for size in sizes)


def _field(dim: int, strength: float) -> GaussianPreserving:
    velocity = MLPVelocity(dim, _HIDDEN, n_blocks=min(dim - 1, 3))
    *hidden, last = (cast(nn.Linear, layer) for layer in velocity.denses)
    with torch.no_grad():
        for layer in hidden:
            layer.weight.normal_(std=1.5 / layer.in_features**0.5)
            layer.bias.normal_(std=0.7)
        last.weight.normal_()
    return _scaled(GaussianPreservingFlow(velocity, Chart.direct, _STEPS), [last.weight], strength)


def _twists(dim: int, strength: float) -> tuple[GaussianPreserving, ...]:
    flow = TwistFlow(dim, _LAYERS, _WIDTH)
    halves = [half for half in (flow.first, flow.second) if half is not None]
    with torch.no_grad():
        for half in halves:
            half.weight_in.normal_(std=1.5 / half.weight_in.shape[2] ** 0.5)
            half.bias_in.normal_(std=0.7)
            half.weight_out.normal_(std=_WIDTH**-0.5)
    return (_scaled(flow, [half.weight_out for half in halves], strength),)


SCRAMBLES = {"field": _fields, "twist": _twists}


@torch.no_grad()
def _scaled(gp: GaussianPreserving, outputs: list[Tensor], strength: float) -> GaussianPreserving:
    """The map with its output weights multiplied by the factor of which the mean square displacement is `strength`."""
    z = torch.randn(_CALIBRATION, gp.dim)
    full = [weight.clone() for weight in outputs]

    def displacement(factor: float) -> float:
        for weight, start in zip(outputs, full, strict=True):
            weight.copy_(factor * start)
        return ((gp.transport(z) - z) ** 2).mean().item()

    factor = 0.1
    for _ in range(_SECANTS):  # the displacement is about quadratic in the factor
        factor *= max(0.3, min(3.0, (strength / max(displacement(factor), 1e-12)) ** 0.5))
    displacement(factor)
    return gp


def _blockwise(parts: tuple[GaussianPreserving, ...], z: Tensor) -> Tensor:
    pieces = z.split([part.dim for part in parts], dim=1)
    return torch.cat([part.transport(piece) for part, piece in zip(parts, pieces, strict=True)], dim=1)


def _rotation(dim: int, generator: torch.Generator) -> Tensor:
    q, r = torch.linalg.qr(torch.randn(dim, dim, generator=generator).double())
    q = q * r.diagonal().sign()
    if torch.linalg.det(q) < 0:
        q[:, 0].neg_()
    return q
