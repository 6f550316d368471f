"""How far from optimal the rows of Tables 1 and 2 and of Figures 3 and 4 are, and the bound where truth is known.

    python -m scripts.figures.bounds [--items fig4 fig3 table1 table2_mnist]

Stages `potential` and `bounds` of each flow and GP flow that is released, without the rest of their evaluation; what is
in outputs/artifacts is not made again. Writes outputs/figures/bounds.json.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from torch import Tensor

from gpot.config import compose
from gpot.evaluation.bounds import bound_by, choose_potential
from gpot.evaluation.certificate import certificate
from gpot.evaluation.potential import PotentialFit, gelbrich_potential
from gpot.items.rows import ReportRow, report_rows
from gpot.maths.convex_network import convex_network
from gpot.paper.rows import Row, row_name
from gpot.stages.bounds import fit_of
from gpot.stages.flow import load_flow, push, split
from gpot.stages.gp import load_gp
from gpot.stages.held_out import held_out
from gpot.stages.points import points_in
from gpot.stages.stage import Workshop, open_workshop
from scripts.figures.common import write_page

ITEMS = ("fig4", "fig3", "table1", "table2_mnist")
KNOWN_DIMS = (2, 10)
KNOWN_FIT = PotentialFit(4, 16, 150, 300, 512)
KNOWN_PAIRS = 6000
CHECKED = "flow+gp:ridge"  # the row of Figure 4 that is looked at more closely


def bounded(workshop: Workshop, item: str, row: ReportRow) -> dict[str, Any]:
    """The interval of one row of an item, of the first repetition."""
    config = row.config
    bound, potential = row.pipelines[0].bounds(row.row), row.pipelines[0].potential
    metrics, fit = (workshop.make(stage).manifest["metrics"] for stage in (bound, potential))
    return {
        "row": row.key, "name": row_name(row.key, config.flow.name), "item": item, "dataset": config.dataset.name,
        **{key: metrics[key] for key in ("cost", "optimum_lower", "gap_upper", "gap_upper_stderr", "n_pairs")},
        "seconds": metrics["cpu_seconds"], "pairs_fit": fit["n_pairs"],
        "seconds_fit": fit["cpu_seconds_fit"], "seconds_pairs": fit["cpu_seconds_pairs"],
    }  # fmt: skip


def closer(workshop: Workshop, row: ReportRow) -> dict[str, Any]:
    """A row's bound by a potential fitted on its own pairs, by Gelbrich's quadratic, and exchanges among more pairs."""
    config, stages = row.config, row.pipelines[0]
    inputs = {stage.name: workshop.make(stage) for stage in (stages.points, stages.flow)}
    points, flow = points_in(inputs), load_flow(config, inputs["flow"])
    gp = load_gp(config.gp, config.dataset.dim, workshop.make(stages.gp))

    def pairs(x: Tensor) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return x, torch.cat([gp.transport(part) for part in push(flow, x).split(4096)])

    x, z = pairs(points[split(len(points))[0][: config.bounds.n_train]])
    test = pairs(held_out(config.gp, config.evaluate, points))
    cost = ((test[0] - test[1]) ** 2).sum(1).mean().item()
    own = bound_by(choose_potential(x, z, fit_of(config.bounds), config.seed), *test)
    quadratic = bound_by(gelbrich_potential(x, z), *test)
    exchange = [
        {"n": n, "gap": certificate(*test, n, max(1, 4000 // n), torch.Generator().manual_seed(0)).mean}
        for n in (1000, 4000)
    ]
    return {
        "row": row.key, "dataset": config.dataset.name, "cost": cost, "n_pairs": len(test[0]), "exchange": exchange,
        "own_pairs": own.mean / cost, "own_pairs_stderr": own.stderr / cost, "quadratic": quadratic.mean / cost,
    }  # fmt: skip


def twisted(z: Tensor, strength: float) -> Tensor:
    """A Gaussian-preserving map: the plane of the first two coordinates turns by an angle of its radius."""
    angle = strength * z[:, :2].norm(dim=1)
    first = z[:, 0] * angle.cos() - z[:, 1] * angle.sin()
    second = z[:, 0] * angle.sin() + z[:, 1] * angle.cos()
    return torch.cat([first[:, None], second[:, None], z[:, 2:]], dim=1)


def known(dim: int, strength: float) -> dict[str, Any]:
    r"""x = grad u0(z0) of a random convex u0, z = h(z0), h the twist: z0 is optimal, and what z costs more is known,
    2 E <x, z0 - z>."""
    draw = torch.Generator().manual_seed(1)
    z0 = torch.randn(KNOWN_PAIRS, dim, generator=draw, dtype=torch.float64)
    u0 = convex_network(dim, (16, 16), 0.1, draw, quadratic=0.2, scale=2.0).map(Tensor.double)
    x, z = u0.gradient(z0), twisted(z0, strength)
    n = KNOWN_PAIRS * 3 // 4
    excess = 2.0 * (x[n:] * (z0 - z)[n:]).sum(1)
    cost = ((x - z)[n:] ** 2).sum(1).mean().item()
    fitted = bound_by(choose_potential(x[:n], z[:n], KNOWN_FIT, 0), x[n:], z[n:])
    quadratic = bound_by(gelbrich_potential(x[:n], z[:n]), x[n:], z[n:])
    return {
        "dim": dim, "strength": strength, "n": len(excess), "cost": cost, "true": excess.mean().item() / cost,
        "true_stderr": (excess.std() / len(excess) ** 0.5).item() / cost, "bound": fitted.mean / cost,
        "bound_stderr": fitted.stderr / cost, "quadratic": quadratic.mean / cost,
        "exchange": certificate(x[n:], z[n:], 1000, 1, draw).mean,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", nargs="*", default=list(ITEMS), choices=ITEMS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.process_time()
    rows, near = [], None
    for item in options.items:
        config = compose("report", [f"experiment={item}", "upstream=make", "device=cpu"])
        workshop = open_workshop(config)
        for row in report_rows(config):
            if row.row not in (Row.latent, Row.rotation):
                rows.append(bounded(workshop, item, row))
                print(rows[-1]["dataset"], row.key, f"{rows[-1]['gap_upper']:.2%}", flush=True)
            if (item, row.key) == ("fig4", CHECKED):
                near = closer(workshop, row)
                print(near, flush=True)
    truth = [known(dim, strength) for dim in KNOWN_DIMS for strength in (0.0, 0.5)]
    for case in truth:
        print(case, flush=True)
    scale = {key: getattr(config.bounds, key) for key in ("groups", "pieces", "regression_steps", "steps")}
    spent = time.process_time() - started
    write_page("bounds", rows, closer=near, known=truth, budget=config.budget.name, seconds=spent, **scale)


if __name__ == "__main__":
    main()
