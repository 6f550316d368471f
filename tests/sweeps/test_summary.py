"""The summary of a sweep says what its artefacts say: means, spreads, repetitions, and what is missing."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import statistics
from pathlib import Path
from typing import Any

import pytest

from gpot.errors import BadInput
from gpot.plots.sweep_plot import Line, Panel, sweep_figure
from gpot.store import Store, content_key
from gpot.sweeps.jobs import JobRecord, Status, read_records
from gpot.sweeps.summary import markdown, payload, summarize, table, write_summary

SWEEP = {
    "name": "lambda", "question": "What for?", "x": "penalty.weight", "lines": "penalty.halvings",
    "metrics": ["cost", "logdet_error_mean"],
}  # fmt: skip


class Jobs:
    """Records and artefacts of jobs that never ran."""

    def __init__(self, folder: Path) -> None:
        self.sweep, self.root = folder / "lambda", folder / "artifacts"
        self.store, self.n = Store(self.root), 0

    def artifact(self, stage: str, config: dict[str, Any], metrics: dict[str, Any], inputs: dict[str, str]) -> str:
        key = content_key(stage, 1, config, inputs, None)
        given = {"version": 1, "config": config, "inputs": inputs, "data_hash": None, "seed": 0, "device": "cpu"}
        return self.store.make(stage, key, lambda _: metrics, given).key

    def add(self, metrics: dict[str, Any] | None, *, source: str = "data", **settings: str) -> JobRecord:
        """A job with these settings (`_` for `.`); None: it failed."""
        typed = {name.replace("_", "."): value for name, value in settings.items()}
        self.n += 1
        overrides = [f"{name}={value}" for name, value in typed.items()]
        record = JobRecord(
            f"{self.n:016x}", "evaluate", overrides, dict(sorted(typed.items())), "run", str(self.root), None, SWEEP
        )
        if metrics is None:
            record.status, record.error = Status.failed, "FidelityLost: the grid\nis too coarse"
        else:
            gp = self.artifact("gp", {"settings": typed}, {}, {})
            law = {"law": {"source": "data"}} if source == "data" else {}
            record.artifacts = {"evaluate": self.artifact("evaluate", law, metrics, {"gp": gp})}
            record.status = Status.done
        record.write(self.sweep)
        return record


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    jobs = Jobs(tmp_path)
    for weight in ("0.001", "0.0001", "0"):
        for halvings in ("0", "5"):
            for seed in range(3):
                metrics = {"cost": 1.0 + seed + float(weight), "logdet_error_mean": 1e-6 * (seed + 1), "escaped": 0}
                jobs.add(metrics, penalty_weight=weight, penalty_halvings=halvings, gp_seed=str(seed), budget="smoke")
    return jobs


def test_mean_and_spread_are_over_the_seeds(jobs: Jobs) -> None:
    summary = summarize(jobs.sweep)
    assert summary.varying == ["penalty.halvings", "penalty.weight"] and summary.common == {"budget": "smoke"}
    order = [(g.settings["penalty.halvings"], g.settings["penalty.weight"]) for g in summary.groups]
    assert order == [(h, w) for h in ("0", "5") for w in ("0", "0.0001", "0.001")], "numbers in their order"
    for group in summary.groups:
        values = [1.0 + seed + float(group.settings["penalty.weight"]) for seed in range(3)]
        assert group.n == 3 and group.metrics["cost"].mean == pytest.approx(statistics.fmean(values))
        assert group.metrics["cost"].spread == pytest.approx(statistics.stdev(values))
        assert group.metrics["cost_data"] == group.metrics["cost"], "the law of the cost is the data"
        assert "energy" not in group.metrics


def test_files_agree_and_the_figure_is_drawn(jobs: Jobs, tmp_path: Path) -> None:
    summary = summarize(jobs.sweep)
    paths = write_summary(summary, tmp_path / "out")
    assert [path.name for path in paths] == [f"lambda.{suffix}" for suffix in ("md", "csv", "json", "png", "pdf")]
    heads, *lines = csv.reader(io.StringIO(paths[1].read_text()))
    assert (heads, lines) == table(summary) and len(lines) == 6
    text = paths[0].read_text()
    assert text == markdown(summary) and "What for?" in text and "2.001 ± 1.000" in text and "Not done" not in text
    result = json.loads(paths[2].read_text())
    assert result == payload(summary) and [g["repetitions"] for g in result["groups"]] == [3] * 6
    assert len(result["groups"][0]["metrics"]["cost"]["values"]) == 3


def test_what_is_missing_is_listed_with_its_command(jobs: Jobs) -> None:
    jobs.add(None, penalty_weight="7", gp_seed="0")
    killed = jobs.add({"cost": 1.0}, penalty_weight="8", gp_seed="0")
    dataclasses.replace(killed, status=Status.running).write(jobs.sweep)
    trained = jobs.add({"cost": 1.0}, penalty_weight="9", gp_seed="0")
    dataclasses.replace(trained, artifacts={"gp": "0" * 16}, script="train_gp").write(jobs.sweep)
    gone = jobs.add({"cost": 1.0}, penalty_weight="10", gp_seed="0")
    dataclasses.replace(gone, artifacts={"evaluate": "0" * 16}).write(jobs.sweep)
    text = markdown(summarize(jobs.sweep))
    assert "## Not done: 4 jobs" in text and len(summarize(jobs.sweep).groups) == 6
    command = "- `python scripts/evaluate.py penalty.weight="
    assert command + "7 gp.seed=0`: FidelityLost: the grid is too coarse" in text
    assert command + "8 gp.seed=0`: killed, or still running" in text
    assert "scripts/train_gp.py penalty.weight=9 gp.seed=0`: trained, but not evaluated" in text
    assert command + "10 gp.seed=0`: its evaluation is not in the store" in text


def test_one_result_counts_once_and_nothing_is_hidden(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    first, *others = (jobs.add({"cost": 2.0}, penalty_weight="0", gp_seed=seed) for seed in ("0", "1", "2"))
    for record in others:  # the evaluation is one and the same
        dataclasses.replace(record, artifacts=first.artifacts).write(jobs.sweep)
    jobs.add({"cost": 3.0}, penalty_weight="1", gp_seed="0")
    jobs.add({"cost": float("nan")}, penalty_weight="1", gp_seed="1")
    once, bad = summarize(jobs.sweep).groups
    assert once.n == 1 and once.metrics["cost"].spread is None
    assert bad.n == 2 and bad.metrics["cost"].mean is None and "1 not finite" in markdown(summarize(jobs.sweep))


def test_a_sweep_of_ones_own_needs_no_group(tmp_path: Path) -> None:
    jobs = Jobs(tmp_path)
    for seed in ("0", "1"):
        for chart in ("cube", "direct"):
            record = jobs.add({"cost": float(seed), "cost_data": 4.0}, source="prior", gp_chart=chart, seed=seed)
            dataclasses.replace(record, sweep=None).write(jobs.sweep)
    summary = summarize(jobs.sweep)
    assert summary.name == "lambda" and summary.x == "gp.chart" and summary.lines is None
    assert [group.n for group in summary.groups] == [2, 2] and summary.groups[0].metrics["cost_data"].mean == 4.0


def test_nothing_to_summarize_says_what_to_type(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="Run a sweep with -m first"):
        summarize(tmp_path)
    jobs = Jobs(tmp_path)
    record = jobs.add({"cost": 1.0}, penalty_weight="9", gp_seed="0")
    dataclasses.replace(record, artifacts={"gp": "0" * 16}, script="train_gp").write(jobs.sweep)
    with pytest.raises(BadInput, match=r"python scripts/evaluate\.py -m penalty\.weight=9"):
        summarize(jobs.sweep)
    (jobs.sweep / "jobs" / "x.json").write_text("{}")
    with pytest.raises(BadInput, match=r"x\.json was to be the record of a job"):
        read_records(jobs.sweep)


def test_the_horizontal_axis_shows_what_was_run() -> None:
    def axis(*values: str) -> Any:
        line = Line("a", {value: (1.0, 2.0) for value in values})
        return sweep_figure("", "option", [Panel("Cost", (line,), logarithmic=True)]).axes[0]

    wide = axis("0.005", "0", "5e-05")
    assert wide.get_xscale() == "symlog" and list(wide.get_xticks()) == [0.0, 5e-5, 5e-3] and wide.get_yscale() == "log"
    assert axis("4", "8", "30").get_xscale() == "linear" and axis("1", "100").get_xscale() == "log"
    words = axis("[15,15]", "[30,30]")
    assert words.get_xscale() == "linear" and [t.get_text() for t in words.get_xticklabels()] == ["[15,15]", "[30,30]"]
    with pytest.raises(BadInput, match=r"Name metrics"):
        sweep_figure("", "x", [])


def test_a_fraction_is_drawn_in_percent() -> None:
    line = Line("a", {"4": (0.004,), "8": (0.012,)})
    plain, percent = sweep_figure("", "x", [Panel("", (line,)), Panel("", (line,), percent=True)]).axes
    assert plain.yaxis.get_major_formatter()(0.01, 0) != "1%" and "%" in percent.yaxis.get_major_formatter()(0.01, 0)
