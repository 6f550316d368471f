"""Between two laws and between two points, by a flow alone and by the Monge map from it: docs/interpolation.png.

    python -m scripts.figures.interpolation

Two moons with the released models: displacement interpolation to the Gaussian, and lines of the Gaussian side carried
back. Writes outputs/figures/interpolation.json. A minute.
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpot.evaluation.optimum import discrete_w2
from gpot.gp.monge import MongeMap
from gpot.maths.transport import gaussian_log_density, jacobian
from gpot.plots.style import CYCLE, PALE, frame_map, polar_colours, styled
from gpot.uses import displace, interpolate_points
from scripts.figures.common import held_out_points, released_map, write_page

ROWS = {"flow": "f alone", "flow+gp:ridge": "s o f, the Monge map"}
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
CROSSING_TIMES = 99
POINTS, PAIRS, STEPS, SHOWN = 2000, 200, 17, 6
FRAME = (-3.6, 3.6, -3.2, 3.4)


def law_numbers(monge: MongeMap, x: Tensor) -> dict[str, Any]:
    """Of the path of laws from the data to the Gaussian: its length against W2, and points whose paths have crossed."""
    with torch.no_grad():
        y = monge.transport(x)
    slopes = jacobian(monge.transport, x)
    times = torch.linspace(0.0, 1.0, CROSSING_TIMES + 2)[1:-1]
    eye = torch.eye(x.shape[1])
    crossed = torch.stack([torch.linalg.det((1.0 - t) * eye + t * slopes) <= 0 for t in times]).any(0)
    w2, cost = discrete_w2(x, y) ** 0.5, ((x - y) ** 2).sum(1).mean().item()
    speeds = [(discrete_w2(a, b) ** 0.5) / (0.25 * w2) for a, b in pairwise(displace(x, y, TIMES))]
    return {
        "length": cost**0.5, "w2": w2, "crossed": crossed.float().mean().item(), "n": len(x),
        "slowest": min(speeds), "fastest": max(speeds),
    }  # fmt: skip


def point_numbers(monge: MongeMap, start: Tensor, end: Tensor) -> tuple[dict[str, Any], Tensor]:
    """Of ways between points: how many turn back on the Gaussian side's direction, how long they are, and how far the
    density falls below that of the rarer end."""
    times = torch.linspace(0.0, 1.0, STEPS)
    ways = interpolate_points(monge, start, end, times)
    found = ways.isfinite().all(2).all(0)
    ways, start, end = ways[:, found], start[found], end[found]
    with torch.no_grad():
        direction = monge.transport(end) - monge.transport(start)
        moves = ways[1:] - ways[:-1]
        back = ((moves * direction).sum(2) < -1e-5).any(0)
        detour = moves.norm(dim=2).sum(0) / (end - start).norm(dim=1)
        z, log_det = monge.flow(ways.reshape(-1, 2))
        density = (gaussian_log_density(z) + log_det).reshape(STEPS, -1)
        fall = torch.minimum(density[0], density[-1]) - density.min(0).values
    numbers = {
        "turn_back": back.float().mean().item(), "detour": detour.median().item(), "fall": fall.mean().item(),
        "pairs": len(start),
    }  # fmt: skip
    return numbers, ways


@styled()
def draw(found: dict[str, tuple[Tensor, Tensor, Tensor]]) -> Figure:
    """A row for each map: the law at five times, and ways between points."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    axes = figure.subplots(len(found), len(TIMES) + 1, squeeze=False)
    for row, (name, (x, y, ways)) in zip(axes, found.items(), strict=True):
        colours = polar_colours(x.numpy())
        for ax, points, t in zip(row, displace(x, y, TIMES).numpy(), TIMES, strict=False):
            ax.scatter(*points.T, s=1.5, c=colours)
            ax.set_title(f"t = {t:g}")
        row[-1].scatter(*x.T.numpy(), s=1.5, color=PALE)
        for k in range(SHOWN):
            row[-1].plot(*ways[:, k].T.numpy(), color=CYCLE[k % len(CYCLE)])
            row[-1].plot(*ways[[0, -1], k].T.numpy(), "o", color=CYCLE[k % len(CYCLE)], markersize=4)
        row[-1].set_title("ways")
        row[0].set_ylabel(name)
        for ax in row:
            frame_map(ax, FRAME)
    return figure


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    points = held_out_points("fig4", "flow")
    rows, pictures = [], {}
    for key, name in ROWS.items():
        monge = released_map("fig4", key)
        x = points[:POINTS]
        numbers, ways = point_numbers(monge, points[POINTS : POINTS + PAIRS], points[-PAIRS:])
        rows.append({"row": key, "name": name, **law_numbers(monge, x[: POINTS // 2]), **numbers})
        with torch.no_grad():
            pictures[name] = x, monge.transport(x), ways
        print(rows[-1], flush=True)
    write_page("interpolation", rows, draw(pictures), crossing_times=CROSSING_TIMES)


if __name__ == "__main__":
    main()
