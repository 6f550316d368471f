"""The tables of a result on a screen. One that is too wide for it is printed in parts, each with its first column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Group
from rich.table import Table
from rich.text import Text

from gpot.report.grids import Grid, Row, grids
from gpot.report.tables import provenance, title

_FRAME = 3  # characters around a cell: a rule and a space on each side


@dataclass(frozen=True)
class _Layout:
    """columns: the texts of each, its heading first. together: how many of them stay side by side, from the left."""

    columns: list[list[str]]
    together: list[int]
    n_labels: int


def terminal(payload: Row, width: int) -> Group:
    """What `rich` prints: the tables, then the provenance.

    Arguments:
        payload: a result, see `gpot.report.tables`.
        width: of the screen, in characters.

    A row is a model, or in the turned table a column is one, whichever needs fewer parts. No number is cut or wrapped:
    columns that do not fit follow in a further part, and those of one heading (ours, paper, difference) stay together.
    A single column wider than the screen is printed as it is.
    """
    tables: list[Table] = []
    for k, grid in enumerate(grids(payload)):
        upright, transposed = _upright(grid), _turned(grid)
        in_parts = [(_parts(each, width), each) for each in (upright, transposed)]
        many = len(upright.columns) > 1 + len(grid.rows)  # of equals, the one that is higher than wide
        parts, layout = min(in_parts[:: -1 if many else 1], key=lambda each: len(each[0]))
        for part, columns in enumerate(parts):
            name = grid.title + (f", {part + 1} of {len(parts)}" if len(parts) > 1 else "")
            table = Table(
                title=Text(name if k or part else f"{title(payload)}\n{name}"), title_justify="left",
                caption=Text(grid.note if part == len(parts) - 1 else ""),
            )  # fmt: skip
            for j in columns:
                table.add_column(
                    Text(layout.columns[j][0]), justify="left" if j < layout.n_labels else "right", no_wrap=True
                )
            for texts in zip(*(layout.columns[j][1:] for j in columns), strict=True):
                table.add_row(*map(Text, texts))
            tables.append(table)
    return Group(*tables, *map(Text, provenance(payload)))


def _upright(grid: Grid) -> _Layout:
    columns = [list(column) for column in zip(grid.heads, *grid.rows, strict=True)]
    return _Layout(columns, [len(subs) for _, subs in grid.groups], grid.n_labels)


def _turned(grid: Grid) -> _Layout:
    n = grid.n_labels
    columns = [["\n".join(row[:n]), *row[n:]] for row in (grid.heads, *grid.rows)]
    return _Layout(columns, [1] * len(columns), 1)


def _parts(layout: _Layout, width: int) -> list[list[int]]:
    """Columns of each part: the labels, and as many further groups as fit, at least one."""
    wide = [_FRAME + max(cell_len(line) for text in texts for line in text.split("\n")) for texts in layout.columns]
    labels = list(range(layout.n_labels))
    parts: list[list[int]] = []
    room, start = 0, 0
    for n in layout.together:
        group = range(start, start + n)
        start += n
        if start <= layout.n_labels:
            continue
        of_group = _width(wide, group)
        if not parts or of_group > room:
            parts.append([*labels])
            room = width - 1 - _width(wide, labels)
        parts[-1] += group
        room -= of_group
    return parts


def _width(wide: Sequence[int], columns: Sequence[int]) -> int:
    return sum(wide[j] for j in columns)
