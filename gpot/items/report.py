"""Stage `report`: an item of the paper, printed numbers beside ours, and its figures, from artefacts."""

from __future__ import annotations

import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gpot.config.schema import Config, DSpritesConfig, ImagesConfig
from gpot.errors import BadConfig
from gpot.evaluation.disentanglement.dci import Protocol
from gpot.items import figures
from gpot.items.figures import DrawnItem
from gpot.items.interpolations import interpolations
from gpot.items.page_arrays import behind_result, save_arrays
from gpot.items.publish import publish
from gpot.items.rows import entries, paper_settings, report_rows, row_results
from gpot.paper.items import Item
from gpot.paper.rows import row_name
from gpot.places import typed
from gpot.plots.importance import importance_figure, save_figure
from gpot.report.tables import write_all
from gpot.report.terminal import terminal
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import Workshop
from gpot.tracking.run import describe

_FILE_WIDTH = 140  # of tables that go to a file or a pipe, in characters
_KIB_PER_GB = 1e9 / 1024  # Linux gives the peak in KiB


def report_item(config: Config, workshop: Workshop) -> list[Path]:
    """Make what is missing, print the table, and write it to `paths.report` with the item's figures. Returns the paths.

    `<item>.md`, `.tex`, `.csv`, `.json` hold the numbers, `<item>_page.npz` the arrays that the page shows; `FIGURES`
    has the figures of each item.
    """
    start, command = time.monotonic(), command_of(config.typed)
    item = config.report.item
    if item is Item.table1 and not isinstance(config.dataset, DSpritesConfig):
        raise BadConfig(
            f"Table 1 scores codes against the factors of dSprites, and dataset '{config.dataset.name}' has none. "
            "Type experiment=fig4 with it for costs, certificates and figures of 2-D data, or "
            "experiment=table2_mnist for MNIST."
        )
    if item.traversal and not isinstance(config.dataset, ImagesConfig):
        raise BadConfig(
            f"Figures 5 to 8 show images, and dataset '{config.dataset.name}' has none. Type experiment=fig5 "
            "(dSprites) or experiment=fig7 (MNIST) without another dataset."
        )
    if item.planar and config.dataset.dim != 2:
        raise BadConfig(
            f"{item.heading} shows points of the plane, and dataset '{config.dataset.name}' has {config.dataset.dim} "
            "dimensions. Give 2 columns, or type report.item=table2 for costs and likelihoods."
        )
    asked = report_rows(config)
    # what is shown beside the rows
    also = [pipeline.log_det_errors for row in asked if row.row.moves for pipeline in row.pipelines]
    discrete = None
    if item in (Item.fig3, Item.fig4) and config.evaluate.optimum_sizes:
        discrete = Pipeline(config).optimum
        also.append(discrete)
    results = row_results(asked, item, workshop, config.report.jobs, also)
    optimum = None
    if discrete is not None:
        optimum = json.loads(workshop.make(discrete).file("optimum.json").read_text())
    rows = [entry for result in results for entry in entries(result, item)]
    rows += paper_settings(config)
    # stable: the printed protocol first
    rows.sort(key=lambda entry: entry["protocol"] == Protocol.continuous.value)
    folder = Path(config.paths.report)
    folder.mkdir(parents=True, exist_ok=True)
    drawn = DrawnItem(config, workshop, results, optimum, folder)
    pictures = FIGURES.get(item, _none)(drawn)
    behind, arrays = behind_result(drawn)
    manifest = results[0].artifact.manifest
    payload: dict[str, Any] = {
        "item": item.value,
        "budget": config.budget.name,
        "seconds": round(time.monotonic() - start, 1),
        "peak_memory_gb": _peak_memory_gb(),
        "seed": config.seed,
        "device": manifest["device"],
        "versions": manifest["versions"],
        "commit": manifest["commit"],
        "command": command,
        "rows": rows,
        **behind,
    }
    if optimum is not None:
        payload["optimum"] = optimum
    paths = [*write_all(folder, item.value, payload).values(), save_arrays(folder, item, arrays)]
    publish(
        partial(describe, config, "report"),
        workshop,
        rows,
        [artifact for result in results for artifact in result.artifacts],
        pictures,
    )
    console = Console()
    width = console.width if console.is_terminal else _FILE_WIDTH
    # a single column that is wider than the screen runs over: a line that wraps keeps its digits
    Console(width=max(width, _FILE_WIDTH)).print(terminal(payload, width))
    return paths + pictures


def command_of(overrides: Sequence[str]) -> str:
    """What to type for the same result. Paths say where it is, not what it is, and are left out, as is how many
    processes made it."""
    how = ("paths.", "hydra.", "report.jobs=")
    what = [override for override in overrides if not override.lstrip("+").startswith(how)]
    return " ".join(filter(None, [typed("report"), shlex.join(what)]))


def _peak_memory_gb() -> float | None:
    """Of this process, or of one that it started if that had more; None where the operating system does not say
    (Windows has no `resource`)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 2**30 if sys.platform == "darwin" else _KIB_PER_GB
    peaks = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return round(max(peaks) / unit, 2)


def _none(drawn: DrawnItem) -> list[Path]:
    """An item of numbers alone."""
    return []


def _importance(drawn: DrawnItem) -> list[Path]:
    """Which code coordinate carries which factor, row by row."""
    scores = [result.artifact.manifest["metrics"]["dci"][Protocol.with_shape.value] for result in drawn.results]
    printed = [row_name(result.row.key, drawn.config.flow.name) for result in drawn.results]
    matrices = [np.array(score["importance"]) for score in scores]
    figure = importance_figure(dict(zip(printed, matrices, strict=True)), scores[0]["factors"])
    return save_figure(figure, drawn.folder / f"{drawn.config.report.item.value}_importance")


FIGURES: dict[Item, Callable[[DrawnItem], list[Path]]] = {
    Item.table1: _importance,
    Item.fig1: figures.particles,
    Item.fig2: figures.colours,
    Item.fig3: figures.meshes,
    Item.fig4: figures.trajectories,
    Item.fig5: interpolations,
    Item.fig6: interpolations,
    Item.fig7: interpolations,
    Item.fig8: interpolations,
}
