"""Pictures of a GP flow while it is trained, by the names under which a logger shows them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpot.config.schema import Config, ImagesConfig
from gpot.errors import ArtifactMissing
from gpot.evaluation.traversals import image_change, informative, traverse
from gpot.flows.base import FrozenFlow
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.monge import MongeMap
from gpot.gp.orthogonal import Rotation
from gpot.paper.rows import row_name
from gpot.plots.live import density_figure, mesh_figure
from gpot.plots.traversals import traversal_figure
from gpot.stages.common import gp_row
from gpot.stages.flow import flow_stage, load_flow
from gpot.stages.planar import density_grid, gaussian_path, mesh_lines
from gpot.stages.points import points_of, points_stage
from gpot.stages.stage import Bench
from gpot.stages.vae import load_vae, vae_stage
from gpot.tracking.names import FIGURE_DENSITY, FIGURE_MESH, FIGURE_TRAVERSALS

log = logging.getLogger(__name__)

Draw = Callable[[], Figure]
_POINTS, _PATHS = 3000, 150


@dataclass(frozen=True)
class Live:
    """A map in training: s after the frozen f; x (n, d), points that the flow sees."""

    config: Config
    bench: Bench
    flow: FrozenFlow
    gp: GaussianPreserving
    x: Tensor

    def now(self) -> MongeMap:
        """The map as it is: a copy, so that a particle out of the domain ends no training."""
        gp = copy.deepcopy(self.gp).eval().requires_grad_(False)
        return MongeMap(self.flow, gp.counting() if isinstance(gp, GaussianPreservingFlow) else gp)

    def transport(self, x: Tensor) -> Tensor:
        """s(f(x)) as it is: (n, d)."""
        return self.now().transport(x.to(self.flow.device))


def live_figures(config: Config, bench: Bench, gp: GaussianPreserving) -> dict[str, Draw]:
    """What is drawn of a GP flow in training, from the kinds below. A GP flow may be trained on samples of a flow whose
    data is not there: then nothing is drawn, and the log says why."""
    flow = load_flow(config, bench.read(flow_stage(config)))
    try:
        x = points_of(bench.read(points_stage(config)))[:_POINTS]
    except ArtifactMissing as missing:
        log.info("gp: no pictures in the logger. %s", missing)
        return {}
    live = Live(config, bench, flow, gp, x)
    return {name: draw for kind in KINDS for name, draw in kind(live).items()}


def planar(live: Live) -> Mapping[str, Draw]:
    """Of 2-D data: density with paths, and the image of a mesh."""
    if live.config.dataset.dim != 2:
        return {}
    flow, lines = live.flow, mesh_lines()
    # s keeps the density of f, so it is found once
    density, extent = density_grid(MongeMap(flow, Rotation(flow.dim).to(flow.device)), live.x)
    z = flow.transform(live.x[:_PATHS].to(flow.device))

    def draw_density() -> Figure:
        gp = live.now().gp
        assert isinstance(gp, GaussianPreservingFlow)  # twist needs three dimensions
        return density_figure(density, extent, gaussian_path(gp, z)[0])

    def draw_mesh() -> Figure:
        return mesh_figure(live.transport(lines.reshape(-1, 2)).cpu().reshape(lines.shape).numpy())

    return {FIGURE_DENSITY: draw_density, FIGURE_MESH: draw_mesh}


def images(live: Live) -> Mapping[str, Draw]:
    """Of images: traversals of one data point's code."""
    config, device = live.config, live.flow.device
    if not isinstance(config.dataset, ImagesConfig):
        return {}
    asked = config.report.traversal
    decoder = load_vae(config, live.bench.read(vae_stage(config))).to(device)
    kl = torch.tensor(live.bench.read(points_stage(config)).manifest["metrics"]["kl"], dtype=torch.float64)
    order = kl.argsort(descending=True)
    values = torch.linspace(-asked.extent, asked.extent, asked.n_values)

    def draw() -> Figure:
        monge = live.now()

        def decode(codes: Tensor) -> Tensor:
            return decoder.decode(monge.inverse(codes.to(device))).cpu()

        shown = traverse(live.transport(live.x[:1]), decode, values)[0, order]
        name = row_name(gp_row(config.gp, config.penalty).value, config.flow.name)
        return traversal_figure(
            {name: shown.numpy()}, {name: image_change(shown).numpy()},
            informative=informative(kl, asked.threshold)[order].numpy(), title="Traversals of a data point",
            row_labels=[f"KL {value:.2f}" for value in kl[order]], values=values.numpy(),
        )  # fmt: skip

    return {FIGURE_TRAVERSALS: draw}


# A further kind of picture is a function here, and its name an entry of gpot.tracking.names
KINDS: tuple[Callable[[Live], Mapping[str, Draw]], ...] = (planar, images)
