"""Tables on a screen: every cell whole, whatever the width."""

from __future__ import annotations

import io
import re
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from gpot.report import tables
from gpot.report.terminal import terminal
from tests.report.test_tables import table_1


def table_2() -> dict[str, Any]:
    """Two datasets, so that two columns are words."""
    rows = [
        {"row": row, "dataset": dataset, "cost": 5.361 + k, "cost_stderr": 0.012, "certificate": 0.0123,
         "nll_exact": -17.5, "logdet_error_mean": 1e-6, "paper": {"cost": 5.6}}
        for dataset in ("dsprites", "mnist") for k, row in enumerate(("flow", "flow+rotation", "flow+gp"))
    ]  # fmt: skip
    return {"item": "table2", "rows": rows, "budget": "quick"}


def printed(payload: dict[str, Any], width: int) -> str:
    console = Console(width=max(width, 140), record=True, file=io.StringIO())
    console.print(terminal(payload, width))
    return console.export_text()


PAYLOADS = {"table1": table_1, "table2": table_2}


@pytest.mark.parametrize("width", [80, 100, 140, 400])
@pytest.mark.parametrize("name", PAYLOADS)
def test_every_cell_is_whole_and_no_table_is_wider_than_the_screen(name: str, width: int) -> None:
    payload = PAYLOADS[name]()
    lines = printed(payload, width).splitlines()
    framed = [line.rstrip() for line in lines if re.match(r"[┏┃┡│└]", line)]
    assert max(map(cell_len, framed)) <= width
    cells = [cell.strip() for line in framed for cell in re.split("[┃│]", line)]
    for grid in tables.grids(payload):
        for row in (grid.heads, *grid.rows):
            for text in row:
                assert cells.count(text) > 0, text
        numbers = [text for row in grid.rows for text in row[grid.n_labels :] if text != "–"]
        for text in set(numbers):  # once each, in whichever part
            assert cells.count(text) >= numbers.count(text), text


def test_parts_say_how_many_there_are_and_the_note_stands_once() -> None:
    narrow, wide = printed(table_2(), 60), printed(table_2(), 400)
    (total,) = {int(n) for n in re.findall(r"Transport and fidelity, \d+ of (\d+)", narrow)}
    assert total > 1 and [f"{k + 1} of {total}" in narrow for k in range(total)] == [True] * total
    assert " of " not in "".join(line for line in wide.splitlines() if line.startswith("Transport"))
    assert narrow.count("paper's loss") == wide.count("paper's loss") == 1


def test_what_was_measured_stays_beside_what_the_paper_prints() -> None:
    """Upright, the three columns of a heading are never torn apart."""
    rows = [{"row": "flow+gp", "seed": seed, "cost": 5.361, "certificate": 0.01, "energy": 0.1, "nll_analytic": -17.5,
             "paper": {"cost": 5.6, "energy": 0.28, "nll_analytic": -17.5}} for seed in range(20)]  # fmt: skip
    shown = [printed({"item": "fig4", "dataset": "two_moons", "rows": rows}, width) for width in range(50, 200, 10)]
    heads = [line for text in shown for line in text.splitlines() if line.startswith("┃") and " paper " in line]
    assert heads
    for line in heads:
        assert len(re.findall(r"┃ +paper +┃ +diff\. +(?=┃)", line)) == line.count("paper")


def test_a_screen_narrower_than_a_column_is_run_over() -> None:
    text = printed(table_2(), 10)
    assert "5.361 ± 0.012" in text and "FFJORD+rotation" in text
