"""Tables of numbers by their names: what is read, and what is refused with the next thing to type."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from gpot.data.tables import read_table
from gpot.errors import BadInput, DataMissing


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_with_and_without_names(tmp_path: Path, delimiter: str):
    rows = "1.5 2e3\n-3 1e16\n4 10000000000000001\n".replace(" ", delimiter)
    named = read_table(write(tmp_path / "a.csv", f"\ufeffheight{delimiter}width\n{rows}"))
    assert named.names == ("height", "width")
    assert named.points.dtype == np.float64 and named.points[1, 1] == 1e16
    bare = read_table(write(tmp_path / "b.csv", rows))
    assert bare.names == ("x0", "x1") and (bare.points == named.points).all()


def test_columns_are_chosen_by_name_and_in_order(tmp_path: Path):
    path = write(tmp_path / "a.csv", "name,b,a\nred,1,2\nblue,3,4\n")
    table = read_table(path, ["a", "b"])
    assert table.names == ("a", "b") and table.points.tolist() == [[2, 1], [4, 3]]
    with pytest.raises(BadInput, match="--columns b,a"):
        read_table(path)
    with pytest.raises(BadInput, match=r"no column c; its columns are name, b, a"):
        read_table(path, ["c"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("a,b\n", "none below its header"),
        ("a,a\n1,2\n", "several columns of the name a"),
        ("a,b\n1,2\n1,2,3\n", r"1 of 2 rows have another number of cells: rows 1"),
        ("a,b\n1,2\n1,\n3,inf\n", r"2 of 3 rows have a missing or infinite value \(rows 1, 2; columns b\)"),
    ],
)
def test_nothing_is_left_out_in_silence(tmp_path: Path, text: str, said: str):
    with pytest.raises(BadInput, match=said):
        read_table(write(tmp_path / "a.csv", text))


def test_npy_keeps_its_digits(tmp_path: Path):
    exact = 1e9 + np.random.default_rng(0).normal(size=(20, 3))
    np.save(tmp_path / "a.npy", exact)
    table = read_table(tmp_path / "a.npy")
    assert (table.points == exact).all() and table.names == ("x0", "x1", "x2")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match=r"takes pyarrow, .*pip install 'gpot\[tables\]'"):
        read_table(tmp_path / "a.parquet")


def test_parquet(tmp_path: Path):
    pyarrow = pytest.importorskip("pyarrow", reason="parquet is read by pyarrow: pip install 'gpot[tables]'")
    parquet = pytest.importorskip("pyarrow.parquet")

    columns = {"name": ["x", "y", "z"], "n": [1, 2, 3], "a": [0.5, None, 2.5], "exact": [1e9 + 1 / 3, 2.0, 3.0]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    table = read_table(tmp_path / "a.parquet", ["exact", "n"])
    assert table.names == ("exact", "n") and table.points.tolist() == [[1e9 + 1 / 3, 1], [2, 2], [3, 3]]
    with pytest.raises(BadInput, match="1 of 3 rows have a missing"):
        read_table(tmp_path / "a.parquet", ["n", "a"])
    with pytest.raises(BadInput, match=r"these do not: name\. .* --columns n,a,exact"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadInput, match="is not one"):
        read_table(tmp_path / "b.parquet")


def test_other_files(tmp_path: Path):
    with pytest.raises(DataMissing, match="there is no such file"):
        read_table(tmp_path / "a.csv")
    with pytest.raises(BadInput, match=r"\.parquet file, and got"):
        read_table(write(tmp_path / "a.xlsx", "1"))
