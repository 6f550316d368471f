"""The summary of a sweep, from its jobs' records and the artefacts that they name: mean and spread over repetitions.

Jobs whose settings differ in a seed alone are repetitions. A group of them is one line of the table; the settings in
which the groups differ are its first columns, the others stand in the caption. What is not done is listed, with its
command and its error.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpot.errors import BadInput
from gpot.jsonable import jsonable
from gpot.paper import names
from gpot.places import released, typed
from gpot.plots.importance import save_figure
from gpot.plots.sweep_plot import Line, Panel, sweep_figure
from gpot.store import Artifact, Store
from gpot.sweeps.jobs import JobRecord, Status, read_records

SEEDS = ("seed", "gp.seed")
DEFAULT_METRICS = ("cost", "certificate", "logdet_error_mean")
COLUMNS = (
    "cost", "cost_data", "certificate", "energy", "nll_exact", "logdet_error_mean", "logdet_error_max", "escaped",
    "n_steps", *names.SCORES,
)  # fmt: skip


@dataclass(frozen=True)
class Spread:
    """n finite values: their mean, and their standard deviation (n - 1), None for one of them. bad: not finite."""

    values: tuple[float, ...]
    bad: int = 0

    @property
    def mean(self) -> float | None:
        """None where a value is not finite: the mean would hide it."""
        return statistics.fmean(self.values) if self.values and not self.bad else None

    @property
    def spread(self) -> float | None:
        return statistics.stdev(self.values) if len(self.values) > 1 and not self.bad else None


@dataclass
class Group:
    """The repetitions of one setting. settings: without seeds. metrics: by key. seconds: of training."""

    settings: dict[str, str]
    metrics: dict[str, Spread] = field(default_factory=dict)
    seconds: Spread = field(default_factory=lambda: Spread(()))
    n: int = 0


@dataclass
class Summary:
    """A sweep's groups, what they have in common, and the jobs that are not done."""

    name: str
    question: str
    x: str
    lines: str | None
    shown: list[str]
    common: dict[str, str]
    varying: list[str]
    groups: list[Group]
    missing: list[JobRecord]


def summarize(folder: Path) -> Summary:
    """The summary of the sweep in a folder.  Raises: BadInput if no job of it has an evaluation."""
    records = read_records(folder)
    if not records:
        raise BadInput(
            f"a sweep leaves records of its jobs in {folder}/jobs, and there are none. Run a sweep with -m first."
        )
    done: dict[tuple[tuple[str, str], ...], dict[str, tuple[Artifact, Artifact | None]]] = {}
    missing = []
    for record in records:
        result = evaluation(record) if record.status is Status.done else None
        if result is None:
            missing.append(record)
            continue
        group = tuple((name, value) for name, value in record.settings.items() if name not in SEEDS)
        # by key: where a setting changes nothing, or a seed was typed twice, one result must not count twice
        done.setdefault(group, {})[result[0].key] = result
    if not done:
        raise BadInput(
            f"none of the {len(records)} jobs in {folder} has an evaluation to summarize. Run it with: "
            f"{typed('evaluate')} -m {shlex.join(missing[0].overrides)}"
        )
    groups = [_group(dict(settings), list(result.values())) for settings, result in done.items()]
    options = list(dict.fromkeys(name for group in groups for name in group.settings))
    values = {name: {group.settings.get(name, "–") for group in groups} for name in options}
    varying = [name for name in options if len(values[name]) > 1]
    sweep = next((record.sweep for record in records if record.sweep is not None), None)
    x = sweep["x"] if sweep else (varying[0] if varying else options[0] if options else "seed")
    lines = sweep["lines"] if sweep else next((name for name in varying if name != x), None)
    order = [name for name in (lines, x, *varying) if name in varying]
    varying = list(dict.fromkeys(order))
    groups.sort(key=lambda group: [_order(group.settings.get(name, "–")) for name in varying])
    common = {name: next(iter(values[name])) for name in options if name not in varying}
    return Summary(
        sweep["name"] if sweep else folder.name, sweep["question"] if sweep else "", x, lines,
        list(sweep["metrics"]) if sweep else list(DEFAULT_METRICS), common, varying, groups, missing,
    )  # fmt: skip


def evaluation(record: JobRecord) -> tuple[Artifact, Artifact | None] | None:
    """The evaluation that a job returned and the GP flow behind it; None where the job did not evaluate, or the store
    no longer has it."""
    key = record.artifacts.get("evaluate")
    if key is None:
        return None
    store = Store(Path(record.store), released(record.pretrained))
    artifact = store.find("evaluate", key)
    if artifact is None:
        return None
    gp = artifact.manifest["inputs"].get("gp")
    return artifact, None if gp is None else store.find("gp", gp)


def metrics_of(artifact: Artifact) -> dict[str, Any]:
    """The numbers of an evaluation and its scores with shape; where the cost is on data, it has both names."""
    metrics = dict(artifact.manifest["metrics"])
    if artifact.manifest["config"].get("law", {}).get("source") == "data":
        metrics.setdefault("cost_data", metrics.get("cost"))
    return metrics | metrics.get("dci", {}).get("with_shape", {})


