r"""Tables as files: markdown, LaTeX and CSV (:mod:`gpot.report.grids`). On a screen: `gpot.report.terminal`.

Rendering is pure; :func:`write_all` alone writes files.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import logging
import re
from pathlib import Path

from gpot.errors import BadInput
from gpot.jsonable import jsonable
from gpot.leftovers import replacing
from gpot.paper import names
from gpot.paper.items import Item
from gpot.report.grids import Grid, Row, checked_rows, grids, paper_number
from gpot.report.plain import words

_log = logging.getLogger(__name__)

_CONTENT = ("item", "rows", "optimum", "origin", "models")


def provenance(payload: Row) -> list[str]:
    """What the result was made with, one line each: every entry of the payload that is not content."""
    first = [key for key in ("budget", "seconds", "seed", "versions") if key in payload]
    rest = sorted(key for key in payload if key not in (*_CONTENT, *first))
    return [f"{key}: {words(payload[key])}" for key in (*first, *rest)]


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
    rows = checked_rows(payload)
    present = {key for row in rows for key in row} - {"row", "name", "paper"}
    printed = [
        key for key in names.METRICS if key in present and any(paper_number(row, key) is not None for row in rows)
    ]
    spreads = [f"{key}_spread" for key in names.METRICS]
    metrics = [k for key in names.METRICS for k in (key, f"{key}_stderr") if k in present]
    labels = [key for key in ("dataset", "flow", "seed", "seeds", "protocol") if key in present]
    others = sorted(present - {*metrics, *labels, *spreads, "values", "artifacts"})
    metrics += [key for key in spreads if any(row.get(key) is not None for row in rows)]
    records = []
    for row in rows:
        record = {
            **{k: row.get(k) for k in ("row", "name", *labels, *metrics, *others)},
        }
        if "seeds" in record:
            record["seeds"] = " ".join(map(str, row.get("seeds") or ()))
        for key in printed:
            ours, paper = row.get(key), paper_number(row, key)
            record[f"paper_{key}"] = paper
            record[f"difference_{key}"] = None if ours is None or paper is None else round(ours - paper, 12)
        records.append(record)
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(records[0]) if records else ["row", "name"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return out.getvalue()


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
    result = jsonable({"item": item, **payload}, lost)
    if lost:
        _log.warning("%s: not finite, written as null: %s", item, ", ".join(lost))
    # everything is rendered before anything is written
    texts = {"md": markdown(result), "tex": latex(result), "csv": csv_text(result)}
    texts["json"] = json.dumps(result, indent=2, allow_nan=False) + "\n"
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return {suffix: _replace(folder / f"{item}.{suffix}", text) for suffix, text in texts.items()}


def _replace(path: Path, text: str) -> Path:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


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
