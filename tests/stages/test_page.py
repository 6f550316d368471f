"""The page of results that stage `report` wrote: read from the report folder alone, and it says what it lacks."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpot.config import Config
from gpot.errors import BadInput
from gpot.items.report import command_of, report_item
from gpot.paper.items import Item
from gpot.report.page.arrays import unpack
from gpot.report.page.build import write_page
from gpot.report.page.render import MOST_BYTES
from gpot.report.page.results import read_arrays, read_results
from gpot.stages.stage import open_workshop
from gpot.training.history import HISTORY
from tests.report.page_fixture import traversals
from tests.stages.test_toy_pipeline import only, tiny

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Path]:
    """A report folder with Figure 4 on a few hundred points: the config, and the folder."""
    folder = tmp_path_factory.mktemp("page")
    config = only(tiny(folder, "experiment=fig4"), "gp", "ridge")
    report_item(config, open_workshop(config))
    return config, Path(config.paths.report)


@pytest.fixture(scope="module")
def text(made: tuple[Config, Path]) -> str:
    """The page of that folder."""
    return page_of(made[1])


def page_of(folder: Path) -> str:
    return write_page(folder).read_text(encoding="utf-8")


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


def test_a_copy_of_the_folder_gives_the_same_page(made: tuple[Config, Path], text: str, tmp_path: Path) -> None:
    """No config, no store: all that the page shows lies in the folder."""
    shutil.copytree(made[1], tmp_path / "copy")
    assert page_of(tmp_path / "copy") == text


def test_a_result_says_what_stands_behind_it(made: tuple[Config, Path]) -> None:
    config, folder = made
    result, arrays = json.loads((folder / "fig4.json").read_text()), read_arrays(folder, "fig4")
    assert result["command"] == command_of(config.typed) and str(folder.parent) not in result["command"]
    assert [model["stage"] for model in result["models"]] == ["flow", "gp", "gp"]
    assert [model["row"] for model in result["models"]] == ["flow", "flow+gp", "flow+gp:ridge"]
    # points, flow, pairs, rotation, what is held out, two GP flows, and an evaluation for each of four rows
    assert result["origin"]["n_artifacts"] == 11 and result["origin"]["missing"] == []
    for model in result["models"]:
        course = arrays[f"history_{model['key']}"]
        best = np.nanmin(course[model["watched"].index(model["metric"])])
        assert abs(best - model["best"]) < 1e-4 * abs(model["best"])
        assert (f"errors_{model['key']}" in arrays) == (model["stage"] == "gp")


def test_arrays_that_are_gone_are_said_to_be(made: tuple[Config, Path], tmp_path: Path) -> None:
    shutil.copy(made[1] / "fig4.json", tmp_path)
    text = page_of(tmp_path)
    assert data_of(text)["flows"] == [] and "<svg" not in text
    assert "Left out, its models, curves and moving views: fig4_page.npz is not in the report folder" in text
    (tmp_path / "fig4_page.npz").write_bytes(b"no arrays")
    assert "fig4_page.npz is not a file of arrays" in page_of(tmp_path)


def test_artefacts_that_are_gone_are_said_to_be(made: tuple[Config, Path], tmp_path: Path) -> None:
    result = json.loads((made[1] / "fig4.json").read_text())
    result["origin"]["missing"] = ["pairs/0123456789abcdef"]
    (tmp_path / "fig4.json").write_text(json.dumps(result))
    assert "Not in the store" in page_of(tmp_path)


def test_an_older_result_without_models_is_shown(made: tuple[Config, Path], tmp_path: Path) -> None:
    result = json.loads((made[1] / "fig4.json").read_text())
    (tmp_path / "fig4.json").write_text(json.dumps({k: v for k, v in result.items() if k not in ("models", "origin")}))
    assert "Left out" in page_of(tmp_path)


def test_traversals_that_are_there_are_shown_and_broken_ones_said(made: tuple[Config, Path], tmp_path: Path) -> None:
    shutil.copy(made[1] / "fig4.json", tmp_path)
    arrays = traversals()
    np.savez_compressed(
        tmp_path / "fig4_traversals.npz", images=arrays.images, panels=np.array(arrays.panels), kl=arrays.kl,
        values=arrays.values,
    )  # fmt: skip
    np.savez_compressed(tmp_path / "fig3_traversals.npz", images=arrays.images)
    text = page_of(tmp_path)
    assert [each["title"] for each in data_of(text)["traversals"]] == ["Figure 4"]
    assert "Figure 3. Left out, its traversals: fig3_traversals.npz must hold" in text, "though Figure 3 is not made"


def test_a_folder_without_results_gives_a_page_of_what_to_make(tmp_path: Path) -> None:
    text = page_of(tmp_path / "new")
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