def _group(settings: dict[str, str], results: Sequence[tuple[Artifact, Artifact | None]]) -> Group:
    metrics = [metrics_of(artifact) for artifact, _ in results]
    spreads = {key: _spread(m[key] for m in metrics if m.get(key) is not None) for key in COLUMNS}
    nonempty = {key: spread for key, spread in spreads.items() if spread.values or spread.bad}
    seconds = _spread(gp.manifest["duration"] for _, gp in results if gp is not None)
    return Group(settings, nonempty, seconds, len(results))


def _spread(values: Iterable[Any]) -> Spread:
    """A manifest writes what is not finite as words."""
    entries = list(values)
    finite = tuple(float(v) for v in entries if not isinstance(v, str) and math.isfinite(v))
    return Spread(finite, len(entries) - len(finite))


def _order(value: str) -> tuple[int, float, str]:
    """Numbers before words, each in their order."""
    try:
        return 0, float(value), value
    except ValueError:
        return 1, 0.0, value


def table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Headings, and one line of texts per group: mean ± standard deviation over repetitions."""
    keys = [key for key in COLUMNS if any(key in group.metrics for group in summary.groups)]
    heads = [*summary.varying, "Repetitions", *(names.metric(key).heading for key in keys), "Training (s)"]
    lines = [
        [
            *(group.settings.get(name, names.NULL) for name in summary.varying),
            str(group.n),
            *(_text(key, group.metrics.get(key)) for key in keys),
            names.NULL if group.seconds.mean is None else f"{group.seconds.mean:.0f}",
        ]
        for group in summary.groups
    ]
    return heads, lines


def _text(key: str, spread: Spread | None) -> str:
    if spread is None:
        return names.NULL
    if spread.bad:
        return f"{spread.bad} not finite"
    return names.metric(key).text(spread.mean, spread.spread)


def markdown(summary: Summary) -> str:
    """The table, what all lines have in common, and the jobs that are not done."""
    heads, lines = table(summary)
    labels = len(summary.varying)
    text = [f"# Sweep {summary.name}", ""]
    text += [summary.question, ""] if summary.question else []
    text += ["| " + " | ".join(heads) + " |", "|" + " --- |" * labels + " ---: |" * (len(heads) - labels)]
    text += ["| " + " | ".join(line) + " |" for line in lines]
    text += ["", "Mean ± standard deviation over repetitions, which differ in a seed alone."]
    text += ["All lines: " + ", ".join(f"`{name}={value}`" for name, value in summary.common.items()) + "."]
    if summary.missing:
        text += ["", f"## Not done: {len(summary.missing)} jobs", ""]
        text += [f"- `{record.command}`: {why(record)}" for record in summary.missing]
    return "\n".join(text) + "\n"


def why(record: JobRecord) -> str:
    """Why a job is not in the table, in one line."""
    if record.status is Status.failed:
        return " ".join((record.error or "failed").split())
    if record.status is Status.running:
        return "killed, or still running"
    return "its evaluation is not in the store" if "evaluate" in record.artifacts else "trained, but not evaluated"


def payload(summary: Summary) -> dict[str, Any]:
    """The same as plain JSON; every value of every repetition."""
    return {
        "sweep": summary.name, "question": summary.question, "common": summary.common, "varying": summary.varying,
        "groups": [
            {
                "settings": group.settings, "repetitions": group.n,
                "metrics": {
                    key: {"mean": s.mean, "spread": s.spread, "values": list(s.values), "not_finite": s.bad}
                    for key, s in group.metrics.items()
                },
                "training_seconds": group.seconds.mean,
            }
            for group in summary.groups
        ],
        "missing": [{"command": record.command, "status": record.status.value, "why": why(record)}
                    for record in summary.missing],
    }  # fmt: skip


def panels(summary: Summary) -> list[Panel]:
    """One panel per metric that the sweep is about, of those that the results have."""
    result = []
    for key in summary.shown:
        metric = names.metric(key)
        lines: dict[str, dict[str, Spread]] = {}
        for group in summary.groups:
            if key in group.metrics and group.metrics[key].mean is not None:
                rest = {n: group.settings.get(n, names.NULL) for n in summary.varying if n != summary.x}
                label = ", ".join(f"{name}={value}" for name, value in rest.items())
                lines.setdefault(label, {})[group.settings.get(summary.x, names.NULL)] = group.metrics[key]
        if lines:
            plot_lines = tuple(
                Line(label, {x: spread.values for x, spread in points.items()}) for label, points in lines.items()
            )
            logarithmic, percent = metric.spec.endswith("e"), metric.spec.endswith("%")
            result.append(Panel(metric.heading, plot_lines, logarithmic, percent))
    return result


def write_summary(summary: Summary, folder: Path) -> list[Path]:
    """Write `<name>.md`, `.csv`, `.json`, and where there is something to draw `.png` and `.pdf`. Returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    heads, lines = table(summary)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([heads, *lines])
    written: Mapping[str, str] = {
        "md": markdown(summary),
        "csv": text.getvalue(),
        "json": json.dumps(jsonable(payload(summary)), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    }
    paths = []
    for suffix, content in written.items():
        paths.append(folder / f"{summary.name}.{suffix}")
        paths[-1].write_text(content, encoding="utf-8")
    figure_panels = panels(summary)
    if figure_panels:
        paths += save_figure(sweep_figure(summary.question, summary.x, figure_panels), folder / summary.name)
    return paths
