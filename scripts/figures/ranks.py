"""Center-outward quantile contours of two moons, and the coverage of five data sets: docs/ranks.png and its numbers.

    python -m scripts.figures.ranks

Contours: the released BNAF, alone and with the released Gaussian-preserving flow. Coverage: of held-out points by
regions of small flows, fitted to data sets that scikit-learn ships or makes. Writes outputs/figures/ranks.json. A
few minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.decomposition import PCA
from torch import Tensor

from gpot.flows.base import FrozenFlow
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.monge import MongeMap
from gpot.gp.rotation import fit_rotation
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from gpot.plots.style import CYCLE, frame_map, styled, title
from gpot.progress import track
from gpot.uses.ranks import Coverage, calibrate, coverage, depth, inside, quantile_contour
from scripts.figures.common import held_out_points, released_map, write_page
from scripts.figures.small_flows import small_flow

CONTENTS = (0.5, 0.8, 0.95)
POINTS = 1500


def principal(data: np.ndarray, columns: int) -> np.ndarray:
    """The first principal components of standardized columns, those without spread left out."""
    used = data[:, data.std(0) > 0]
    return PCA(columns).fit_transform((used - used.mean(0)) / used.std(0))


SETS: dict[str, Callable[[], np.ndarray]] = {
    "make_moons, noise 0.2": lambda: datasets.make_moons(6000, noise=0.2, random_state=0)[0],
    "load_digits, 5 components": lambda: principal(datasets.load_digits().data, 5),
    "load_breast_cancer, 3 components": lambda: principal(np.log1p(datasets.load_breast_cancer().data), 3),
    "load_diabetes, 6 components": lambda: principal(datasets.load_diabetes().data, 6),
    "load_wine, 3 components": lambda: principal(datasets.load_wine().data, 3),
}


def rotated(x: Tensor, flow: FrozenFlow, seed: int) -> MongeMap:
    """s o f with s the best rotation and a field of random weights: any s has the contents of f, and this is one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gp = GaussianPreservingFlow(RidgeVelocity(flow.dim, 32, output_scale=0.5), Chart.direct, 16)
    gp.set_rotation(fit_rotation(x, flow.transform(x)))
    return MongeMap(flow, gp.requires_grad_(False))


def covered(name: str, seed: int = 0) -> dict[str, Any]:
    """The coverage of held-out points, a quarter of the rows; and, of half of these, that of the regions which the
    other half calibrates."""
    data = torch.from_numpy(SETS[name]()).float()
    data = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))]
    n = len(data)
    test, validation, train = data[: n // 4], data[n // 4 : n // 4 + n // 8], data[n // 4 + n // 8 :]
    found = small_flow(train, validation, seed=seed)
    monge = rotated(train, FrozenFlow(found.flow), seed)
    with torch.no_grad():
        z = monge.transport(test)
    balls = calibrate(z[: len(z) // 2], CONTENTS)
    return {
        "row": name, "dim": data.shape[1], "fitted": len(train) + len(validation), "held_out": len(test),
        "width": found.width, "validation": found.validation, "regions": _counted(coverage(z, CONTENTS)),
        "counted": len(z) - len(z) // 2, "calibrated": _counted(coverage(z[len(z) // 2 :], balls)),
    }  # fmt: skip


def _counted(regions: list[Coverage]) -> list[dict[str, float]]:
    return [{"content": r.content, "share": r.share, "error": r.error, "p_value": r.p_value} for r in regions]


@styled()
def draw(maps: dict[str, MongeMap], x: Tensor) -> Figure:
    """Contours of both maps over points coloured by their depth."""
    figure = Figure(figsize=(10, 5.0), layout="constrained")
    for ax, (name, map_) in zip(figure.subplots(1, len(maps)), maps.items(), strict=True):
        with torch.no_grad():
            z = map_.transport(x)
        ax.scatter(*x.T.numpy(), s=4, c=depth(z).numpy(), cmap="viridis", vmin=0, vmax=1)
        for content, style in zip(CONTENTS, ("-", "--", ":"), strict=True):
            contour = quantile_contour(map_, content, 600)
            ax.plot(*contour.T.numpy(), style, color=CYCLE[1], label=f"{100 * content:.0f} %")
        frame_map(ax, (-4.0, 4.0, -3.0, 3.4))
        title(ax, name, [", ".join(f"{100 * inside(z, c).float().mean():.1f} %" for c in CONTENTS) + " inside"])
    figure.axes[0].legend(loc="lower left")
    return figure


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    torch.set_num_threads(1)
    rows = [covered(name) for name in track(list(SETS), len(SETS), "fitting flows of five data sets")]
    flow, monge = released_map("fig4", "flow"), released_map("fig4", "flow+gp:ridge")
    x = held_out_points("fig4", "flow")[:POINTS]
    regions = {
        name: [{"content": r.content, "share": r.share, "error": r.error} for r in coverage(m.transport(x), CONTENTS)]
        for name, m in (("flow", flow), ("monge", monge))
    }
    write_page("ranks", rows, draw({"f alone": flow, "s o f, the Monge map": monge}, x), moons=regions, points=len(x))


if __name__ == "__main__":
    main()
