"""The rows of a result: which maps stand in a table or figure, and the numbers of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gpot.config import sibling
from gpot.config.choices import Item
from gpot.config.schema import Config, ImagesConfig
from gpot.evaluation.dci import Protocol
from gpot.report.paper import paper_numbers
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
SCORES = ("disentanglement", "completeness", "informativeness")


@dataclass(frozen=True)
class ReportRow:
    """One map: its printed key (`flow+gp:ridge`), what is evaluated, the config that makes it."""

    key: str
    row: Row
    config: Config


def report_rows(config: Config) -> list[ReportRow]:
    """The rows of the config's item, in the order of the table: codes, flows, the rotation, GP flows."""
    if config.report.parts:
        return [row for part in config.report.parts for row in _of_part(config, part)]
    first = [ReportRow("latent", Row.latent, config)] if isinstance(config.dataset, ImagesConfig) else []
    flows, moved = [], []
    for variant in config.report.variants.values():
        given = {name: getattr(variant, name) for name in ("flow", "gp", "penalty")}
        changed = dataclasses.replace(config, **{name: group for name, group in given.items() if group is not None})
        suffix = f":{variant.label}" if variant.label else ""
        if variant.flow is not None and variant.gp is None and variant.penalty is None:
            flows.append(ReportRow(variant.flow.name + suffix, Row.flow, changed))
        else:
            moved.append(ReportRow(gp_row(changed).value + suffix, gp_row(changed), changed))
    own = [ReportRow("flow", Row.flow, config), ReportRow("flow+rotation", Row.rotation, config)]
    return [*first, *flows, *own, *moved]


def _of_part(config: Config, part: str) -> Iterator[ReportRow]:
    """Of another item's rows, those that a table of settings is about: the paper's own GP flows."""
    paper_rows = {Item.table3: ("flow+gp",)}[config.report.item]
    yield from (row for row in report_rows(sibling(config, part)) if row.key in paper_rows)


def evaluated(config: Config, store: Store) -> list[tuple[ReportRow, Artifact]]:
    """Each row with its evaluation, made where it is missing."""
    found = []
    for row in report_rows(config):
        log.info("%s: row %s", config.report.item.value, row.key)
        found.append((row, evaluate_stage(row.config, store, row.row)))
    return found


def entries(row: ReportRow, artifact: Artifact) -> list[dict[str, Any]]:
    """What the result's JSON says of a row: one entry, or for labelled images one per protocol of the scores."""
    metrics, config = artifact.manifest["metrics"], row.config
    protocols = list(Protocol) if "dci" in metrics else [None]
    return [
        {
            "row": row.key,
            "dataset": config.dataset.name,
            "flow": config.flow.name,
            "protocol": None if protocol is None else protocol.value,
            **{name: _number(metrics["dci"][protocol.value][name]) if protocol else None for name in SCORES},
            **{name: _number(metrics.get(name)) for name in METRICS},
            **(_settings(config) if metrics.get("n_parameters_gp") else {}),
            "paper": paper_numbers(
                config.dataset.name, row.key, config.flow.name,
                Protocol.with_shape.value if protocol is None else protocol.value,
            ),
            "artifact": artifact.key,
        }
        for protocol in protocols
    ]  # fmt: skip


def _number(value: Any) -> float | int | None:
    """A number of a manifest, or null: manifests write what is not finite as words."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return value


def _settings(config: Config) -> dict[str, Any]:
    """How the row's GP flow was trained, for comparison with Tables 3 and 4."""
    return {"epochs": n_epochs(config), "batch_size": config.gp.batch_size, "lr": config.optimizer.gp.lr}
