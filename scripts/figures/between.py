"""Monge maps between two data sets of the plane, from two flows: docs/between.png and its numbers.

    python -m scripts.figures.between [--steps 1000] [--pairs two_moons:eight_gaussians ...] [--again]

Flows: the released BNAFs. Minutes per pair; what is there already is drawn without a fit.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from matplotlib.figure import Figure

from gpot.between import MongeBetween, monge_between
from gpot.plots.style import NUMBERS, frame_map, polar_colours, styled
from gpot.uses.interpolation import displace
from scripts.figures.common import bar, keep, kept, released_flow, write_page

PAIRS = ("eight_gaussians:two_moons", "two_moons:eight_gaussians", "pinwheel:two_moons")
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


def fit(pair: str, steps: int) -> None:
    source, target = (released_flow(name) for name in pair.split(":"))
    map_: MongeBetween = monge_between(
        source, target, steps=steps, lr=2e-2, optimizer="muon", progress=bar(f"map {pair}", steps)
    )
    print(map_.report)
    assert map_.report is not None
    x, y = map_.sample(4000)
    keep(pair.replace(":", "_to_"), map_.gp, dataclasses.asdict(map_.report) | {"steps": steps}, x=x, y=y)


@styled()
def draw(results: dict[str, Any]) -> Figure:
    """A row per pair: the law at times of the displacement, each point in the colour of its place in the source."""
    figure = Figure(figsize=(10, 2.3 * len(results)), layout="constrained")
    for row, (pair, (numbers, arrays)) in zip(
        figure.subplots(len(results), len(TIMES), squeeze=False), results.items(), strict=True
    ):
        x, y = (torch.from_numpy(arrays[key]) for key in ("x", "y"))
        there = (x.isfinite() & y.isfinite()).all(1)
        colours = polar_colours(x[there].numpy())
        for ax, points, t in zip(row, displace(x[there], y[there], TIMES).numpy(), TIMES, strict=True):
            ax.scatter(*points.T, s=1.5, c=colours)
            frame_map(ax, (-4.2, 4.2, -4.2, 4.2))
            ax.set_title(f"t = {t:g}")
        gap = 100 * numbers["gap"]["mean"]
        row[0].set_ylabel(f"{pair.replace('_', ' ').replace(':', ' to ')}\ncost {numbers['cost']['mean']:.2f}, "
                          f"gap {gap:.1f} %", fontsize=NUMBERS)  # fmt: skip
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--pairs", nargs="*", default=list(PAIRS))
    parser.add_argument("--again", action="store_true", help="fit even where results are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for pair in options.pairs:
        if options.again or kept(pair.replace(":", "_to_")) is None:
            fit(pair, options.steps)
        results[pair] = kept(pair.replace(":", "_to_"))
    rows = [{"row": pair, "name": pair.replace("_", " ").replace(":", ", ")} | results[pair][0] for pair in results]
    write_page("between", rows, draw(results))


if __name__ == "__main__":
    main()
