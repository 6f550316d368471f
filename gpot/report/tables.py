r"""Tables from results: markdown, LaTeX and CSV, the paper's numbers beside ours. On a screen: `gpot.report.terminal`.

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

None is shown as an en dash (CSV: an empty cell). Rendering is pure; :func:`write_all` alone writes files.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import logging
import math
import os
import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from gpot.errors import BadInput
from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.printed import FLOW_OF
from gpot.paper.rows import ROWS, base_row, row_name

Row = Mapping[str, Any]

_log = logging.getLogger(__name__)

_SCORE_TITLE, _TRANSPORT_TITLE, _SETTING_TITLE = "Scores", "Transport and fidelity", "Settings"
SPREAD, IN_SPREADS = "spread", "in spreads"
_SPREAD_NOTE = (
    "Rows with seeds are means over these seeds of the GP flow, with the standard deviation over them as spread; 'in "
    "spreads' is the difference over it."
)
_OPTIMUM_TITLE, _TRAVERSAL_TITLE = "Exact discrete optimum", "Images along the axes"
_CONTENT = ("item", "rows", "optimum", "origin", "models")
_LAWS = {"gaussian": "Data to N(0, I)", "flow": "Data to f(data): the floor of GP flows"}
_NOTES = {
    _SCORE_TITLE: "Factors 'with shape' are those of the printed numbers; 'continuous only' leaves shape out, as the "
    "paper's text says. An informativeness is an error.",
    _TRANSPORT_TITLE: "The paper's loss stands beside the analytic NLL. Optimum: the least cost of a map between the "
    "same two laws; the cost bounds it from above, the cost less the Fenchel-Young gap of a convex potential from "
    "below. Improvable by exchange: one minus the cost of the best assignment over the cost, 0 for a Monge map, and "
    "for others too where points are few for the dimension.",
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
    rows = _checked(payload)
    grid_list = []
    scored = [row for row in rows if any(row.get(key) is not None for key in names.SCORES)]
    if scored:
        order = list(names.PROTOCOLS)
        scored.sort(key=lambda row: order.index(row["protocol"]))  # stable: the order of rows stays
        more = [key for key in names.MORE_SCORES if any(row.get(key) is not None for row in scored)]
        grid_list.append(_grid(_SCORE_TITLE, payload, scored, [*names.SCORES, *more], labels=("protocol",)))
    tables = {_TRANSPORT_TITLE: names.TRANSPORT, _SETTING_TITLE: names.SETTINGS, _TRAVERSAL_TITLE: names.TRAVERSALS}
    for title, keys in tables.items():
        if any(row.get(key) is not None for row in rows for key in keys):
            grid_list.append(_grid(title, payload, _merged(rows, keys), keys))
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


def provenance(payload: Row) -> list[str]:
    """What the result was made with, one line each: every entry of the payload that is not content."""
    first = [key for key in ("budget", "seconds", "seed", "versions") if key in payload]
    rest = sorted(key for key in payload if key not in (*_CONTENT, *first))
    return [f"{key}: {_words(payload[key])}" for key in (*first, *rest)]


def title(payload: Row) -> str:
    """`Table 2: losses and mean transport costs`; the item's key where the paper has no such item."""
    item = str(payload.get("item", "result"))
    known = Item.of(item)
    return known.heading if known else item


def markdown(payload: Row) -> str:
    """GitHub-flavoured markdown."""
    lines = [f"# {title(payload)}", ""]
    for grid in grids(payload):
        lines += [f"## {grid.title}", "", *grid_markdown(grid), "", grid.note, ""]
    return "\n".join(lines + [f"- {line}" for line in provenance(payload)]) + "\n"


def without_empty(grid: Grid) -> Grid:
    """The table without the groups of columns that have no entry in any row."""
    groups: list[tuple[str, tuple[str, ...]]] = []
    kept: list[int] = []
    column = 0
    for heading, subs in grid.groups:
        columns = range(column, column + len(subs))
        column += len(subs)
        if column <= grid.n_labels or any(row[k] != names.NULL for row in grid.rows for k in columns):
            groups.append((heading, subs))
            kept += columns
    rows = tuple(tuple(row[k] for k in kept) for row in grid.rows)
    return dataclasses.replace(grid, groups=tuple(groups), rows=rows)


