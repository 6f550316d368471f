"""Pictures of a GP flow while it is trained, by the names under which a logger shows them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpot.config.schema import Config, ImagesConfig
from gpot.errors import ArtifactMissing
from gpot.evaluation.traversals import image_change, informative, traverse
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.paper.rows import row_name
from gpot.plots.live import density_figure, mesh_figure
from gpot.plots.traversals import traversal_figure
from gpot.stages.chain import Chain, gp_row
from gpot.stages.common import log
from gpot.stages.flow import flow_stage, load_flow
from gpot.stages.planar import density_grid, gaussian_path, mesh_lines
from gpot.stages.points import points_of, points_stage
from gpot.stages.vae import load_vae, vae_stage
from gpot.store import Store
from gpot.tracking.names import FIGURE_DENSITY, FIGURE_MESH, FIGURE_TRAVERSALS

Draw = Callable[[], Figure]
_POINTS, _PATHS = 3000, 150


@dataclass(frozen=True)
class Live:
    """A map in training: s after the frozen f; x (n, d), points that the flow sees."""

    config: Config
    store: Store
    chain: Chain
    x: Tensor

    def now(self) -> Chain:
        """The maps as they are: a copy, so that a particle out of the domain ends no training."""
        gp = copy.deepcopy(self.chain.gp)
        assert gp is not None
        if isinstance(gp, GaussianPreservingFlow):
            gp.on_escape = "count"
        return Chain(self.chain.flow, gp.eval().requires_grad_(False))

    def moved(self, x: Tensor) -> Tensor:
        """s(f(x)) as it is: (n, d)."""
        chain = self.now()
        assert chain.flow is not None and chain.gp is not None
        return chain.gp.transport(chain.flow.transform(x.to(next(chain.flow.parameters()).device)))


def live_figures(config: Config, store: Store, gp: GaussianPreserving) -> dict[str, Draw]:
    """What is drawn of a GP flow in training, from the kinds below. A GP flow may be trained on samples of a flow whose
    data is not there: then nothing is drawn, and the log says why."""
    flow = load_flow(config, flow_stage(config, store, "gp"))
    try:
        x = points_of(points_stage(config, store, "gp"))[:_POINTS]
    except ArtifactMissing as missing:
        log.info("gp: no pictures in the logger. %s", missing)
        return {}
    live = Live(config, store, Chain(flow, gp), x)
    return {name: draw for kind in KINDS for name, draw in kind(live).items()}


def planar(live: Live) -> Mapping[str, Draw]:
    """Of 2-D data: density with paths, and the image of a mesh."""
    if live.config.dataset.dim != 2:
        return {}
    chain, lines = live.chain, mesh_lines()
    assert chain.flow is not None
    # s keeps the density of f, so it is found once
    density, extent = density_grid(Chain(chain.flow, None), live.x)
    z = chain.flow.transform(live.x[:_PATHS].to(next(chain.flow.parameters()).device))

    def draw_density() -> Figure:
        gp = live.now().gp
        assert isinstance(gp, GaussianPreservingFlow)  # twist needs three dimensions
        return density_figure(density, extent, gaussian_path(gp, z)[0])

    def draw_mesh() -> Figure:
        return mesh_figure(live.moved(lines.reshape(-1, 2)).cpu().reshape(lines.shape).numpy())

    return {FIGURE_DENSITY: draw_density, FIGURE_MESH: draw_mesh}


def images(live: Live) -> Mapping[str, Draw]:
    """Of images: traversals of one data point's code."""
    config, store = live.config, live.store
    if not isinstance(config.dataset, ImagesConfig):
        return {}
    wanted = config.report.traversal
    decoder = load_vae(config, vae_stage(config, store, "gp")).to(next(live.chain.flow.parameters()).device)  # type: ignore[union-attr]
    kl = torch.tensor(points_stage(config, store, "gp").manifest["metrics"]["kl"], dtype=torch.float64)
    order = kl.argsort(descending=True)
    values = torch.linspace(-wanted.extent, wanted.extent, wanted.n_values)

    def draw() -> Figure:
        chain = live.now()
        device = next(decoder.parameters()).device

        def decode(codes: Tensor) -> Tensor:
            return decoder.decode(chain.inverse(codes.to(device))).cpu()

        shown = traverse(live.moved(live.x[:1]), decode, values)[0, order]
        name = row_name(gp_row(config).value, config.flow.name)
        return traversal_figure(
            {name: shown.numpy()}, {name: image_change(shown).numpy()},
            informative=informative(kl, wanted.threshold)[order].numpy(), title="Traversals of a data point",
            row_labels=[f"KL {value:.2f}" for value in kl[order]], values=values.numpy(),
        )  # fmt: skip

    return {FIGURE_TRAVERSALS: draw}


# A further kind of picture is a function here, and its name an entry of gpot.tracking.names
KINDS: tuple[Callable[[Live], Mapping[str, Draw]], ...] = (planar, images)
