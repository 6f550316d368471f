"""A report page of made-up arrays and of numbers that are no result: enough of each kind to look at all of it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.printed import paper_numbers
from gpot.plots.style import polar_colours
from gpot.report.page.arrays import png
from gpot.report.page.captions import words
from gpot.report.page.items import Origin, Picture, item_view, missing_item
from gpot.report.page.render import Bar, Chart, FlowData, FlowView, Page, Trained
from gpot.report.page.svg import curves, histogram
from gpot.report.page.traversals import Traversals, traversal_data

N, T, LINES, ALONG = 300, 6, 6, 9
_SCORES = {
    "latent": (0.77, 1.0, 0.53), "flow": (0.58, 0.444, 0.605), "flow+rotation": (0.785, 0.905, 0.567),
    "flow+gp": (0.781, 0.925, 0.56), "flow+gp+euler": (0.591, 0.672, 0.59),
}  # fmt: skip


def table1() -> dict[str, Any]:
    """A result in the form of Table 1; one number of it agrees with the paper, that of completeness in the last row."""
    rows = []
    for protocol in names.PROTOCOLS:
        for row, scores in _SCORES.items():
            measured = row != "latent"
            rows.append({
                "row": row, "dataset": "dsprites", "flow": "ffjord", "protocol": protocol,
                **dict(zip(names.SCORES, scores, strict=True)),
                "cost": 7.04 if measured else None, "cost_stderr": 0.03 if measured else None,
                "nll_analytic": -17.7 if measured else None, "certificate": 0.182 if measured else None,
                "certificate_stderr": 0.002 if measured else None, "logdet_error_mean": 3.5e-7 if measured else None,
                "paper": paper_numbers("dsprites", row, "ffjord", protocol), "artifact": None,
            })  # fmt: skip
    return {
        "item": "table1", "budget": "quick", "seconds": 751.8, "seed": 1234, "device": "cpu, 2 threads",
        "versions": {"python": "3.11", "torch": "2.13"}, "commit": "0123456789abcdef0123456789abcdef01234567-dirty",
        "command": "python scripts/report.py experiment=table1 <script>alert(1)</script>", "rows": rows,
    }  # fmt: skip


def plane() -> tuple[FlowData, FlowView]:
    """Points that turn by a quarter of a circle, with a mesh; one of them leaves the domain."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(N, 2))
    angles = np.linspace(0, np.pi / 2, T)
    turns = np.array([[[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]] for a in angles])
    frames = np.einsum("tij,nj->tni", turns, x)
    frames[:, 0] = np.nan
    side = np.stack(np.meshgrid(np.linspace(-2, 2, LINES), np.linspace(-2, 2, ALONG), indexing="ij"), -1)
    mesh = np.einsum("tij,mpj->tmpi", turns, np.concatenate([side, side[..., ::-1]]))
    colours = (255 * polar_colours(x)).round().astype(np.uint8)
    return FlowData("two moons", x, colours), FlowView("fig4", "BNAF+GP", frames, mesh, left_out=1)


def traversals(n_points: int = 2) -> Traversals:
    """A bar whose height follows the value of coordinate 1, whatever the others are."""
    d, k, side = 4, 5, 16
    images = np.zeros((3, n_points, d, k, 1, side, side), np.uint8)
    for column in range(k):
        images[:, :, 0, column, 0, -3 * (column + 1) :, 4:9] = 255
        images[:, :, 1:, column, 0, -6:, 4:9] = 255
    panels = ("Initial latent space", "FFJORD", "FFJORD+GP")
    return Traversals(images, panels, np.array([2.5, 1.25, 0.01, 0.0]), np.linspace(-1.75, 1.75, k))


def picture(stem: str, size: tuple[int, int] = (200, 300)) -> Picture:
    ramp = np.linspace(0, 255, size[0] * size[1]).reshape(size).astype(np.uint8)
    return Picture(stem, png(np.stack([ramp, ramp[::-1], ramp], -1)), words(stem))


def page() -> Page:
    """A page with every kind of part."""
    data, view = plane()
    errors: NDArray[np.float64] = np.abs(np.random.default_rng(1).normal(size=500)) * 1e-6
    errors[:20] = 0.0
    views = [missing_item(item) for item in Item]
    pictures, links = [picture("table1_importance")], ["table1.md"]
    views[0] = item_view(table1(), Origin(929.0, 9, ("cpu, 2 threads",)), pictures, links, ["Left out: a note."])
    falling: dict[int, float | None] = {k: 3.0 * 0.9**k + 1 for k in range(1, 26)}
    lines = [("val/cost", falling), ("train/cost", falling | {1: None})]
    return Page(
        views, {"fig4": data}, [view], [traversal_data("Figure 5", traversals(), 10**6)],
        [("dSprites", [Bar("FFJORD", "18.21% ± 0.16%", 1.0), Bar("FFJORD+GP", "0.00% ± 0.00%", 0.0)])],
        [Chart("dSprites: FFJORD+GP", histogram(errors, "errors"), "500 points")],
        [Chart("dSprites: FFJORD+GP", curves(lines, "cost"), "")],
        [Trained("dSprites: FFJORD+GP", "gp", "0" * 16, "val/cost 1.2", "4", "3 min", "cpu", "quick", "0" * 12, True)],
        ["A note of the page."],
    )  # fmt: skip
