"""Stage `report`: a table of the paper, printed numbers beside ours, from artefacts."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from gpot.config.schema import Config
from gpot.evaluation.dci import Protocol
from gpot.report.names import row_name
from gpot.report.paper import paper_numbers
from gpot.report.plots import importance_figure, save_figure
from gpot.report.tables import terminal, write_all
from gpot.stages.common import log
from gpot.stages.evaluate import Row, evaluate_stage, gp_row
from gpot.stages.gp import n_epochs
from gpot.store import Artifact, Store

# Every row has every key; a metric that does not apply to it is null
METRICS = (
    "cost", "cost_stderr", "cost_data", "cost_data_stderr", "nll_analytic", "nll_exact", "nll_stderr",
    "logdet_error_mean", "logdet_error_max", "certificate", "certificate_stderr", "energy", "energy_stderr",
    "roundtrip", "roundtrip_max", "escaped", "escaped_data", "n_steps", "n_parameters_flow", "n_parameters_gp",
)  # fmt: skip
_TABLE_WIDTH = 140
SCORES = ("disentanglement", "completeness", "informativeness")


def report_stage(config: Config, store: Store) -> list[Path]:
    """Make what is missing, print the table, and write it to `paths.report`. Returns the paths.

    `<item>.md`, `.tex`, `.csv`, `.json` hold the numbers; `<item>_importance.png` and `.pdf` show which code carries
    which factor.
    """
    start = time.monotonic()
    item = config.report.item.value
    made: list[tuple[Row, Artifact]] = []
    rows: list[dict[str, Any]] = []
    for row, variant in _rows(config):
        log.info("%s: row %s", item, row.value)
        made.append((row, evaluate_stage(variant, store, row)))
        rows.extend(_row(row, protocol, made[-1][1], variant) for protocol in Protocol)
    rows.sort(key=lambda entry: entry["protocol"] != Protocol.with_shape.value)  # stable: the printed protocol first
    manifest = made[0][1].manifest
    payload = {
        "item": item,
        "budget": config.budget.name,
        "seconds": round(time.monotonic() - start, 1),
        "seed": config.seed,
        "device": manifest["device"],
        "versions": manifest["versions"],
        "commit": manifest["commit"],
        "rows": rows,
    }
    folder = Path(config.paths.report)
    folder.mkdir(parents=True, exist_ok=True)
    paths = list(write_all(folder, item, payload).values())
    scores = [artifact.manifest["metrics"]["dci"][Protocol.with_shape.value] for _, artifact in made]
    printed = [row_name(row.value, config.flow.name) for row, _ in made]
    matrices = [np.array(score["importance"]) for score in scores]
    figure = importance_figure(dict(zip(printed, matrices, strict=True)), scores[0]["factors"])
    paths += save_figure(figure, folder / f"{item}_importance")
    console = Console()
    # a table cut to a narrow screen loses its digits; a line that wraps does not
    Console(width=max(console.width, _TABLE_WIDTH)).print(terminal(payload))
    return paths


def _rows(config: Config) -> list[tuple[Row, Config]]:
    """Table 1's rows, each with the config that makes it: the variants differ in the penalty alone."""
    rows = [(Row.latent, config), (Row.flow, config), (Row.rotation, config)]
    for penalty in config.report.variants.values():
        variant = dataclasses.replace(config, penalty=penalty)
        rows.append((gp_row(variant), variant))
    return rows


def _row(row: Row, protocol: Protocol, artifact: Artifact, config: Config) -> dict[str, Any]:
    metrics = artifact.manifest["metrics"]
    scores = metrics["dci"][protocol.value]
    return {
        "row": row.value,
        "dataset": config.dataset.name,
        "flow": config.flow.name,
        "protocol": protocol.value,
        **{name: _number(scores[name]) for name in SCORES},
        **{name: _number(metrics.get(name)) for name in METRICS},
        **(_settings(config) if metrics.get("n_parameters_gp") else {}),
        "paper": paper_numbers(config.dataset.name, row.value, config.flow.name, protocol.value),
        "artifact": artifact.key,
    }


def _number(value: Any) -> float | int | None:
    """A number of a manifest, or null: manifests write what is not finite as words."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return value


def _settings(config: Config) -> dict[str, Any]:
    """How the row's GP flow was trained, for comparison with Table 4."""
    return {"epochs": n_epochs(config), "batch_size": config.gp.batch_size, "lr": config.optimizer.gp.lr}
