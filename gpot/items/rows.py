"""The rows of a result: which maps stand in a table or figure, and the numbers of each."""

from __future__ import annotations

import dataclasses
import logging
import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from gpot.config import sibling
from gpot.config.schema import Config, EuclideanCost, GpConfig, ImagesConfig, OptimizerConfig, PenaltyConfig
from gpot.evaluation.disentanglement.dci import Protocol
from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.printed import paper_numbers
from gpot.paper.rows import Row
from gpot.stages.pipeline import Pipeline
from gpot.stages.side_by_side import make_all, shared_threads
from gpot.stages.stage import Stage, Workshop
from gpot.store import Artifact
from gpot.training import families

log = logging.getLogger(__name__)

# Every row has every key; a metric that does not apply to it is null
_MEASURED = names.with_stderr(names.EVALUATED)
_SCORES = names.SCORES + names.MORE_SCORES
_BOUNDED = (Item.table1, Item.table2, Item.fig3, Item.fig4)  # of costs
# Tables about how GP flows are trained, and which of them the paper prints
_SETTINGS_OF = {Item.table3: ("flow+gp",), Item.table4: ("flow+gp", "flow+gp+euler")}


@dataclass(frozen=True)
class ReportRow:
    """One map: its printed key (`flow+gp:ridge`), what is evaluated, and the config that makes it, one for each seed of
    its GP flow where the row is a mean over these. guide: of the GP flow whose pairs its bound's potential is fitted
    on, the same for all rows after one flow; None: those of the best rotation."""

    key: str
    row: Row
    configs: tuple[Config, ...]
    guide: Config | None = None

    @property
    def config(self) -> Config:
        """Of the first repetition, which figures show."""
        return self.configs[0]

    @cached_property
    def pipelines(self) -> tuple[Pipeline, ...]:
        """The stages of each repetition."""
        return tuple(Pipeline(config, self.guide) for config in self.configs)

    @property
    def seeds(self) -> list[int]:
        """Of the GP flows; none for a row without one."""
        return [config.gp_seed for config in self.configs] if self.row.moves else []


@dataclass(frozen=True)
class RowResult:
    """A row, and what was measured of it: an artefact of stage `evaluate`, or `traversals`, for each repetition.

    bounds: of stage `bounds`, one for each repetition where the item is about costs; none else.
    """

    row: ReportRow
    artifacts: tuple[Artifact, ...]
    bounds: tuple[Artifact, ...] = ()

    @property
    def artifact(self) -> Artifact:
        """Of the first repetition."""
        return self.artifacts[0]

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """Of each repetition."""
        measured = [artifact.manifest["metrics"] for artifact in self.artifacts]
        if not self.bounds:
            return measured
        bounded = [artifact.manifest["metrics"] for artifact in self.bounds]
        bounds = names.with_stderr(names.BOUNDS)
        return [own | {name: of[name] for name in bounds} for own, of in zip(measured, bounded, strict=True)]

    def repetitions(self) -> Iterator[tuple[Pipeline, Artifact]]:
        """Each repetition with its stages."""
        yield from zip(self.row.pipelines, self.artifacts, strict=True)


