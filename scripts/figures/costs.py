"""Two moons carried to the Gaussian under four costs, each with its own Monge map: docs/costs.png and its numbers.

    python -m scripts.figures.costs [--steps 400] [--again]

One frozen flow (the released BNAF), one Gaussian-preserving flow per cost; the exact discrete optimum is of the same
cost. Minutes for each cost; what is there already is drawn without a fit.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import torch
from matplotlib.figure import Figure

from gpot.between import monge_between
from gpot.evaluation.certificate import certificate
from gpot.flows.identity import IdentityFlow
from gpot.maths.costs import as_cost
from gpot.plots.style import CYCLE, PALE, frame_map, polar_colours, styled, title
from scripts.figures.common import bar, keep, kept, released_flow, write_page

COSTS = {"l1": "$L^1$", "l1.5": "$L^{1.5}$", "euclidean": "$L^2$", "l4": "$L^4$"}
ARROWS = 250
POINTS = 4096


def fit(name: str, steps: int) -> None:
    map_ = monge_between(
        released_flow("two_moons"), IdentityFlow(2), cost=name, steps=steps, tolerance=3e-4,
        progress=bar(f"map for {name}", steps),
    )  # fmt: skip
    print(map_.report)
    assert map_.report is not None
    x, s = map_.sample(POINTS, torch.Generator().manual_seed(1))
    keep(f"cost_{name}", map_.gp, dataclasses.asdict(map_.report) | {"steps": steps}, x=x, s=s)


@styled()
def draw(results: dict[str, Any]) -> Figure:
    """Arrows x -> s(f(x)) of the same points under each cost; below, which target each colour of the data has."""
    figure = Figure(figsize=(10, 5.6), layout="constrained")
    axes = figure.subplots(2, len(results))
    for column, (name, (numbers, arrays)) in enumerate(results.items()):
        x, s = arrays["x"], arrays["s"]
        upper, lower = axes[:, column]
        few = slice(0, ARROWS)
        upper.quiver(
            *x[few].T, *(s[few] - x[few]).T, angles="xy", scale_units="xy", scale=1, width=0.004, color=CYCLE[0]
        )
        upper.scatter(*x[few].T, s=3, color=PALE, zorder=0)
        lower.scatter(*s.T, s=2, c=polar_colours(x))
        for ax in (upper, lower):
            frame_map(ax, (-4.0, 4.0, -3.4, 3.4))
        title(
            upper, COSTS[name],
            [
                f"cost {numbers['cost']['mean']:.3f}, before {numbers['cost_start']:.3f}",
                f"optimum {numbers['optimum']:.3f}, gap {100 * numbers['gap']['mean']:.2f} %",
            ],
        )  # fmt: skip
    axes[0, 0].set_ylabel("moves")
    axes[1, 0].set_ylabel("images, coloured by the data")
    return figure


def cross(results: dict[str, Any]) -> list[dict[str, Any]]:
    """Every map under every cost, and its certificate for that cost: what 'the best map' depends on."""
    rows = []
    for name, (numbers, arrays) in results.items():
        x, s = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["s"])
        under = {}
        for other in results:
            cost, draws = as_cost(other), torch.Generator().manual_seed(0)
            under[other] = {"cost": cost(x, s).mean().item(), "gap": certificate(x, s, 512, 4, draws, cost).mean}
        rows.append(
            {"row": name, "name": COSTS[name].strip("$").replace("{", "").replace("}", ""), "under": under} | numbers
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--again", action="store_true", help="fit even where results are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in COSTS:
        if options.again or kept(f"cost_{name}") is None:
            fit(name, options.steps)
    results = {name: kept(f"cost_{name}") for name in COSTS}
    write_page("costs", cross(results), draw(results), points=POINTS)


if __name__ == "__main__":
    main()
