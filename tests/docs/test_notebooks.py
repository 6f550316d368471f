"""The notebooks of docs/notebooks run from top to bottom: their cells as they are, in a fresh namespace."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from tests.conftest import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


def cells(path: Path, kind: str = "code") -> list[str]:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


@pytest.fixture
def _drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    matplotlib.use("agg")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    plt.close("all")


def run(path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the cells leave, executed in the notebook's folder as Jupyter does."""
    monkeypatch.chdir(path.parent)
    scope: dict[str, Any] = {"__name__": "__main__"}
    for number, source in enumerate(cells(path)):
        exec(compile(source, f"{path.name}, code cell {number}", "exec"), scope)
    return scope


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_draws(path: Path, monkeypatch: pytest.MonkeyPatch, _drawing: None) -> None:
    scope = run(path, monkeypatch)
    assert plt.get_fignums()
    assert isinstance(scope["x"], torch.Tensor) and scope["x"].isfinite().all()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_output_is_kept(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert all(cell["outputs"] == [] for cell in notebook["cells"] if cell["cell_type"] == "code")


def test_there_is_a_notebook_and_a_page_per_use() -> None:
    assert {path.stem for path in NOTEBOOKS} == {"interpolation", "ranks", "paths"}
    for path in NOTEBOOKS:
        assert f"notebooks/{path.name}" in (ROOT / "docs" / f"{path.stem}.md").read_text(encoding="utf-8")