def report_rows(config: Config) -> list[ReportRow]:
    """The rows of the config's item, in the order of the table: codes, flows, the rotation, GP flows.

    Those with a GP flow have a repetition for each of `report.seeds` where the item is about costs or scores; of any
    other item the first of these seeds is shown. A variant that is an earlier row again (the paper's field,
    at the paper's budget) has no row of its own.
    """
    item = config.report.item
    if config.report.parts:
        parts = [report_rows(sibling(config, part)) for part in config.report.parts]
        return [row for rows in parts for row in _of_part(item, rows)]
    seeds = config.report.seeds if item.repeated else config.report.seeds[:1]
    coded = isinstance(config.dataset, ImagesConfig) and (item is Item.table1 or item.traversal)
    first = [ReportRow("latent", Row.latent, (config,))] if coded else []
    flows: list[ReportRow] = []
    gps: list[ReportRow] = []
    for variant in config.report.variants.values():
        groups = {name: getattr(variant, name) for name in ("flow", "gp", "penalty")}
        variant_config = dataclasses.replace(
            config, **{name: group for name, group in groups.items() if group is not None}
        )
        suffix = f":{variant.label}" if variant.label else ""
        if variant.flow is not None and variant.gp is None and variant.penalty is None:
            flows.append(ReportRow(variant.flow.name + suffix, Row.flow, (variant_config,)))
        else:
            row, gp = variant_config.gp_row, variant_config.gp
            seeded = [dataclasses.replace(gp, seed=seed) for seed in seeds] or [gp]
            configs = tuple(dataclasses.replace(variant_config, gp=each) for each in seeded)
            if any(configs == each.configs for each in gps):  # the paper's field, where the run's own is that one
                continue
            gps.append(ReportRow(row.value + suffix, row, configs))
    own = [ReportRow("flow", Row.flow, (config,))]
    if not item.traversal:
        own += [ReportRow("flow+rotation", Row.rotation, (config,))]
    return _guided([*first, *flows, *own, *gps])


