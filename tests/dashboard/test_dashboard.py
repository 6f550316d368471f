"""The dashboard's specification: what it names is in the table of names, and nothing of it needs an account."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from gpot.commands import wandb_dashboard
from gpot.paper.printed import PRINTED
from gpot.tracking.dashboard import build
from gpot.tracking.dashboard.layout import names_of, paper_markdown, parts, settings_of
from gpot.tracking.names import LOGGED, SETTINGS, names
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_dashboard, "has_key", lambda: False)


def test_every_name_of_the_table_is_shown_and_no_other() -> None:
    spec = build.specification("team", "gpot")
    assert set(spec["names"]) == {entry.key for entry in LOGGED}
    assert set(spec["settings"]) <= set(SETTINGS) and {"lambda", "seed"} <= set(spec["settings"])
    for part in parts():
        assert names_of(part.panels) <= names(part.stages), part.title


def strings(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set().union(*(strings(item) for item in value.values()))
    if isinstance(value, list):
        return set().union(*(strings(item) for item in value))
    return {value} if isinstance(value, str) else set()


@pytest.mark.parametrize("half", ["workspace", "report"])
def test_the_json_itself_names_them(half: str) -> None:
    spec = build.specification("team", "gpot")
    there = strings(spec[half])
    for name in spec["names"]:
        assert any(name in (text, text.removeprefix("summary:")) for text in there), name
    stray = {text for text in there if re.fullmatch(r"(train|val|paper|penalty|domain|figures|report)/\w+", text)}
    assert stray == set(spec["names"])
    assert "lambda.value" in there and "config:seed.value" in there


def test_the_specification_is_always_the_same() -> None:
    assert build.specification("team", "gpot") == build.specification("team", "gpot")


def test_reference_lines_stand_beside_our_curves() -> None:
    lines = [set(p.y) for part in parts() for p in part.panels if isinstance(p, wr.LinePlot)]
    for ours, paper in (("val/cost", "cost"), ("val/energy", "energy"), ("val/nll_exact", "nll"), ("val/nll", "nll")):
        assert any({ours, f"paper/{paper}"} <= line for line in lines), ours
    text = paper_markdown()
    shown = [number for number in PRINTED if number.item in ("table2", "fig3", "fig4")]
    assert text.count("\n| ") == len(shown) + 2 and all(f"| {number.text} |" in text for number in shown)


def test_seeds_and_lambda_are_compared() -> None:
    (part,) = (part for part in parts() if part.title == "Seeds and lambda")
    assert settings_of(part.panels) == {"lambda", "seed"}
    grouped = [panel for panel in part.panels if getattr(panel, "groupby", None) is not None]
    assert len(grouped) == 4 and all(panel.groupby_rangefunc == "minmax" for panel in grouped)


def test_grids_of_the_report_have_the_runs_of_their_stages() -> None:
    grids = [block for block in build.blocks() if isinstance(block, wr.PanelGrid)]
    for part, grid in zip(parts(), grids, strict=True):
        assert [runs.filters for runs in grid.runsets] == [f"Config('stage') = '{stage}'" for stage in part.stages]


@pytest.mark.parametrize("arguments", [["--dry-run"], []])
def test_a_dry_run_writes_the_specification(
    tmp_path: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert wandb_dashboard.main([*arguments, "--folder", str(tmp_path / "wandb"), "--project", "p"]) == 0
    out, err = capsys.readouterr()
    file = tmp_path / "wandb" / "dashboard.json"
    assert out.strip() == str(file) and ("no API key" in err) == (arguments == [])
    assert json.loads(file.read_text()) == build.specification("ENTITY", "p")


def test_check_without_runs_says_what_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert wandb_dashboard.main(["--check", "--folder", str(tmp_path)]) == 1
    assert re.search(r"BadInput: no offline run .*logger=wandb", capsys.readouterr().err)


def test_a_second_upload_changes_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Any] = []

    class View:
        def __init__(self, url: str) -> None:
            self.url, self.sections, self.blocks = url, [], []

        def save(self) -> None:
            saved.append(self)

    monkeypatch.setattr(build, "workspace", lambda entity, project: View(f"https://w/{entity}/{project}"))
    monkeypatch.setattr(build, "report", lambda entity, project: View(f"https://r/{entity}/{project}"))
    monkeypatch.setattr(ws.Workspace, "from_url", lambda url: View(url))
    monkeypatch.setattr(wr.Report, "from_url", lambda url: View(url))
    known = tmp_path / "addresses.json"
    first = build.upload("team", "gpot", known)
    assert build.upload("team", "gpot", known) == first and len(saved) == 4
    assert len(saved[2].sections) == len(parts()) and len(saved[3].blocks) > len(parts())
    assert build.upload("other", "gpot", known)["workspace"] == "https://w/other/gpot"


def test_the_documented_table_is_the_table() -> None:
    text = (ROOT / "docs" / "wandb.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+/\w+)` \| ([^|]+) \|.*\| ([^|]+) \|$", text, re.MULTILINE)
    assert rows == [(entry.key, ", ".join(entry.stages), entry.when.value) for entry in LOGGED]
    settings = re.findall(r"^\| `(\w+)` \|", text.split("| setting of a run |")[1], re.MULTILINE)
    assert settings == list(SETTINGS)
