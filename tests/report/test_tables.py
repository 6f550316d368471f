"""Tables: every number where it belongs, the same in all formats; files written whole or not at all."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import re
import socket
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console

from gpot.errors import BadInput
from gpot.paper import names
from gpot.paper.printed import paper_numbers
from gpot.report import tables
from gpot.report.terminal import terminal

METRIC_VALUES = {
    "cost": 5.3612,
    "cost_stderr": 0.0123,
    "cost_data": 5.4,
    "nll_analytic": -16.59,
    "nll_exact": -16.5903,
    "logdet_error_mean": 8e-6,
    "logdet_error_max": 3e-4,
    "energy": 0.41,
    "roundtrip": 2e-7,
    "optimum_lower": 5.32,
    "gap_upper": 0.0076,
    "gap_upper_stderr": 0.0002,
    "certificate": 0.0123,
    "certificate_stderr": 0.001,
    "escaped": 0,
}


def table_1() -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    for k, protocol in enumerate(names.PROTOCOLS):
        for j, row in enumerate(("latent", "flow", "flow+gp:ridge")):
            scores = {"disentanglement": 0.5 + 0.1 * k + 0.01 * j, "completeness": 0.7, "informativeness": 0.6}
            shared = dict.fromkeys(METRIC_VALUES) if row == "latent" else METRIC_VALUES
            paper = paper_numbers("dsprites", row, "ffjord")  # with scores, whatever the protocol
            rows.append({"row": row, "protocol": protocol, **scores, **shared, "paper": paper, "artifact": f"key{j}"})
    return {
        "item": "table1",
        "budget": "quick",
        "seconds": 12.345678,
        "seed": 0,
        "versions": {"torch": "2.6"},
        "rows": rows,
    }


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def markdown_tables(text: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE)
    return [[cells(line) for line in block.splitlines()] for block in blocks]


def test_markdown_sets_the_papers_number_and_the_difference_beside_ours() -> None:
    text = tables.markdown(table_1())
    scores, transport = markdown_tables(text)
    assert {len(row) for row in scores} == {2 + 3 * 3}
    assert scores[0][:5] == ["Model", "Factors", "Disentanglement ↑", "paper", "diff."]
    assert [row[:5] for row in scores[2:]] == [
        ["Initial latent space", "with shape", "0.500", "0.58", "-0.080"],
        ["FFJORD", "with shape", "0.510", "0.39", "+0.120"],
        ["FFJORD+GP (ridge)", "with shape", "0.520", "0.59", "-0.070"],
        ["Initial latent space", "continuous only", "0.600", "–", "–"],
        ["FFJORD", "continuous only", "0.610", "–", "–"],
        ["FFJORD+GP (ridge)", "continuous only", "0.620", "–", "–"],
    ]
    # once per model, whatever the number of protocols; every metric has its column, and null is a dash
    assert [row[0] for row in transport[2:]] == ["Initial latent space", "FFJORD", "FFJORD+GP (ridge)"]
    assert set(transport[2][1:]) == {"–"}
    gp = dict(zip(transport[0], transport[4], strict=True))
    assert (
        gp["Cost ↓"] == "5.361 ± 0.012"
        and gp["Improvable by exchange ↓"] == "1.23% ± 0.10%"
        and gp["Optimum between"] == "5.320 and 5.361"
        and gp["Above optimum by at most ↓"] == "0.76% ± 0.02%"
        and gp["Escaped (particles) ↓"] == "0"
    )
    assert transport[4][2:4] == ["5.60", "-0.239"]
    assert dict(zip(transport[0], transport[2], strict=True))["Optimum between"] == "–"
    assert all(names.METRICS[key].heading in transport[0] for key in names.TRANSPORT)
    assert text.endswith("- budget: quick\n- seconds: 12.3457\n- seed: 0\n- versions: torch 2.6\n")
    assert text.startswith("# Table 1: ")


def test_all_formats_show_the_same_cells() -> None:
    payload = table_1()
    found = tables.grids(payload)
    assert markdown_tables(tables.markdown(payload)) == [
        [grid.heads, [":--" if k < grid.n_labels else "--:" for k in range(len(grid.heads))], *map(list, grid.rows)]
        for grid in found
    ]
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(terminal(payload, 400))
    shown = console.export_text()
    latex = tables.latex(payload)
    for grid in found:
        for row in grid.rows:
            for text in row:
                assert text in shown
                assert text.replace("–", "--").replace("±", r"$\pm$").replace("%", r"\%").lstrip("+-") in latex
    assert "(nats)" in shown and "versions: torch 2.6" in shown


def test_latex_is_well_formed() -> None:
    payload = table_1()
    payload["note"] = r"50% of a_b & c\d {x} ~ #1 $2 ^"
    text = tables.latex(payload)
    assert r"50\% of a\_b \& c\textbackslash{}d \{x\} \textasciitilde{} \#1 \$2 \textasciicircum{}" in text
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2
    assert text.count(r"\toprule") == text.count(r"\midrule") == text.count(r"\bottomrule") == 2
    for alignment, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, flags=re.DOTALL):
        lines = [line for line in body.splitlines() if line.endswith(r"\\")]
        for line in lines:
            spans = [int(n) - 1 for n in re.findall(r"\\multicolumn\{(\d+)\}", line)]
            assert len(re.findall(r"(?<!\\)&", line)) + 1 + sum(spans) == len(alignment), line
    unescaped = re.sub(r"\\[\\{}%&$#_]", "", text)
    assert unescaped.count("{") == unescaped.count("}")
    assert text.isascii()


def test_csv_is_unrounded_and_empty_where_there_is_no_number() -> None:
    records = list(csv.DictReader(io.StringIO(tables.csv_text(table_1()))))
    assert len(records) == 6
    gp = records[2]
    assert (gp["row"], gp["name"], gp["protocol"], gp["artifact"]) == (
        "flow+gp:ridge",
        "FFJORD+GP (ridge)",
        "with_shape",
        "key2",
    )
    assert float(gp["cost"]) == 5.3612 and float(gp["cost_stderr"]) == 0.0123 and float(gp["paper_cost"]) == 5.6
    assert float(gp["difference_cost"]) == pytest.approx(5.3612 - 5.6, abs=1e-12)
    assert records[0]["cost"] == records[0]["difference_cost"] == ""
    assert records[5]["paper_disentanglement"] == records[5]["difference_disentanglement"] == ""
    assert records[5]["paper_cost"] == "5.6"


def test_rows_that_differ_are_not_merged() -> None:
    payload = table_1()
    payload["rows"][4]["cost"] = 7.0  # the flow, continuous
    payload["rows"][5]["cost"] = None  # the GP flow, continuous: nothing new
    transport = markdown_tables(tables.markdown(payload))[1]
    assert [row[:2] for row in transport[3:]] == [
        ["FFJORD", "5.361 ± 0.012"],
        ["FFJORD+GP (ridge)", "5.361 ± 0.012"],
        ["FFJORD", "7.000 ± 0.012"],
    ]


def test_figure_without_scores_and_two_datasets() -> None:
    numbers = {"cost": 1.05, "energy": 0.3}
    row = {"row": "flow+gp", "paper": paper_numbers("two_moons", "flow+gp"), **numbers}
    (only,) = tables.grids({"item": "fig4", "rows": [row]})
    assert only.title == "Transport and fidelity" and only.rows[0][0] == "BNAF+GP"
    energy = only.heads.index("Energy ↓")
    assert only.rows[0][energy : energy + 3] == ("0.300", "0.28", "+0.020")

    rows = [
        {"row": "flow", "dataset": d, "cost": c, "paper": paper_numbers(d, "flow")}
        for d, c in (("dsprites", 10.0), ("mnist", 7.0))
    ]
    (both,) = tables.grids({"item": "table2", "rows": rows})
    assert [line[:5] for line in both.rows] == [
        ("FFJORD", "dSprites", "10.000", "10.45", "-0.450"),
        ("FFJORD", "MNIST", "7.000", "6.81", "+0.190"),
    ]
    settings = {"item": "table3", "rows": [{"row": "flow+gp", "n_parameters_gp": 332, "lr": 0.01, "flow": "zuko"}]}
    (grid,) = tables.grids(settings)
    assert grid.title == "Settings" and grid.rows[0][0] == "zuko+GP" and grid.rows[0][2] == "332"


def test_write_all_writes_four_files_and_no_nan(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Budget(str, Enum):
        quick = "quick"

    payload = table_1()
    payload["budget"] = Budget.quick
    payload["rows"][1].update(cost=math.nan, energy=np.float32(0.5), escaped=torch.tensor(2), roundtrip=-math.inf)
    payload["rows"][1]["per_factor"] = np.array([0.1, np.nan])
    folder = tmp_path / "report" / "tables"
    with caplog.at_level(logging.WARNING):
        paths = tables.write_all(folder, "table1", payload)
    assert sorted(path.name for path in folder.iterdir()) == ["table1.csv", "table1.json", "table1.md", "table1.tex"]
    assert {suffix: path.name for suffix, path in paths.items()} == {
        s: f"table1.{s}" for s in ("md", "tex", "csv", "json")
    }
    for place in ("rows.1.cost", "rows.1.roundtrip", "rows.1.per_factor.1"):
        assert place in caplog.text

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    stored = json.loads(paths["json"].read_text(encoding="utf-8"), parse_constant=refuse)
    row = stored["rows"][1]
    assert (row["cost"], row["energy"], row["escaped"], row["roundtrip"]) == (None, 0.5, 2, None)
    assert row["per_factor"] == [0.1, None] and stored["budget"] == "quick"
    assert "nan" not in "".join(path.read_text(encoding="utf-8") for path in paths.values()).lower()
    # what is stored renders to what was written
    assert tables.markdown(stored) == paths["md"].read_text(encoding="utf-8")
    assert tables.csv_text(stored) == paths["csv"].read_text(encoding="utf-8")


def test_write_all_replaces_whole_files_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables.write_all(tmp_path, "table1", table_1())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    broken = table_1()
    broken["rows"][5]["row"] = "flow+magic"
    with pytest.raises(BadInput, match=r"got 'flow\+magic'"):
        tables.write_all(tmp_path, "table1", broken)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        tables.write_all(tmp_path, "table1", table_1())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_errors_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs 'rows'"):
        tables.markdown({"item": "table1"})
    with pytest.raises(BadInput, match="need 'protocol', one of with_shape, continuous; got None"):
        tables.markdown({"item": "table1", "rows": [{"row": "flow", "completeness": 0.3}]})
    with pytest.raises(BadInput, match="'table1', and 'table2' was asked for"):
        tables.write_all(tmp_path, "table2", table_1())
    with pytest.raises(BadInput, match="An item names files"):
        tables.write_all(tmp_path, "../table1", table_1())
    with pytest.raises(BadInput, match=r"'rows\.0\.cost' is a set"):
        tables.write_all(tmp_path, "x", {"rows": [{"row": "flow", "cost": {1}}]})
    assert list(tmp_path.iterdir()) == []


def table_2() -> dict[str, Any]:
    """A GP flow of three seeds, and its flow."""
    gp = {
        "row": "flow+gp", "dataset": "dsprites", "flow": "ffjord", "seeds": [1, 2, 3], "cost": 5.5, "cost_stderr": 0.01,
        "cost_spread": 0.04, "certificate": 0.01, "certificate_spread": 0.002, "escaped": 0, "escaped_spread": None,
        "values": {"cost": [5.46, 5.5, 5.54]}, "paper": {"cost": 5.6}, "artifact": "a", "artifacts": ["a", "b", "c"],
    }  # fmt: skip
    flow = {
        "row": "flow", "dataset": "dsprites", "flow": "ffjord", "seeds": [], "cost": 10.4, "cost_spread": None,
        "certificate": 0.4, "escaped": 0, "values": {}, "paper": {"cost": 10.45}, "artifact": "d", "artifacts": ["d"],
    }  # fmt: skip
    return {"item": "table2", "rows": [flow, gp]}


def test_a_mean_over_seeds_has_its_spread_and_the_paper_in_spreads() -> None:
    (transport,) = markdown_tables(tables.markdown(table_2()))
    assert transport[0][:7] == ["Model", "Seeds", "Cost ↓", "spread", "paper", "diff.", "in spreads"]
    assert transport[2][:7] == ["FFJORD", "–", "10.400", "–", "10.45", "-0.050", "–"]
    assert transport[3][:7] == ["FFJORD+GP", "3", "5.500 ± 0.010", "0.040", "5.60", "-0.100", "-2.5"]
    (grid,) = tables.grids(table_2())
    groups = dict(grid.groups)
    assert groups["Improvable by exchange ↓"] == ("ours", "spread") and groups["Escaped (particles) ↓"] == ("",)
    assert "standard deviation" in grid.note and "standard deviation" not in tables.grids(table_1())[0].note
    flow, gp = csv.DictReader(io.StringIO(tables.csv_text(table_2())))
    assert (gp["cost_spread"], gp["seeds"], flow["cost_spread"], flow["seeds"]) == ("0.04", "1 2 3", "", "")
    assert "values" not in gp and "escaped_spread" not in gp


def test_metrics_that_no_row_has_can_be_left_out() -> None:
    groups = (("Model", ("",)), ("Cost", ("ours", "paper")), ("Energy", ("ours", "paper")), ("MIG", ("",)))
    grid = tables.Grid("Scores", groups, (("a", "1", "–", "–", "–", "–"), ("b", "–", "–", "–", "–", "2")), 1)
    found = tables.without_empty(grid)
    assert found.groups == (groups[0], groups[1], groups[3])
    assert found.rows == (("a", "1", "–", "–"), ("b", "–", "–", "2"))


def test_files_that_a_killed_writer_left_go(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".table1.md.{socket.gethostname()}-{ended.pid}-0123abcd"
    left.write_text("half")
    tables._replace(tmp_path / "table1.md", "whole\n")
    assert [path.name for path in tmp_path.iterdir()] == ["table1.md"]