def _guided(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """The rows, each with the first GP flow after its own frozen flow as its guide."""
    guides = [row.config for row in rows if row.row.moves]
    chosen = [next((guide for guide in guides if guide.flow == row.config.flow), None) for row in rows]
    return [dataclasses.replace(row, guide=guide) for row, guide in zip(rows, chosen, strict=True)]


def _of_part(item: Item, rows: Sequence[ReportRow]) -> Iterator[ReportRow]:
    """Of another item's rows, those that a collecting table is about: of settings the paper's own GP flows, of costs
    all that have one."""
    printed = _SETTINGS_OF.get(item)
    for row in rows:
        if printed is None and row.row is not Row.latent:
            yield row
        elif printed is not None and row.key in printed:
            yield dataclasses.replace(row, configs=row.configs[:1])  # settings are the same for every seed


def paper_settings(config: Config) -> list[dict[str, Any]]:
    """Of a table of settings: its rows as `budget=paper` configures them, for comparison with the printed ones. Nothing
    is trained for them, so they have no measured numbers."""
    printed = _SETTINGS_OF.get(config.report.item)
    if printed is None or config.budget.name == "paper":
        return []
    trained = ("scale", "gp", "optimizer")  # what the paper's budget says, whatever was typed
    papers = [sibling(config, part, trained, for_settings=True, budget="paper") for part in config.report.parts]
    rows = [row for paper in papers for row in report_rows(paper)]
    return [_configured(row) for row in rows if row.key in printed]


def _configured(row: ReportRow) -> dict[str, Any]:
    config = row.config
    return {
        **_named(row, None),
        "row": f"{row.key}:paper budget",
        "seeds": [],
        **dict.fromkeys((*_SCORES, *_MEASURED)),
        **_settings(config.gp, config.penalty, config.optimizer.gp),
        "n_steps": config.gp.n_steps,
        **families.sizes(config.flow, config.gp, config.dataset.dim),
        "values": {},
        "artifact": None,
        "artifacts": [],
    }


def row_results(
    rows: Sequence[ReportRow], item: Item, workshop: Workshop, jobs: int = 1, also: Sequence[Stage] = ()
) -> list[RowResult]:
    """Each row with its evaluation, or its traversals where the item is about those, made where it is missing.

    Arguments: jobs: processes that make them side by side. also: further results that they make meanwhile.
    """
    measuring = [tuple(_measuring(each, row.row, item) for each in row.pipelines) for row in rows]
    bounding = [_bounding(row) if item in _BOUNDED else () for row in rows]
    every = [stage for stages in (*measuring, *bounding) for stage in stages]
    with shared_threads(jobs):
        workshop.announce(every)
        make_all(workshop, [*every, *also], jobs)
    results = []
    for row, measured, bounded in zip(rows, measuring, bounding, strict=True):
        log.info("%s: %s, row %s", item.value, row.config.dataset.name, row.key)
        results.append(RowResult(row, tuple(map(workshop.make, measured)), tuple(map(workshop.make, bounded))))
    return results


def _measuring(pipeline: Pipeline, row: Row, item: Item) -> Stage:
    return pipeline.traversals(row) if item.traversal else pipeline.evaluation(row)


def _bounding(row: ReportRow) -> tuple[Stage, ...]:
    bounded = row.row is not Row.latent and isinstance(row.config.cost, EuclideanCost)
    return tuple(pipeline.bounds(row.row) for pipeline in row.pipelines) if bounded else ()


def entries(result: RowResult, item: Item) -> list[dict[str, Any]]:
    """What the result's JSON says of a row: one entry, or where the item has scores one per protocol of them.

    A metric is the mean over repetitions, `<metric>_spread` their standard deviation (null for a single one), `values`
    has each; a standard error, which is of the same points in all of them, is the mean one.
    """
    row, config = result.row, result.row.config
    scored = item is Item.table1 and all("dci" in metrics for metrics in result.metrics)
    measured = names.with_stderr(names.TRAVERSALS) if item.traversal else _MEASURED
    settings = _settings(config.gp, config.penalty, config.optimizer.gp)
    rows = []
    for protocol in list(Protocol) if scored else [None]:
        scores = [{} if protocol is None else metrics["dci"][protocol.value] for metrics in result.metrics]
        values = {name: [_number(each.get(name)) for each in scores] for name in _SCORES}
        values |= {name: [_number(each.get(name)) for each in result.metrics] for name in measured}
        rows.append({
            **_named(row, protocol),
            "seeds": row.seeds,
            **{name: _mean(each) for name, each in values.items()},
            **{f"{name}_spread": _spread(each) for name, each in values.items() if name in names.METRICS},
            **(settings if result.metrics[0].get("n_parameters_gp") else {}),
            "values": {name: each for name, each in values.items() if row.seeds and set(each) != {None}},
            **({"paper": {}} if item.traversal else {}),
            "artifact": result.artifact.key,
            "artifacts": [artifact.key for artifact in result.artifacts],
        })  # fmt: skip
    return rows


def _named(row: ReportRow, protocol: Protocol | None) -> dict[str, Any]:
    """Which row of a result an entry is, and what the paper prints of it."""
    dataset, flow = row.config.dataset.name, row.config.flow.name
    printed = paper_numbers(dataset, row.key, flow, (protocol or Protocol.with_shape).value)
    named = {"row": row.key, "dataset": dataset, "flow": flow, "protocol": None if protocol is None else protocol.value}
    return named | {"paper": printed}


def _mean(values: Sequence[float | None]) -> float | None:
    """Of all repetitions; null where one of them has no number. A single number stays as it is."""
    numbers = [value for value in values if value is not None]
    if len(numbers) < len(values):
        return None
    return numbers[0] if len(numbers) == 1 else statistics.fmean(numbers)


def _spread(values: Sequence[float | None]) -> float | None:
    """Standard deviation over repetitions, as of a sample; null for fewer than two."""
    numbers = [value for value in values if value is not None]
    return statistics.stdev(numbers) if 1 < len(numbers) == len(values) else None


def _number(value: Any) -> float | int | None:
    """A number of a manifest, or null: manifests write what is not finite as words."""
    if value is None or isinstance(value, str) or not math.isfinite(value):
        return None
    return value


def _settings(gp: GpConfig, penalty: PenaltyConfig, optimizer: OptimizerConfig) -> dict[str, Any]:
    """How the row's GP flow was trained, for comparison with Tables 3 and 4."""
    return {
        "epochs": families.n_epochs(gp, penalty),
        "batch_size": gp.batch_size,
        "lr": families.gp_optimizer(gp, optimizer).lr,
    }
