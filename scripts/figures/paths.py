"""The path from the identity to s through maps that keep the Gaussian, with and without Euler's equations.

    python -m scripts.figures.paths

Two moons with the released GP flows of Figure 4 whose chart is the cube: length, energy and evenness of each path, and
what it is as a path of maps of the data, docs/paths.png. Writes outputs/figures/paths.json. A minute.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpot.evaluation.estimate import Estimate
from gpot.gp.flow import GaussianPreservingFlow
from gpot.maths.transport import gaussian_log_density
from gpot.plots.style import CYCLE, LINES, frame_map, polar_colours, styled
from gpot.uses import MapPath, law_preserving_path, map_path
from scripts.figures.common import held_out_points, released_map, write_page

ROWS = {"flow+gp": "GP", "flow+gp+euler": "GP, Euler's penalty", "flow+gp+spectral": "GP, spectral"}
SHOWN = "flow+gp+euler"
POINTS, DRAWS = 1500, 20_000
FRAME = (-3.6, 3.6, -3.2, 3.4)


@styled()
def draw(paths: dict[str, MapPath], moved: Tensor, times: Tensor) -> Figure:
    """The speed of each path over time, and points of the data moved by one of them."""
    figure = Figure(figsize=(12, 2.9), layout="constrained")
    first, *others = figure.subplots(1, 5)
    for (name, path), colour, line in zip(paths.items(), CYCLE, LINES, strict=False):
        first.plot(path.times, path.speeds, color=colour, linestyle=line, label=name)
    first.set(xlabel="t", title="speed", ylim=(0.0, None))
    first.legend(loc="lower center")
    colours = polar_colours(moved[0].numpy())
    steps = torch.linspace(0, len(times) - 1, len(others)).round().long()
    for ax, k in zip(others, steps.tolist(), strict=True):
        ax.scatter(*moved[k].T.numpy(), s=2, c=colours)
        frame_map(ax, FRAME)
        ax.set_title(f"t = {times[k]:.2g}")
    return figure


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    z = torch.randn(DRAWS, 2, generator=torch.Generator().manual_seed(0))
    points = held_out_points("fig4", "flow")
    rows: list[dict[str, Any]] = []
    paths: dict[str, MapPath] = {}
    for key, name in ROWS.items():
        monge = released_map("fig4", key)
        assert isinstance(monge.gp, GaussianPreservingFlow)
        path = paths[name] = map_path(monge.gp, z)
        rows.append({
            "row": key, "name": name, "length": path.length, "energy": path.energy, "evenness": path.evenness,
            "slowest": path.speeds.min().item(), "fastest": path.speeds.max().item(),
        })  # fmt: skip
        if key == SHOWN:
            moved = law_preserving_path(monge.flow, monge.gp, points[:POINTS])
            with torch.no_grad():
                pushed = [monge.flow(x[x.isfinite().all(1)]) for x in moved]
            nll = [Estimate.of(-gaussian_log_density(z) - log_det) for z, log_det in pushed]
            law = [
                {
                    "t": t,
                    "nll": each.mean,
                    "nll_stderr": each.stderr,
                    "moved": (x - moved[0]).norm(dim=1).nanmean().item(),
                }
                for t, each, x in zip(path.times.tolist(), nll, moved, strict=True)
            ]
            shown = moved, path.times
        print(rows[-1], flush=True)
    write_page("paths", rows, draw(paths, *shown), law=law, draws=DRAWS, points=POINTS)


if __name__ == "__main__":
    main()