def grid_markdown(grid: Grid) -> list[str]:
    """The lines of one table in GitHub-flavoured markdown."""
    rule = [":--" if k < grid.n_labels else "--:" for k in range(len(grid.heads))]
    return [
        "| " + " | ".join(text.replace("|", r"\|") for text in row) + " |" for row in (grid.heads, rule, *grid.rows)
    ]


def latex(payload: Row) -> str:
    """A `table` environment per grid. Needs the packages booktabs and graphicx."""
    parts = ["% needs \\usepackage{booktabs,graphicx}"]
    footer = r" \\ ".join(_tex(line) for line in provenance(payload))
    for grid in grids(payload):
        heads, rules, column = [], [], 1
        for heading, subs in grid.groups:
            span = len(subs)
            heads.append(_tex(heading) if span == 1 else rf"\multicolumn{{{span}}}{{c}}{{{_tex(heading)}}}")
            if span > 1:
                rules.append(rf"\cmidrule(lr){{{column}-{column + span - 1}}}")
            column += span
        alignment = "l" * grid.n_labels + "r" * (column - 1 - grid.n_labels)
        parts += [
            r"\begin{table}[ht]",
            r"\centering",
            rf"\caption{{{_tex(title(payload))}. {_tex(grid.title)}. {_tex(grid.note)}}}",
            r"\resizebox{\textwidth}{!}{%",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            " & ".join(heads) + r" \\",
        ]
        if rules:
            parts += ["".join(rules), " & ".join(_tex(sub) for _, subs in grid.groups for sub in subs) + r" \\"]
        parts += [r"\midrule", *(" & ".join(_tex_cell(text) for text in row) + r" \\" for row in grid.rows)]
        parts += [r"\bottomrule", r"\end{tabular}}", rf"\par\smallskip\footnotesize {footer}", r"\end{table}", ""]
    return "\n".join(parts)


