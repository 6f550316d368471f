"""Figures 1 to 4 from artefacts: the arrays that each shows, drawn by `gpot.report`.

Each function takes what a figure is drawn from, and returns the paths that it wrote.
"""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from gpot.config.schema import Config
from gpot.evaluation.planar import density_grid, gaussian_path, mesh_lines
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.monge import MongeMap
from gpot.items.rows import RowResult
from gpot.maths.charts import Chart, cube_density, from_cube, to_cube
from gpot.paper.printed import paper_numbers
from gpot.paper.rows import row_name
from gpot.plots.animate import animate_particles
from gpot.plots.importance import save_figure
from gpot.plots.plots2d import (
    Figure2Column,
    Figure3Column,
    Figure4Column,
    figure1,
    figure2,
    figure3,
    figure4,
    optimum_figure,
)
from gpot.plots.style import polar_colours
from gpot.stages.held_out import held_out
from gpot.stages.maps import codes_of, map_of
from gpot.stages.pipeline import Pipeline
from gpot.stages.points import points_of
from gpot.stages.stage import Workshop

Results = Sequence[RowResult]
Optimum = Mapping[str, Sequence[Mapping[str, float]]]

_PARTICLES = 3000
_SNAPSHOTS = 5
_ANIMATED_STEPS = 60
_ARROWS, _PATHS = 21, 150
_WELL_INSIDE = 2.5  # a radius that few Gaussian particles pass: colours saturate there


@dataclass(frozen=True)
class DrawnItem:
    """An item of the paper whose rows are measured.

    Arguments:
        config: of the item.
        workshop: where its models are.
        results: of its rows.
        optimum: the exact discrete optimum by law and size, where the item has one.
        folder: where figures go.
    """

    config: Config
    workshop: Workshop
    results: Results
    optimum: Optimum | None
    folder: Path

    def map_of(self, result: RowResult) -> MongeMap:
        """The map of a row, which its evaluation has made: of the first of its seeds."""
        row = result.row
        parts = row.pipelines[0].row(row.row)
        return map_of(row.config, {stage.name: self.workshop.make(stage) for stage in parts.stages})

    def data(self, config: Config | None = None) -> Tensor:
        """Held-out points, of the item or of the config of a row: as many as a scatter plot can show."""
        config = config or self.config
        points = points_of(self.workshop.make(Pipeline(config).points))
        return held_out(config.gp, config.evaluate, points)[:_PARTICLES]


def particles(drawn: DrawnItem) -> list[Path]:
    """Figure 1: snapshots of Gaussian particles under the GP flow, and the same as an animation."""
    gp = drawn.map_of(_of(drawn.results, "flow+gp")).gp.flow_in_time
    assert gp is not None
    fine = copy.deepcopy(gp)  # the same velocity on a finer grid: a smoother animation
    fine.refine(_ANIMATED_STEPS)
    z = torch.randn(_PARTICLES, 2, generator=torch.Generator().manual_seed(drawn.config.seed))
    frames, times = gaussian_path(fine, z)
    lines = mesh_lines()
    mesh = gaussian_path(fine, lines.reshape(-1, 2))[0].reshape(len(frames), *lines.shape)
    colours = polar_colours(z.numpy(), radius=_WELL_INSIDE)
    snapshots = np.linspace(0, _ANIMATED_STEPS, _SNAPSHOTS).round().astype(int)
    paths = save_figure(figure1(frames[snapshots], times[snapshots], colours, mesh[snapshots]), drawn.folder / "fig1")
    return paths + animate_particles(frames, colours, drawn.folder / "fig1.gif", mesh=mesh)


def colours(drawn: DrawnItem) -> list[Path]:
    """Figure 2: the data, and where the flow and the GP flow after it put each point."""
    x = drawn.data()
    colour = polar_colours(x.numpy())
    columns = [Figure2Column("Data", x.numpy(), colour)]
    for key in ("flow", "flow+gp"):
        result = _of(drawn.results, key)
        codes = codes_of(drawn.map_of(result), x, f"figure: {key}")
        columns.append(Figure2Column(_name(result), codes.numpy(), colour, _metrics(result)["cost"]))
    return save_figure(figure2(columns), drawn.folder / "fig2")


def meshes(drawn: DrawnItem) -> list[Path]:
    """Figure 3: density, deformed mesh and coloured source of CP-Flow, BNAF and BNAF+GP; a second one of every other GP
    flow of the table; and their costs beside the exact optimum."""
    x = drawn.data()
    colour = polar_colours(x.numpy())
    lines = mesh_lines()
    columns = {}
    for result in drawn.results:
        key = result.row.key
        if key == "flow+rotation":
            continue
        monge, metrics = drawn.map_of(result), _metrics(result)
        density, extent = density_grid(monge, x)
        paper = _paper(result)
        columns[key] = Figure3Column(
            _name(result), metrics["cost"], metrics["nll_exact"],
            codes_of(monge, lines.reshape(-1, 2), f"figure: {key}").reshape(lines.shape).numpy(), density, extent,
            codes_of(monge, x, f"figure: {key}").numpy(), colour, paper.get("cost"), paper.get("nll_analytic"),
        )  # fmt: skip
    paths = _printed_and_others(figure3, columns, ("cpflow", "flow", "flow+gp"), drawn.folder / "fig3")
    return paths + _optimum(drawn.optimum, drawn.results, drawn.folder / "fig3_optimum")


