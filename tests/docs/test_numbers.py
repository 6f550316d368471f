"""Every number in README.md and docs/ comes from a result: the pages are their templates, and templates have none."""

from __future__ import annotations

import json
import random
import re
import shutil
from pathlib import Path

import pytest

from gpot.errors import BadInput, DataMissing
from gpot.report.documents import Numbers, documents, read_results, render, stale, typed_numbers
from tests.conftest import ROOT

TEMPLATES = sorted((ROOT / "docs" / "templates").glob("*.md"))
PAGES = documents(ROOT)
WRITTEN = sorted(path for path in (ROOT / "docs").glob("*.md"))


def test_every_page_is_what_its_template_and_the_results_say() -> None:
    assert [str(path) for path in stale(ROOT)] == [], "run: make numbers (or scripts/documents.py --render)"


def test_every_page_has_a_template() -> None:
    assert [path for path in WRITTEN if path not in PAGES] == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_no_number_is_typed(template: Path) -> None:
    assert typed_numbers(template.read_text(encoding="utf-8")) == []


def test_every_result_is_read_by_some_page() -> None:
    numbers = Numbers(read_results(ROOT / "docs" / "numbers"))
    for template in TEMPLATES:
        render(template.read_text(encoding="utf-8"), numbers)
    assert set(numbers.results) == numbers.read


def test_a_changed_digit_is_found(tmp_path: Path) -> None:
    """One digit of a page or of the README at a time, a hundred of them at random."""
    for folder in ("templates", "numbers"):
        shutil.copytree(ROOT / "docs" / folder, tmp_path / "docs" / folder)
    copies = {tmp_path / path.relative_to(ROOT): text for path, text in PAGES.items()}
    (tmp_path / "pretrained").mkdir()
    for path, text in copies.items():
        path.write_text(text, encoding="utf-8")
    pages = documents(tmp_path)
    assert pages == copies and stale(tmp_path) == []
    places = [(path, found.start()) for path, text in copies.items() for found in re.finditer(r"\d", text)]
    draw = random.Random(0)
    for path, place in draw.sample(places, 100):
        text = copies[path]
        path.write_text(f"{text[:place]}{(int(text[place]) + draw.randint(1, 9)) % 10}{text[place + 1 :]}")
        assert stale(tmp_path, pages) == [path]
        path.write_text(text, encoding="utf-8")


def test_the_model_card_is_of_the_models_that_are_there() -> None:
    card = {(m["stage"], m["key"]): m for m in read_results(ROOT / "docs" / "numbers")["released"]["models"]}
    manifests = [json.loads(path.read_text()) for path in (ROOT / "pretrained").glob("*/*/manifest.json")]
    assert card.keys() == {(m["stage"], m["key"]) for m in manifests}, "run: make numbers"
    for manifest in manifests:
        model = card[manifest["stage"], manifest["key"]]
        assert model["seconds"] == manifest["duration"] and model["dataset"] and model["name"], model["key"]
        assert model["measured"] in (None, *manifest["metrics"].values())


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) <= 900


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("a cost of 5.3 nats", ["a cost of 5.3 nats"]),
        ("within 1 %", ["within 1 %"]),
        ("Table 2 and eq. (15), `lr=2e-3`, [page](fig3.png), {{ 7 }}", []),
        ("```\nmake 1\n```\nit took 3 hours", ["it took 3 hours"]),
    ],
)
def test_what_counts_as_typed(template: str, found: list[str]) -> None:
    assert typed_numbers(template) == found


RESULT = {
    "item": "table2",
    "seconds": 240.0,
    "rows": [
        {"row": "flow", "dataset": "mnist", "cost": 6.0, "cost_stderr": 0.02, "paper": {"cost": 6.81}},
        {"row": "flow+gp", "dataset": "mnist", "cost": 3.0, "paper": {}},
    ],
}


def test_look_ups() -> None:
    numbers = Numbers({"table2": RESULT})
    text = (
        '{{ value("table2", "flow", "cost") }} {{ value("table2", "flow", "cost", spread=true) }} '
        '{{ paper("table2", "flow", "cost", "mnist") }} {{ ratio("table2", "flow+gp", "flow", "cost") }} '
        '{{ minutes("table2") }}'
    )
    assert render(text, numbers) == "6.000 6.000 ± 0.020 6.81 50% 4.0 minutes"


@pytest.mark.parametrize(
    "text",
    [
        '{{ value("table3", "flow", "cost") }}',
        '{{ value("table2", "flow", "cost", "dsprites") }}',
        '{{ value("table2", "flow", "speed") }}',
        '{{ table("table2", "Colours") }}',
        "{{ unheard_of }}",
        "{% if %}",
    ],
)
def test_a_look_up_that_finds_nothing_is_an_error(text: str) -> None:
    with pytest.raises(BadInput):
        render(text, Numbers({"table2": RESULT}))


def test_results_are_strict_json(tmp_path: Path) -> None:
    for path in (ROOT / "docs" / "numbers").glob("*.json"):
        assert json.dumps(json.loads(path.read_text(encoding="utf-8")), allow_nan=False)
    with pytest.raises(DataMissing, match="make numbers"):
        read_results(tmp_path / "none")


@pytest.mark.parametrize("package", ["maths", "gp", "flows", "evaluation", "library", "between", "uses"])
def test_the_reference_has_every_module(package: str) -> None:
    page = (ROOT / "docs" / "api" / f"{package}.md").read_text(encoding="utf-8")
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in (ROOT / "gpot" / package).rglob("*.py")
        if not path.name.startswith("_")
    }
    assert set(re.findall(r"^::: (\S+)$", page, re.MULTILINE)) == modules
