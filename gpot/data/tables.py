"""A table of numbers with the names of its columns: from .npy, .npz, .csv, .tsv and .parquet, in float64."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.data.points import few, load_points
from gpot.errors import BadInput, DataMissing

_DELIMITERS = ",;\t"
READ = ".npy, .npz, .csv, .tsv or .parquet"


@dataclass(frozen=True, eq=False)
class Table:
    """points (n, d), finite, float64; names (d,) of the columns, as the file has them or `x0`, `x1`, ..."""

    points: NDArray[np.float64]
    names: tuple[str, ...]


def read_table(path: Path | str, columns: Sequence[str] | None = None) -> Table:
    """The table of a file, or the columns of it that are named.

    Raises: DataMissing without the file; BadInput for another kind of file, a column that is not of numbers, and rows
    with a missing or infinite value. No row and no column is left out in silence.
    """
    path = Path(path)
    if not path.is_file():
        raise DataMissing(f"a table was to be read from '{path}', and there is no such file. Check the path")
    kind = path.suffix.lower()
    if kind in (".npy", ".npz"):
        array = load_points(path)
        if array.ndim != 2 or array.dtype.kind not in "iuf":
            raise BadInput(f"'{path}' was to hold numbers (n, d), and holds {array.dtype} {array.shape}; reshape it")
        cells: dict[str, NDArray[Any]] = {f"x{k}": array[:, k] for k in range(array.shape[1])}
    elif kind in (".csv", ".tsv", ".txt"):
        cells = _csv(path)
    elif kind in (".parquet", ".pq"):
        cells = _parquet(path, columns)
    else:
        raise BadInput(f"a table is a {READ} file, and got '{path}'; convert it")
    names = tuple(cells) if columns is None else tuple(columns)
    unknown = [name for name in names if name not in cells]
    if unknown:
        raise BadInput(f"'{path}' has no column {few(unknown)}; its columns are {few(tuple(cells), 40)}")
    return Table(_finite(_numbers({name: cells[name] for name in names}, path), names, path), names)


def _csv(path: Path) -> dict[str, NDArray[Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        start = file.readline()
        delimiter = max(_DELIMITERS, key=start.count) if any(d in start for d in _DELIMITERS) else ","
        file.seek(0)
        rows = [row for row in csv.reader(file, delimiter=delimiter) if row]
    if not rows:
        raise BadInput(f"'{path}' was to hold a table, and is empty")
    has_header = not all(_is_number(cell) for cell in rows[0])
    names = [cell.strip() for cell in rows[0]] if has_header else [f"x{k}" for k in range(len(rows[0]))]
    rows = rows[has_header:]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"'{path}' has several columns of the name {few(twice)}; give each a name of its own")
    ragged = [number for number, row in enumerate(rows) if len(row) != len(names)]
    if ragged:
        raise BadInput(
            f"'{path}' has {len(names)} columns, and {len(ragged)} of {len(rows)} rows have another number of cells: "
            f"rows {few(ragged)}; mend them"
        )
    return {name: np.array([row[k] for row in rows], dtype=object) for k, name in enumerate(names)}


def _parquet(path: Path, columns: Sequence[str] | None) -> dict[str, NDArray[Any]]:
    try:
        parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise BadInput(f"to read '{path}' takes pyarrow, which is not installed; type: pip install 'gpot[tables]'"
                       ) from None  # fmt: skip
    try:
        table = parquet.read_table(path)
    except (ValueError, OSError) as error:
        raise BadInput(f"'{path}' was to be a parquet file, and is not one ({error})") from error
    return {name: table[name].to_numpy() for name in table.column_names}


def _numbers(cells: dict[str, NDArray[Any]], path: Path) -> NDArray[np.float64]:
    wrong, read = [], []
    for name, column in cells.items():
        if column.dtype == object:
            blank = np.array([cell is None or (isinstance(cell, str) and not cell.strip()) for cell in column])
            column = np.where(blank, "nan", column)
        try:
            if column.dtype.kind not in "iufbOU":
                raise ValueError(column.dtype)
            read.append(column.astype(np.float64))
        except (ValueError, TypeError):
            wrong.append(name)
    if wrong:
        kept = [name for name in cells if name not in wrong]
        raise BadInput(
            f"a column of '{path}' was to hold numbers, and these do not: {few(wrong)}. Choose the columns: "
            f"--columns {','.join(kept)}"
        )
    return np.stack(read, axis=1)


def _finite(points: NDArray[np.float64], names: Sequence[str], path: Path) -> NDArray[np.float64]:
    if not len(points):
        raise BadInput(f"'{path}' was to hold rows of numbers, and has none below its header")
    bad = ~np.isfinite(points)
    if bad.any():
        rows = np.flatnonzero(bad.any(1))
        where = [names[k] for k in np.flatnonzero(bad.any(0)).tolist()]
        raise BadInput(
            f"'{path}' was to hold finite numbers, and {len(rows)} of {len(points)} rows have a missing or infinite "
            f"value (rows {few(rows.tolist())}; columns {few(where)}). Leave them out, or fill them in"
        )
    return points


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return not cell.strip()
    return True