def csv_text(payload: Row) -> str:
    """One line per row, unrounded: the row's own entries, then `paper_<metric>` and `difference_<metric>`."""
    rows = _checked(payload)
    present = {key for row in rows for key in row} - {"row", "paper"}
    printed = [key for key in names.METRICS if key in present and any(_paper(row, key) is not None for row in rows)]
    spreads = [f"{key}_spread" for key in names.METRICS]
    metrics = [k for key in names.METRICS for k in (key, f"{key}_stderr") if k in present]
    labels = [key for key in ("dataset", "flow", "seed", "seeds", "protocol") if key in present]
    others = sorted(present - {*metrics, *labels, *spreads, "values", "artifacts"})
    metrics += [key for key in spreads if any(row.get(key) is not None for row in rows)]
    records = []
    for row in rows:
        record = {
            "row": row["row"],
            "name": _name(payload, row),
            **{k: row.get(k) for k in (*labels, *metrics, *others)},
        }
        if "seeds" in record:
            record["seeds"] = " ".join(map(str, row.get("seeds") or ()))
        for key in printed:
            ours, paper = row.get(key), _paper(row, key)
            record[f"paper_{key}"] = paper
            record[f"difference_{key}"] = None if ours is None or paper is None else round(ours - paper, 12)
        records.append(record)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]) if records else ["row", "name"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


def _grid(name: str, payload: Row, rows: Sequence[Row], keys: Iterable[str], labels: tuple[str, ...] = ()) -> Grid:
    # a dataset or a seed is a column only where it tells rows apart, seeds where a row is a mean over several
    labels = (*(key for key in ("dataset", "seed") if len({row.get(key) for row in rows}) > 1), *labels)
    labels = (*labels, *(["seeds"] if any(len(row.get("seeds") or ()) > 1 for row in rows) else []))
    groups: list[tuple[str, tuple[str, ...]]] = [("Model", ("",))]
    groups += [("Factors" if label == "protocol" else label.capitalize(), ("",)) for label in labels]
    cells = [[_name(payload, row), *(_label(label, row.get(label)) for label in labels)] for row in rows]
    for key in keys:
        metric = names.METRICS[key]
        compared = any(_paper(row, key) is not None for row in rows)
        repeated = any(row.get(f"{key}_spread") for row in rows)  # a spread of 0 needs no column
        subs = ["ours", SPREAD] if repeated else ["ours" if compared else ""]
        subs += ["paper", "diff."] if compared else []
        groups.append((metric.heading, (*subs, *([IN_SPREADS] if compared and repeated else []))))
        for cell, row in zip(cells, rows, strict=True):
            ours, paper, spread = row.get(key), _paper(row, key), row.get(f"{key}_spread")
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


def write_all(folder: str | Path, item: str, payload: Row) -> dict[str, Path]:
    """Write `{item}.md`, `.tex`, `.csv` and `.json`, each complete or not at all (a temporary file, then renamed).

    The JSON holds the payload with `item` set and every number that is not finite as null; each such number is logged.

    Returns: suffix -> path.  Raises: BadInput for a payload about another item, or one that cannot be rendered.
    """
    if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", item):
        raise BadInput(f"An item names files, so it is a word of letters, digits and . _ + -; got '{item}'.")
    if payload.get("item", item) != item:
        raise BadInput(f"The result is about '{payload['item']}', and '{item}' was asked for. Pass that item's result.")
    lost: list[str] = []
    result = plain({"item": item, **payload}, lost)
    if lost:
        _log.warning("%s: not finite, written as null: %s", item, ", ".join(lost))
    # everything is rendered before anything is written
    texts = {"md": markdown(result), "tex": latex(result), "csv": csv_text(result)}
    texts["json"] = json.dumps(result, indent=2, allow_nan=False) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return {suffix: _replace(folder / f"{item}.{suffix}", text) for suffix, text in texts.items()}


def plain(value: Any, lost: list[str] | None = None, where: str = "") -> Any:
    """Only what JSON holds: arrays become lists, enums their value, paths text, numbers that are not finite None.

    Arguments:
        lost: receives where each such number stood, as `rows.2.cost`.
    """
    if isinstance(value, Enum):
        value = value.value
    elif hasattr(value, "tolist"):  # arrays, tensors, and their scalars
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        if lost is not None:
            lost.append(where)
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    inner = f"{where}." if where else ""
    if isinstance(value, Mapping):
        return {str(key): plain(entry, lost, f"{inner}{key}") for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [plain(entry, lost, f"{inner}{k}") for k, entry in enumerate(value)]
    raise BadInput(f"A result holds numbers, text, lists and dictionaries; '{where}' is a {type(value).__name__}.")


def _replace(path: Path, text: str) -> Path:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return path


def _checked(payload: Row) -> list[dict[str, Any]]:
    rows: Any = plain(payload.get("rows"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) and "row" in row for row in rows):
        raise BadInput(
            f"A result needs 'rows', a list of dictionaries that each have 'row', one of {', '.join(ROWS)}; "
            f"got keys {sorted(payload)}."
        )
    for row in rows:
        base_row(row["row"])
        if row.get("protocol") not in names.PROTOCOLS and any(row.get(key) is not None for key in names.SCORES):
            raise BadInput(
                f"Scores of row '{row['row']}' need 'protocol', one of {', '.join(names.PROTOCOLS)}; "
                f"got {row.get('protocol')!r}."
            )
    return rows


def _paper(row: Row, key: str) -> float | None:
    """The paper's number beside a row's metric. Its scores were computed with shape."""
    if key in names.SCORES and row.get("protocol") != "with_shape":
        return None
    value: float | None = (row.get("paper") or {}).get(key)
    return value


def _name(payload: Row, row: Row) -> str:
    item = Item.of(payload.get("item"))
    dataset = row.get("dataset") or payload.get("dataset") or (item.datasets[0] if item else "")
    return row_name(row["row"], row.get("flow") or payload.get("flow") or FLOW_OF.get(dataset))


def _label(label: str, value: Any) -> str:
    if label == "seeds":
        return str(len(value)) if value else names.NULL
    printed = {"protocol": names.PROTOCOLS, "dataset": names.DATASETS}.get(label, {})
    return names.NULL if value is None else printed.get(value, str(value))


def _words(value: Any) -> str:
    value = plain(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(_words(entry) for entry in value)
    return names.NULL if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


_TEX = {
    **{character: "\\" + character for character in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"–": "--", "±": r"$\pm$", "↑": r"$\uparrow$", "↓": r"$\downarrow$"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)


def _tex_cell(text: str) -> str:
    """A sign in front of a number is set as one, not as a hyphen."""
    return f"${text[0]}${_tex(text[1:])}" if re.match(r"[+-][\d.]", text) else _tex(text)
