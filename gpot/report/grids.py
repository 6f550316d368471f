r"""The tables of a result: what stands in which cell, ours beside the paper's.

A result (`payload`) is a dictionary that a JSON file can hold:

- `item`: `table1`, `fig4`, ... ; `rows`: a list of dictionaries; `optimum`, where it was solved for: exact discrete
  transport, law -> one dictionary per size (`n`, `mean`, `spread`, `repeats`); `origin` and `models`: what stands
  behind the rows (`gpot.report.page.results`); everything else (`budget`, `seconds`, `seed`, `versions`, ...) is
  provenance and is printed as a footer;
- a row has `row` (the key of a `Row`), metrics (keys of `names.METRICS`, a number or None), `<metric>_stderr`,
  `paper` (metric -> printed number), `artifact`, and where they matter `protocol`, `dataset`, `flow`, `seed`. A row
  repeated for another `protocol` has its own scores and the same other numbers; the paper's scores stand beside
  `with_shape` only;
- of a row whose GP flow was trained with several `seeds` a metric is the mean over them, `<metric>_spread` the standard
  deviation, `values` (metric -> list) the number of each seed, and `artifacts` the key of each evaluation.

None is shown as an en dash.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gpot.errors import BadInput
from gpot.jsonable import jsonable
from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.printed import FLOW_OF
from gpot.paper.rows import ROWS, row_name

Row = Mapping[str, Any]

_SCORE_TITLE, _TRANSPORT_TITLE, _SETTING_TITLE = "Scores", "Transport and fidelity", "Settings"
SPREAD, IN_SPREADS = "spread", "in spreads"
_SPREAD_NOTE = (
    "Rows with seeds are means over these seeds of the GP flow, with the standard deviation over them as spread; 'in "
    "spreads' is the difference over it."
)
_OPTIMUM_TITLE, _TRAVERSAL_TITLE = "Exact discrete optimum", "Images along the axes"
_LAWS = {"gaussian": "Data to N(0, I)", "flow": "Data to f(data): the floor of GP flows"}
_NOTES = {
    _SCORE_TITLE: "Factors 'with shape' are those of the printed numbers; 'continuous only' leaves shape out, as the "
    "paper's text says. An informativeness is an error.",
    _TRANSPORT_TITLE: "The paper's loss stands beside the analytic NLL. Optimum: the least cost of a map between the "
    "same two laws; the cost bounds it from above, the cost less the Fenchel-Young gap of a convex potential from "
    "below. Improvable by exchange: one minus the cost of the best assignment over the cost, 0 for a Monge map, and "
    "for others too where points are few for the dimension. Escaped: particles whose image is not finite, since they "
    "came to the wall of the cube; those of the data are left out of a row's likelihoods, both of which are of the "
    "same points.",
    _SETTING_TITLE: "Of the GP flow, unless a heading says otherwise. Rows of the paper's budget are what it "
    "configures: nothing was trained for them.",
    _TRAVERSAL_TITLE: "Mean absolute difference of grey levels between neighbouring images of a row of the figure, "
    "over pixels and data points. An axis is informative where the VAE's coordinate of that number is.",
    _OPTIMUM_TITLE: "Squared Wasserstein distance between two clouds of n points each, by the network simplex: mean "
    "and standard deviation over draws. Biased upward at finite n.",
}


@dataclass(frozen=True)
class Grid:
    """A table ready to print. `groups`: (heading, its sub-headings); `rows`: one text per sub-heading."""

    title: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[tuple[str, ...], ...]
    n_labels: int  # leading columns of words, not numbers

    @property
    def note(self) -> str:
        """What a reader has to know about the columns."""
        repeated = any(SPREAD in subs for _, subs in self.groups)
        return _NOTES[self.title] + (f" {_SPREAD_NOTE}" if repeated else "")

    @property
    def heads(self) -> list[str]:
        """One heading per column: a group's own heading stands above its first column."""
        return [sub if k else heading for heading, subs in self.groups for k, sub in enumerate(subs)]


def grids(payload: Row) -> list[Grid]:
    """The tables of a result: scores (a row per protocol), transport and fidelity, settings; those with entries."""
    rows = checked_rows(payload)
    grid_list = []
    scored = [row for row in rows if any(row.get(key) is not None for key in names.SCORES)]
    if scored:
        order = list(names.PROTOCOLS)
        scored.sort(key=lambda row: order.index(row["protocol"]))  # stable: the order of rows stays
        more = [key for key in names.MORE_SCORES if any(row.get(key) is not None for row in scored)]
        grid_list.append(_grid(_SCORE_TITLE, scored, [*names.SCORES, *more], labels=("protocol",)))
    tables = {_TRANSPORT_TITLE: names.TRANSPORT, _SETTING_TITLE: names.SETTINGS, _TRAVERSAL_TITLE: names.TRAVERSALS}
    for title, keys in tables.items():
        if any(row.get(key) is not None for row in rows for key in keys):
            grid_list.append(_grid(title, _merged(rows, keys), keys))
    if payload.get("optimum"):
        grid_list.append(_optimum_grid(payload["optimum"]))
    return grid_list