def trajectories(drawn: DrawnItem) -> list[Path]:
    """Figure 4: the density with paths of particles, initial velocities in the square, and energies over time; a second
    one of every other GP flow of the table; and costs beside the exact optimum."""
    x = drawn.data()
    columns = {}
    for result in drawn.results:
        if not result.row.row.moves:
            continue
        monge, metrics = drawn.map_of(result), _metrics(result)
        gp, flow = monge.gp.flow_in_time, monge.flow
        assert gp is not None  # couplings need three dimensions
        density, extent = density_grid(monge, x)
        paths, times = gaussian_path(gp, flow.transform(x[:_PATHS]))
        grid, velocity = _initial_velocity(gp)
        paper = _paper(result)
        columns[result.row.key] = Figure4Column(
            _name(result), metrics["cost"], metrics["energy"], density, extent, paths, grid, velocity,
            paper.get("cost"), paper.get("energy"), metrics["energy_stderr"], times, _kinetic(gp, drawn.config.seed),
        )  # fmt: skip
    files = _printed_and_others(
        figure4, columns, ("flow+gp", "flow+gp+euler", "flow+gp+spectral"), drawn.folder / "fig4"
    )
    return files + _optimum(drawn.optimum, drawn.results, drawn.folder / "fig4_optimum")


def _printed_and_others(
    draw: Callable[[Sequence[Any]], Figure], columns: Mapping[str, Any], printed: Sequence[str], stem: Path
) -> list[Path]:
    """The figure of the rows that the paper prints, and one of all others, if there are any (`<stem>_charts`)."""
    paths = save_figure(draw([columns[key] for key in printed if key in columns]), stem)
    others = [column for key, column in columns.items() if key not in printed]
    return paths + (save_figure(draw(others), stem.with_name(f"{stem.name}_charts")) if others else [])


def _of(results: Results, key: str) -> RowResult:
    return next(result for result in results if result.row.key == key)


def _metrics(result: RowResult) -> Mapping[str, Any]:
    """Of the model that is shown."""
    return result.metrics[0]


def _name(result: RowResult) -> str:
    return row_name(result.row.key, result.row.config.flow.name)


def _paper(result: RowResult) -> Mapping[str, float]:
    """What the paper prints of a row; of a variant, which is ours, nothing."""
    row = result.row
    return {} if ":" in row.key else paper_numbers(row.config.dataset.name, row.key, row.config.flow.name)


def _initial_velocity(gp: GaussianPreservingFlow) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """v(0, c) in the square, whatever the chart: grid (k, k, 2) and velocity (k, k, 2)."""
    at = torch.linspace(-1, 1, _ARROWS + 2)[1:-1]  # not on the walls, where the Gaussian side is infinite
    grid = torch.stack(torch.meshgrid(at, at, indexing="xy"), -1)
    z = from_cube(grid.reshape(-1, 2).to(gp.rotation))
    with torch.no_grad():
        y = gp.velocity.field(gp.chart)(0.0, to_cube(z) if gp.chart is Chart.cube else z)
    in_cube = y if gp.chart is Chart.cube else cube_density(z) * y
    return grid.double().numpy(), in_cube.reshape(grid.shape).cpu().double().numpy()


def _kinetic(gp: GaussianPreservingFlow, seed: int) -> NDArray[np.float64]:
    """Kinetic energy per particle in the cube at each time, (T,)."""
    z = torch.randn(_PARTICLES, 2, generator=torch.Generator().manual_seed(seed)).to(gp.rotation)
    with torch.no_grad():
        path = gp.flow_trajectory(z)
        kinetic = 0.5 * gp.cube_velocities(path).square().sum(-1)
    return kinetic.nanmean(1).cpu().double().numpy()


def _optimum(optimum: Optimum | None, results: Results, stem: Path) -> list[Path]:
    """Costs of the maps that aim at the optimum beside it. The flow's own, far above, would flatten the picture."""
    if optimum is None:
        return []
    floor = optimum["flow"]
    aiming = [result for result in results if result.row.row.moves or result.row.key == "cpflow"]
    costs = {_name(result): statistics.fmean(m["cost"] for m in result.metrics) for result in aiming}
    figure = optimum_figure(
        [p["n"] for p in floor], [p["mean"] for p in floor], [p["spread"] for p in floor], costs,
        ("data to N(0, I)", optimum["gaussian"][-1]["mean"]),
    )  # fmt: skip
    return save_figure(figure, stem)
