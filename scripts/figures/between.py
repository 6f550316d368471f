"""Monge maps between two data sets of the plane, from two flows: docs/between.png and its numbers.

    python -m scripts.figures.between [--steps 3000] [--pairs two_moons:eight_gaussians ...] [--again]

Flows: the released BNAFs. Minutes per pair; what is there already is drawn without a fit.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from matplotlib.figure import Figure

from gpot.between import MongeBetween, measured, monge_between
from gpot.plots.style import NUMBERS, frame_map, polar_colours, styled
from gpot.uses.interpolation import displace
from scripts.figures.common import bar, keep, kept, released_flow, write_page

PAIRS = ("eight_gaussians:two_moons", "two_moons:eight_gaussians", "pinwheel:two_moons")
BACKWARD = ("two_moons:eight_gaussians",)  # g^-1 of eight gaussians has eight gaps, of two moons one
BY_MUON = ("pinwheel:two_moons",)
ADAM, MUON = ("adam", 1e-2), ("muon", 2e-2)  # and the peak of the learning rate
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


def fit(pair: str, steps: int) -> None:
    """The map of a pair; where the other way is easier (fewer gaps in the target), as the inverse of that map."""
    source, target = (released_flow(name) for name in pair.split(":"))
    backward = pair in BACKWARD
    ends = (target, source) if backward else (source, target)
    optimizer, rate = MUON if pair in BY_MUON else ADAM
    map_: MongeBetween = monge_between(
        *ends, steps=steps, optimizer=optimizer, lr=rate, progress=bar(f"map {pair}", steps)
    )
    report = map_.report
    assert report is not None
    if backward:
        map_ = map_.reversed()
        report = measured(map_, report.n, seconds=report.seconds)
    print(report)
    x, y = map_.sample(4000)
    keep(
        pair.replace(":", "_to_"),
        map_.gp,
        dataclasses.asdict(report) | {"steps": steps, "optimizer": optimizer},
        x=x,
        y=y,
    )


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
    parser.add_argument("--steps", type=int, default=3000)
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
