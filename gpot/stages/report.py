"""Stage `report`: a table of the paper, printed numbers beside ours, from artefacts."""

from __future__ import annotations

import dataclasses
import math
import time
from pathlib import Path
from typing import Any

from gpot.config.schema import Config
from gpot.evaluation.dci import Protocol
from gpot.report.paper import paper_numbers
from gpot.report.tables import write_all
from gpot.stages.common import log
from gpot.stages.evaluate import Row, evaluate_stage, gp_row
from gpot.store import Artifact, Store

# Every row has every key; a metric that does not apply to it is null
METRICS = (
    "cost", "cost_stderr", "cost_data", "cost_data_stderr", "nll_analytic", "nll_exact", "nll_stderr",
    "logdet_error_mean", "logdet_error_max", "certificate", "certificate_stderr", "energy", "energy_stderr",
    "roundtrip", "roundtrip_max", "escaped", "escaped_data", "n_steps",
)  # fmt: skip
SCORES = ("disentanglement", "completeness", "informativeness")


def report_stage(config: Config, store: Store) -> list[Path]:
    """Make what is missing, then write `<item>.md`, `.tex`, `.csv` and `.json` to `paths.report`. Returns their paths."""
    start = time.monotonic()
    rows: list[dict[str, Any]] = []
    for row, variant in _rows(config):
        log.info("%s: row %s", config.report.item.value, row.value)
        artifact = evaluate_stage(variant, store, row)
        rows.extend(_row(row, protocol, artifact, config.dataset.name, config.flow.name) for protocol in Protocol)
    rows.sort(key=lambda r: r["protocol"] != Protocol.with_shape.value)  # the printed protocol first; the sort is stable
    payload = {
        "item": config.report.item.value,
        "budget": config.budget.name,
        "seconds": round(time.monotonic() - start, 1),
        "seed": config.seed,
        "versions": artifact.manifest["versions"],
        "commit": artifact.manifest["commit"],
        "rows": rows,
    }
    return write_all(Path(config.paths.report), config.report.item.value, payload)


def _rows(config: Config) -> list[tuple[Row, Config]]:
    """Table 1's rows, each with the config that makes it: the variants differ in the penalty alone."""
    rows = [(Row.latent, config), (Row.flow, config), (Row.rotation, config)]
    for penalty in config.report.variants.values():
        variant = dataclasses.replace(config, penalty=penalty)
        rows.append((gp_row(variant), variant))
    return rows


def _row(row: Row, protocol: Protocol, artifact: Artifact, dataset: str, flow: str) -> dict[str, Any]:
    metrics = artifact.manifest["metrics"]
    scores = metrics["dci"][protocol.value]
    return {
        "row": row.value,
        "protocol": protocol.value,
        **{name: _number(scores[name]) for name in SCORES},
        **{name: _number(metrics.get(name)) for name in METRICS},
        "paper": paper_numbers(dataset, row.value, flow, protocol.value),
        "artifact": artifact.key,
    }


def _number(value: Any) -> float | int | None:
    """A number of a manifest, or null: manifests write what is not finite as words."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return value
