"""Shared by the pages of the documentation that are about no item of the paper: released models, and where results go.

A script `scripts/figures/PAGE.py` draws docs/PAGE.png and writes its numbers, outputs/figures/PAGE.json, which `make
numbers` copies; what a fit left is kept in outputs/figures/fits, so that drawing again needs none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.measure import write_result
from gpot.config import Config, compose
from gpot.flows.base import FrozenFlow
from gpot.gp.base import GaussianPreserving
from gpot.gp.monge import MongeMap
from gpot.items.rows import report_rows
from gpot.paper.rows import Row
from gpot.progress import track
from gpot.stages.flow import load_flow
from gpot.stages.held_out import held_out
from gpot.stages.maps import map_of
from gpot.stages.pipeline import Pipeline
from gpot.stages.points import points_in
from gpot.stages.stage import open_workshop
from gpot.store import Store

ROOT = Path(__file__).resolve().parents[2]
DOCS, OUT = ROOT / "docs", ROOT / "outputs" / "figures"
FITS = OUT / "fits"


def released_flow(dataset: str) -> FrozenFlow:
    """The BNAF of a 2-D density, as released in `pretrained/`."""
    config = compose("train_gp", [f"dataset={dataset}", "flow=bnaf"])
    stage = Pipeline(config).flow
    store = Store(Path(config.paths.artifacts), ROOT / "pretrained")
    return load_flow(
        config, store.require("flow", stage.key, "a figure needs a released flow", "git restore pretrained")
    )


def released_map(item: str, key: str) -> MongeMap:
    """The map of one row of an item, `released_map("fig4", "flow+gp:ridge")`, from what is in `pretrained/`."""
    config, row = _row(item, key)
    workshop = open_workshop(config)
    stages = [stage for stage in Pipeline(config).row(row).stages if stage.name in ("flow", "gp")]
    return map_of(config, {stage.name: workshop.make(stage, needed_by="figures") for stage in stages})


def held_out_points(item: str, key: str) -> Tensor:
    """Points of the row's data that took no part in a training (n, d)."""
    config, _ = _row(item, key)
    stage = Pipeline(config).points
    return held_out(config.gp, config.evaluate, points_in({stage.name: open_workshop(config).make(stage)}))


def _row(item: str, key: str) -> tuple[Config, Row]:
    paths = [f"paths.artifacts={OUT.parent / 'artifacts'}", f"pretrained={ROOT / 'pretrained'}"]
    config = compose("report", [f"experiment={item}", "device=cpu", *paths])
    found = next(row for row in report_rows(config) if row.key == key)
    return found.config, found.row


def keep(name: str, gp: GaussianPreserving, numbers: Mapping[str, Any], **arrays: Tensor) -> None:
    """`<name>.safetensors`, `.npz` and `.json` in outputs/figures/fits: drawing later needs no training."""
    FITS.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in gp.state_dict().items()}, FITS / f"{name}.safetensors")
    np.savez_compressed(FITS / f"{name}.npz", **{key: value.detach().numpy() for key, value in arrays.items()})
    (FITS / f"{name}.json").write_text(json.dumps(numbers, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def kept(name: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What `keep` wrote, numbers and arrays; None where it did not yet."""
    if not (FITS / f"{name}.json").is_file():
        return None
    with np.load(FITS / f"{name}.npz") as arrays:
        return json.loads((FITS / f"{name}.json").read_text(encoding="utf-8")), dict(arrays)


def write_page(page: str, rows: Sequence[Mapping[str, Any]], figure: Figure | None = None, **more: Any) -> None:
    """The numbers of a page, and its picture."""
    if figure is not None:
        figure.savefig(DOCS / f"{page}.png", dpi=110)
        print(DOCS / f"{page}.png")
    write_result(OUT / f"{page}.json", page, rows, torch.get_num_threads(), **more)


def bar(what: str, steps: int) -> Callable[[int, int, float], None]:
    """A progress of `monge_between`: a bar in a terminal, else nothing but the end."""
    looks = iter(track(range(steps), steps, what))
    done = [0]

    def advance(step: int, steps: int, cost: float) -> None:
        for _ in range(step - done[0]):
            next(looks)
        done[0] = step
        if step >= steps:
            next(looks, None)

    return advance
