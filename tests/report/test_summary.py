"""The closing summary: what counts as a printed number, and how differences are measured."""

from __future__ import annotations

from typing import Any

import pytest

from gpot.paper import names
from gpot.report import summary


def row(key: str, dataset: str, **metrics: Any) -> dict[str, Any]:
    return {"row": key, "dataset": dataset, "protocol": None} | metrics


TABLE_2 = {
    "item": "table2", "budget": "quick", "seconds": 60.0, "peak_memory_gb": 1.5,
    "rows": [
        row("flow", "dsprites", cost=10.45, nll_exact=-17.0, nll_analytic=-17.0),
        row("flow+rotation", "dsprites", cost=7.0, nll_exact=-17.0, nll_analytic=-17.0),
        row("flow+gp", "dsprites", cost=5.04, nll_exact=-17.002, nll_analytic=-17.0),
        row("flow+gp:twist", "dsprites", cost=1.0, nll_exact=-17.0, nll_analytic=-17.0),
        row("flow", "mnist", cost=6.81 * 1.04, nll_exact=2.0, nll_analytic=2.0),
        row("flow+gp+euler", "mnist", cost=None, nll_exact=2.0075, nll_analytic=2.007),
    ],
}  # fmt: skip


def test_numbers_are_compared_with_those_of_their_own_row_and_dataset() -> None:
    found = {(c.printed.dataset, c.printed.row): c.difference for c in summary.comparisons(TABLE_2)}
    assert found == {
        ("dsprites", "flow"): 0.0,
        ("dsprites", "flow+gp"): pytest.approx(-0.1),
        ("mnist", "flow"): pytest.approx(0.04),
    }, "no rotation (the paper has none), no variant, no null"


def test_a_difference_of_a_mean_over_seeds_is_said_in_spreads() -> None:
    result = {"item": "table2", "budget": "quick", "seconds": 1.0, "rows": [
        row("flow+gp", "dsprites", cost=5.04, cost_spread=0.2)
    ]}  # fmt: skip
    (line,) = [line for line in summary.lines({"table2": result}) if line[0] == "Table 2"]
    assert "-10.0% (Cost, FFJORD+GP, -2.8 spreads)" in line


def test_likelihood_change_is_the_largest_of_the_points_that_each_row_keeps() -> None:
    assert summary.likelihood_change(TABLE_2) == pytest.approx(0.002)
    assert summary.likelihood_change(TABLE_2 | {"rows": TABLE_2["rows"][:1]}) is None


def test_scores_count_once_with_shape() -> None:
    scores = {"disentanglement": 0.58, "completeness": 0.9, "informativeness": None}
    rows = [row("latent", "dsprites") | scores | {"protocol": protocol} for protocol in names.PROTOCOLS]
    found = summary.comparisons({"item": "table1", "budget": "quick", "rows": rows})
    assert [(c.printed.metric, c.printed.agrees(c.ours)) for c in found] == [
        ("disentanglement", True), ("completeness", False)
    ]  # fmt: skip


@pytest.mark.parametrize(("budget", "key"), [("quick", "flow+gp:paper budget"), ("paper", "flow+gp")])
def test_settings_are_those_of_the_papers_budget(budget: str, key: str) -> None:
    rows = [
        row("flow+gp", "two_moons", epochs=25 if budget == "quick" else 1000, n_steps=15),
        row("flow+gp:paper budget", "two_moons", epochs=1000 if budget == "quick" else 25, n_steps=15),
    ]
    found = summary.comparisons({"item": "table3", "budget": budget, "rows": rows})
    assert {c.printed.metric: c.ours for c in found} == {"epochs": 1000, "n_steps": 15}


def test_lines_have_a_cell_per_head_and_say_what_is_missing() -> None:
    lines = summary.lines({"table2": TABLE_2, "fig7": {"item": "fig7", "budget": "quick", "seconds": 1.0, "rows": []}})
    assert all(len(line) == len(summary.HEADS) for line in lines) and len(lines) == len(summary.ORDER)
    by_label = {line[0]: line[1:] for line in lines}
    assert by_label["Table 2"] == (
        "3", "1", "2", "4.0%", "-10.0% (Cost, FFJORD+GP)", "2.0e-03", "60", "1.5"
    )  # fmt: skip
    assert by_label["Figure 7"][0] == "none" and by_label["Table 1"][0] == "not made"
    page = summary.markdown({"table2": TABLE_2}, disk=2_500_000_000)
    assert "1 of 12 items, budget quick: 1.0 minutes" in page and "2.50 GB" in page and "1.5 GB of memory" in page
