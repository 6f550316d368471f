"""Pictures of a GP flow while it is trained, by the names under which a logger shows them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpot.config.schema import TraversalConfig
from gpot.evaluation.planar import density_grid, gaussian_path, mesh_lines
from gpot.evaluation.traversals import image_change, informative, traverse
from gpot.flows.base import FrozenFlow
from gpot.gp.base import GaussianPreserving
from gpot.gp.monge import MongeMap
from gpot.gp.orthogonal import Rotation
from gpot.plots.live import density_figure, mesh_figure
from gpot.plots.traversals import traversal_figure
from gpot.tracking.names import FIGURE_DENSITY, FIGURE_MESH, FIGURE_TRAVERSALS

Draw = Callable[[], Figure]
_PATHS = 150


@dataclass(frozen=True)
class ImageCodes:
    """Points of a flow that are codes of images.

    Arguments:
        decode: codes (n, d) -> images (n, C, S, S).
        kl: (d,), nats of each coordinate.
        traversal: which codes are shown.
        name: of the map in training.
    """

    decode: Callable[[Tensor], Tensor]
    kl: Tensor
    traversal: TraversalConfig
    name: str


@dataclass(frozen=True)
class Live:
    """A map in training: s after the frozen f.

    Arguments:
        x: (n, d), points that the flow sees.
        codes: of what they are the codes; None for points of their own.
    """

    flow: FrozenFlow
    gp: GaussianPreserving
    x: Tensor
    codes: ImageCodes | None = None

    def now(self) -> MongeMap:
        """The map as it is: a copy, so that a particle out of the domain ends no training."""
        gp = copy.deepcopy(self.gp).eval().requires_grad_(False)
        return MongeMap(self.flow, gp.counting())

    def transport(self, x: Tensor) -> Tensor:
        """s(f(x)) as it is: (n, d)."""
        return self.now().transport(x.to(self.flow.device))


def live_figures(live: Live) -> dict[str, Draw]:
    """What is drawn of a GP flow in training, from the kinds below."""
    return {name: draw for kind in KINDS for name, draw in kind(live).items()}


def planar(live: Live) -> Mapping[str, Draw]:
    """Of 2-D data: density with paths, and the image of a mesh."""
    if live.x.shape[1] != 2:
        return {}
    flow, lines = live.flow, mesh_lines()
    # s keeps the density of f, so it is found once
    density, extent = density_grid(MongeMap(flow, Rotation(flow.dim).to(flow.device)), live.x)
    z = flow.transform(live.x[:_PATHS].to(flow.device))

    def draw_density() -> Figure:
        gp = live.now().gp.flow_in_time
        assert gp is not None  # couplings need three dimensions
        return density_figure(density, extent, gaussian_path(gp, z)[0])

    def draw_mesh() -> Figure:
        return mesh_figure(live.transport(lines.reshape(-1, 2)).cpu().reshape(lines.shape).numpy())

    return {FIGURE_DENSITY: draw_density, FIGURE_MESH: draw_mesh}


def images(live: Live) -> Mapping[str, Draw]:
    """Of codes of images: traversals of one data point's code."""
    codes = live.codes
    if codes is None:
        return {}
    asked, order = codes.traversal, codes.kl.argsort(descending=True)
    values = torch.linspace(-asked.extent, asked.extent, asked.n_values)

    def draw() -> Figure:
        monge = live.now()

        def decode(points: Tensor) -> Tensor:
            return codes.decode(monge.inverse(points.to(live.flow.device))).cpu()

        shown = traverse(live.transport(live.x[:1]), decode, values)[0, order]
        return traversal_figure(
            {codes.name: shown.numpy()}, {codes.name: image_change(shown).numpy()},
            informative=informative(codes.kl, asked.threshold)[order].numpy(), title="Traversals of a data point",
            row_labels=[f"KL {value:.2f}" for value in codes.kl[order]], values=values.numpy(),
        )  # fmt: skip

    return {FIGURE_TRAVERSALS: draw}


# A further kind of picture is a function here, and its name an entry of gpot.tracking.names
KINDS: tuple[Callable[[Live], Mapping[str, Draw]], ...] = (planar, images)