def _spread_text(point: Row) -> str:
    spread = point["spread"]
    return f"{point['mean']:.3f} ± {names.NULL if spread is None else format(spread, '.3f')}"


def _optimum_grid(optimum: Mapping[str, Sequence[Row]]) -> Grid:
    sizes = [point["n"] for point in next(iter(optimum.values()))]
    groups = (("W2²", ("",)), *((f"n = {n:,d}", ("",)) for n in sizes))
    rows = tuple((_LAWS[law], *(_spread_text(point) for point in points)) for law, points in optimum.items())
    return Grid(_OPTIMUM_TITLE, groups, rows, 1)


def _grid(name: str, rows: Sequence[Row], keys: Iterable[str], labels: tuple[str, ...] = ()) -> Grid:
    # a dataset or a seed is a column only where it tells rows apart, seeds where a row is a mean over several
    labels = (*(key for key in ("dataset", "seed") if len({row.get(key) for row in rows}) > 1), *labels)
    labels = (*labels, *(["seeds"] if any(len(row.get("seeds") or ()) > 1 for row in rows) else []))
    groups: list[tuple[str, tuple[str, ...]]] = [("Model", ("",))]
    groups += [("Factors" if label == "protocol" else label.capitalize(), ("",)) for label in labels]
    cells = [[row["name"], *(_label(label, row.get(label)) for label in labels)] for row in rows]
    for key in keys:
        metric = names.METRICS[key]
        compared = any(paper_number(row, key) is not None for row in rows)
        repeated = any(names.varies(row.get(key), row.get(f"{key}_spread")) for row in rows)
        subs = ["ours", SPREAD] if repeated else ["ours" if compared else ""]
        subs += ["paper", "diff."] if compared else []
        groups.append((metric.heading, (*subs, *([IN_SPREADS] if compared and repeated else []))))
        for cell, row in zip(cells, rows, strict=True):
            ours, paper, spread = row.get(key), paper_number(row, key), row.get(f"{key}_spread")
            if metric.upper:
                cell.append(metric.interval_text(ours, row.get(metric.upper)))
            else:
                cell.append(metric.text(ours, row.get(f"{key}_stderr")))
            if repeated:
                cell.append(metric.text(spread))
            if compared:
                cell += [metric.paper_text(paper), metric.difference_text(ours, paper)]
            if compared and repeated:
                cell.append(names.spreads_text(ours, paper, spread))
    return Grid(name, tuple(groups), tuple(map(tuple, cells)), 1 + len(labels))


def _merged(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Rows that are the same but for the protocol, once. Rows whose numbers differ stay apart: nothing is hidden."""
    identity = ("row", "dataset", "flow", "seed")
    numbers = [k for key in keys for k in (key, f"{key}_stderr", f"{key}_spread")]
    groups: list[dict[str, Any]] = []
    for row in rows:
        for other in groups:
            if all(other.get(k) == row.get(k) for k in identity) and all(
                other.get(k) is None or row.get(k) is None or other[k] == row[k] for k in numbers
            ):
                other.update({k: row[k] for k in numbers if row.get(k) is not None})
                other["paper"] = {**(row.get("paper") or {}), **(other.get("paper") or {})}
                break
        else:
            groups.append(dict(row))
    return list(groups)


def checked_rows(payload: Row) -> list[dict[str, Any]]:
    """The rows of a result, each with the `name` that is printed of it: `BNAF+GP (ridge)`.

    Raises: BadInput where they are none that a table can show.
    """
    rows: Any = jsonable(payload.get("rows"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "row" in row for row in rows):
        raise BadInput(
            f"A result needs 'rows', a list of dictionaries that each have 'row', one of {', '.join(ROWS)}; "
            f"got keys {sorted(payload)}."
        )
    item = Item.of(payload.get("item"))
    for row in rows:
        dataset = row.get("dataset") or payload.get("dataset") or (item.datasets[0] if item else "")
        row["name"] = row_name(row["row"], row.get("flow") or payload.get("flow") or FLOW_OF.get(dataset))
        if row.get("protocol") not in names.PROTOCOLS and any(row.get(key) is not None for key in names.SCORES):
            raise BadInput(
                f"Scores of row '{row['row']}' need 'protocol', one of {', '.join(names.PROTOCOLS)}; "
                f"got {row.get('protocol')!r}."
            )
    return rows


def paper_number(row: Row, key: str) -> float | None:
    """The paper's number beside a row's metric. Its scores were computed with shape."""
    if key in names.SCORES and row.get("protocol") != "with_shape":
        return None
    value: float | None = (row.get("paper") or {}).get(key)
    return value


def _label(label: str, value: Any) -> str:
    if label == "seeds":
        return str(len(value)) if value else names.NULL
    printed = {"protocol": names.PROTOCOLS, "dataset": names.DATASETS}.get(label, {})
    return names.NULL if value is None else printed.get(value, str(value))
