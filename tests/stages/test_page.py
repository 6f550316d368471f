"""Stage `page`: from a report folder and its artefacts to one file; it trains nothing and says what it lacks."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpot.config import Config, compose
from gpot.errors import BadInput
from gpot.paper.items import Item
from gpot.report.page.arrays import unpack
from gpot.report.page.render import MOST_BYTES
from gpot.stages.common import open_store
from gpot.stages.page import page_stage, read_results
from gpot.stages.report import command_of, report_stage
from gpot.training.history import HISTORY
from tests.report.page_fixture import traversals
from tests.stages.test_toy_pipeline import only, tiny

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A report folder with Figure 4 on a few hundred points: the config, and the folder."""
    folder = tmp_path_factory.mktemp("page")
    config = only(tiny(folder, "experiment=fig4"), "gp", "ridge")
    report_stage(config, open_store(config))
    return config, Path(config.paths.report)


@pytest.fixture(scope="module")
def text(made: tuple[Config, Path]) -> str:
    """The page of that folder."""
    config, _ = made
    return page_stage(config, open_store(config)).read_text(encoding="utf-8")


def moved(config: Config, folder: Path) -> Config:
    """The same config with another report folder."""
    return dataclasses.replace(config, paths=dataclasses.replace(config.paths, report=str(folder)))


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_shows_what_is_there_and_names_what_is_not(made: tuple[Config, Path], text: str) -> None:
    _, folder = made
    assert len(text.encode()) < MOST_BYTES and (folder / "index.html").is_file()
    for item in map(str, Item):
        assert (f"make reproduce-{item}</code>" in text) == (item != "fig4")
    (group,) = data_of(text)["flows"]
    assert group["title"] == "two moons" and [flow["name"] for flow in group["flows"]] == ["BNAF+GP", "BNAF+GP (ridge)"]
    rows = {row["row"]: row for row in json.loads((folder / "fig4.json").read_text())["rows"]}
    for flow, key in zip(group["flows"], ("flow+gp", "flow+gp:ridge"), strict=True):
        frames, x = unpack(flow["frames"]), unpack(group["x"])
        costs = np.square(frames - x).sum(-1).mean(1)  # the view starts at f(x) and ends at s(f(x))
        assert len(frames) == 21
        assert abs(costs[0] - rows["flow"]["cost"]) < 1e-3 and abs(costs[-1] - rows[key]["cost"]) < 1e-3
    assert text.count("<svg") == 2 + 3, "log-determinants of two GP flows; courses of them and of the flow"
    assert "val/cost" in text and "Left out" not in text
    assert text.count('class="zoom"') == 3 and "experiment=fig4" in text


def test_the_same_results_give_the_same_page_and_make_nothing(made: tuple[Config, Path], text: str) -> None:
    config, _ = made
    before = set((Path(config.paths.artifacts)).glob("*/*"))
    assert page_stage(config, open_store(config)).read_text(encoding="utf-8") == text
    assert set((Path(config.paths.artifacts)).glob("*/*")) == before


def test_the_page_finds_the_options_of_each_result(made: tuple[Config, Path]) -> None:
    config, folder = made
    result = json.loads((folder / "fig4.json").read_text())
    assert result["command"] == command_of(config) and str(folder.parent) not in result["command"]
    other = compose("page", [f"paths.report={folder}", f"paths.artifacts={config.paths.artifacts}", "pretrained=null"])
    text = page_stage(other, open_store(other)).read_text(encoding="utf-8")
    assert len(data_of(text)["flows"]) == 1, "composed as the result was, not as the page"


def test_models_that_are_gone_are_said_to_be(made: tuple[Config, Path], tmp_path: Path) -> None:
    config, folder = made
    shutil.copy(folder / "fig4.json", tmp_path)
    empty = moved(config, tmp_path)
    empty.paths.artifacts = str(tmp_path / "artifacts")
    text = page_stage(empty, open_store(empty)).read_text(encoding="utf-8")
    assert data_of(text)["flows"] == [] and "Not in the store" in text and "evaluate/" in text
    assert "Left out of the view of GP flows" in text


def test_options_that_no_longer_compose_are_said(made: tuple[Config, Path], tmp_path: Path) -> None:
    config, folder = made
    result = json.loads((folder / "fig4.json").read_text())
    (tmp_path / "fig4.json").write_text(json.dumps({**result, "command": "python scripts/report.py gone=1"}))
    text = page_stage(moved(config, tmp_path), open_store(config)).read_text(encoding="utf-8")
    assert "Left out, its GP flows" in text and data_of(text)["flows"] == []


def test_traversals_that_are_there_are_shown_and_broken_ones_said(made: tuple[Config, Path], tmp_path: Path) -> None:
    config, folder = made
    shutil.copy(folder / "fig4.json", tmp_path)
    arrays = traversals()
    np.savez_compressed(
        tmp_path / "fig4_traversals.npz", images=arrays.images, panels=np.array(arrays.panels), kl=arrays.kl,
        values=arrays.values,
    )  # fmt: skip
    np.savez_compressed(tmp_path / "fig3_traversals.npz", images=arrays.images)
    text = page_stage(moved(config, tmp_path), open_store(config)).read_text(encoding="utf-8")
    assert [each["title"] for each in data_of(text)["traversals"]] == ["Figure 4"]
    assert "Figure 3. Left out, its traversals: fig3_traversals.npz must hold" in text, "though Figure 3 is not made"


def test_a_folder_without_results_gives_a_page_of_what_to_make(made: tuple[Config, Path], tmp_path: Path) -> None:
    config, _ = made
    text = page_stage(moved(config, tmp_path / "new"), open_store(config)).read_text(encoding="utf-8")
    assert text.count("not made yet: <code>") == 2 * len(Item)


@pytest.mark.parametrize("content", ["{", "[]", '{"item": "fig3", "rows": []}', '{"item": "fig4"}'])
def test_a_broken_result_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "fig4.json").write_text(content)
    with pytest.raises(BadInput, match="make reproduce-fig4"):
        read_results(tmp_path)


def test_history_is_kept_beside_the_weights_and_changes_no_key(made: tuple[Config, Path]) -> None:
    config, _ = made
    for stage, metric, epochs in (("gp", "val/cost", 1), ("flow", "val/nll", 2)):
        for folder in (Path(config.paths.artifacts) / stage).glob("[0-9a-f]*"):
            manifest = json.loads((folder / "manifest.json").read_text())
            assert HISTORY not in json.dumps(manifest["config"]) and HISTORY in manifest["files"]
            history = json.loads((folder / HISTORY).read_text())
            assert [entry["epoch"] for entry in history] == list(range(epochs))
            best = min(entry[metric] for entry in history)
            assert abs(best - manifest["metrics"][metric]) < 1e-4 * abs(best)
