"""What was reproduced, how close, in how long: one line per item of the paper, from the results that were written."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.printed import FLOW_OF, Printed, printed
from gpot.paper.rows import base_row, row_name

ORDER = ("table1", "table2", "fig1", "fig2", "fig3", "fig4", "fig5", "fig6", "fig7", "fig8", "table3", "table4")
HEADS = (
    "Item", "Printed numbers", "to all digits", "within 5 %", "Median difference", "Largest difference",
    "Change of NLL, nats", "Seconds", "Memory, GB",
)  # fmt: skip
_NEAR = 0.05
_RESULTS = (*names.SCORES, "cost", "energy")  # a likelihood is that of our own codes: see `likelihood_change`
_PAPER_BUDGET = ":paper budget"


@dataclass(frozen=True)
class Comparison:
    """A printed number beside ours."""

    printed: Printed
    ours: float
    spread: float | None = None  # of ours over seeds

    @property
    def difference(self) -> float:
        """(ours - printed) / |printed|."""
        return (self.ours - self.printed.value) / abs(self.printed.value)

    @property
    def in_spreads(self) -> str:
        """`, -2.5 spreads`; empty for a number of one seed."""
        text = names.spreads_text(self.ours, self.printed.value, self.spread)
        return "" if text == names.NULL else f", {text} spreads"


def comparisons(payload: Mapping[str, Any]) -> list[Comparison]:
    """Every number that the paper prints in this item, where our result has one.

    Rows of ours alone (a variant after a colon) have no printed number of their own. Of tables of settings what counts
    is how the paper's budget is configured, not the budget at hand.
    """
    item, numbers = Item.of(payload["item"]), {}
    if item is None:
        return []
    settings = item.settings
    suffix = _PAPER_BUDGET if settings and payload.get("budget") != "paper" else ""
    for row in payload["rows"]:
        base = base_row(row["row"])
        if row["row"] != base + suffix or row["dataset"] not in item.datasets:
            continue
        for metric in names.SETTINGS if settings else _RESULTS:
            ours, number = row.get(metric), printed(item, base, metric, row["dataset"])
            scored_otherwise = metric in names.SCORES and row.get("protocol") != "with_shape"
            if ours is not None and number is not None and not scored_otherwise:
                numbers[row["dataset"], base, metric] = Comparison(number, ours, row.get(f"{metric}_spread"))
    return list(numbers.values())


def likelihood_change(payload: Mapping[str, Any]) -> float | None:
    """The largest |NLL of a row with a GP map - NLL of its flow|, nats, by the exact log-determinant; None where the
    item has no such rows. The paper's claim is 0.

    The flow's is the row's analytic one: of the same points, where some escaped the row's map.
    """
    changes = [
        abs(row["nll_exact"] - row["nll_analytic"])
        for row in payload["rows"]
        if row["row"].startswith("flow+") and None not in (row.get("nll_exact"), row.get("nll_analytic"))
    ]
    return max(changes, default=None)


def lines(payloads: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """A line of `HEADS` per item of the paper, in order; an item without a result says so.

    payloads: item -> result, as the JSON of `gpot.report.tables` holds it.
    """
    return [_line(item, payloads.get(item)) for item in ORDER]


def _line(item: str, payload: Mapping[str, Any] | None) -> tuple[str, ...]:
    label = Item(item).label
    if payload is None:
        return (label, "not made", *[names.NULL] * (len(HEADS) - 2))
    seconds, memory = f"{payload['seconds']:.0f}", _memory(payload.get("peak_memory_gb"))
    pairs, change = comparisons(payload), likelihood_change(payload)
    nll_change = names.NULL if change is None else f"{change:.1e}"
    if not pairs:
        return (label, "none", *[names.NULL] * 4, nll_change, seconds, memory)
    off = [abs(c.difference) for c in pairs]
    worst = max(pairs, key=lambda c: abs(c.difference))
    number = worst.printed
    what = f"{names.metric(number.metric).name}, {row_name(number.row, FLOW_OF[number.dataset])}"
    return (
        label,
        str(len(pairs)),
        str(sum(c.printed.agrees(c.ours) for c in pairs)),
        str(sum(value <= _NEAR for value in off)),
        f"{statistics.median(off):.1%}",
        f"{worst.difference:+.1%} ({what}{worst.in_spreads})",
        nll_change,
        seconds,
        memory,
    )


def _memory(value: float | None) -> str:
    return names.NULL if value is None else f"{value:.1f}"


def closing(payloads: Mapping[str, Mapping[str, Any]], disk: int) -> str:
    """The sentence below the table. disk: bytes of the store."""
    seconds = sum(payload["seconds"] for payload in payloads.values())
    memory = [p["peak_memory_gb"] for p in payloads.values() if p.get("peak_memory_gb") is not None]
    peak = f", {max(memory):.1f} GB of memory at most" if memory else ""
    budgets = ", ".join(sorted({str(payload["budget"]) for payload in payloads.values()}))
    return (
        f"{len(payloads)} of {len(ORDER)} items, budget {budgets}: {seconds / 60:.1f} minutes in the last call of each "
        f"(what an earlier call had made was found){peak}, {disk / 1e9:.2f} GB of trained models and arrays."
    )


def markdown(payloads: Mapping[str, Mapping[str, Any]], disk: int) -> str:
    """The summary as a page."""
    rule = [":--", *["--:"] * (len(HEADS) - 1)]
    rows: Sequence[Sequence[str]] = [HEADS, rule, *lines(payloads)]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"# What was reproduced\n\n{table}\n\n{NOTE}\n\n{closing(payloads, disk)}\n"


NOTE = (
    "Printed numbers: scores, costs and energies; of Tables 3 and 4 the settings of the paper's budget. Difference: "
    "ours / paper - 1; a lower cost is a better one. Change of NLL: of the GP rows against "
    "their flow at the same points, by the exact log-determinant; the paper's claim is 0."
)


def terminal(payloads: Mapping[str, Mapping[str, Any]]) -> Table:
    """The table for `rich`."""
    table = Table(title=Text("What was reproduced"), title_justify="left", caption=Text(NOTE))
    for k, head in enumerate(HEADS):
        table.add_column(Text(head), justify="right" if k else "left")
    for line in lines(payloads):
        table.add_row(*map(Text, line))
    return table
