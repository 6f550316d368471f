"""A user's own points: what is read, what is refused and with what words, and the standardization."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpot.data.points import Standardization, array_hash, checked, read_points, single
from gpot.errors import BadInput, DataMissing, GpotWarning

EPS = np.finfo(np.float64).eps


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((50, 3)) * [1.0, 200.0, 1e-3] + [0.0, -5.0, 7.0]


def saved(path: Path, array: Any, **options: Any) -> Path:
    np.save(path, array, **options)
    return path


# -- reading -------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", ">f8", "int16", "uint8"])
def test_numbers_come_back_as_float64(tmp_path: Path, dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 100, (50, 3)).astype(dtype)
    read = read_points(saved(tmp_path / "a.npy", np.asfortranarray(array)))
    assert read.dtype == np.float64 and np.array_equal(read, array)


@pytest.mark.parametrize(
    "names", [("anything",), ("x",), ("x", "labels"), ("labels", "points"), ("x", "points"), ("a", "b")]
)
def test_npz(tmp_path: Path, points: np.ndarray, names: tuple[str, ...]) -> None:
    arrays = {name: points if name in ("x", "points", "anything") else np.zeros(3) for name in names}
    np.savez(tmp_path / "a.npz", **arrays)
    if names in (("x", "points"), ("a", "b")):  # two to choose from, or none
        with pytest.raises(BadInput, match=f"holds: {', '.join(names)}. Save it with np.savez"):
            read_points(tmp_path / "a.npz")
    else:
        assert np.array_equal(read_points(str(tmp_path / "a.npz")), points)


def test_an_empty_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz")
    with pytest.raises(BadInput, match="holds: none"):
        read_points(tmp_path / "a.npz")


def test_no_file(tmp_path: Path) -> None:
    for read in (read_points, array_hash):
        for path in (tmp_path / "none.npy", tmp_path):
            with pytest.raises(DataMissing, match=f"{path}, and there is no such file"):
                read(path)


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("kind", ["npy", "npz", "pickle"])
def test_pickles_are_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    path, trace = tmp_path / f"a.{kind}", tmp_path / "trace"
    array = np.array([[Trap(trace)] * 2] * 20, dtype=object)
    if kind == "npz":
        np.savez(path, x=array)
    elif kind == "npy":
        saved(path, array, allow_pickle=True)
    else:
        array.dump(path)
    with pytest.raises(BadInput, match=r"not pickled.*Save it with np.save"):
        read_points(path)
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"1.0,2.0\n3.0,4.0\n", b"PK\x03\x04 cut short", b"\x93NUMPY\x01\x00"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=r"was to be a whole \.npy or .npz file"):
        read_points(path)


def test_a_file_cut_short_is_refused(tmp_path: Path, points: np.ndarray) -> None:
    path = saved(tmp_path / "a.npy", points)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(BadInput, match=r"was to be a whole \.npy or .npz file"):
        read_points(path)


def test_hash(tmp_path: Path, points: np.ndarray) -> None:
    path = saved(tmp_path / "a.npy", points)
    assert array_hash(path) == array_hash(str(path)) == hashlib.sha256(path.read_bytes()).hexdigest()


# -- checks ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(50), r"holds \(50,\). Reshape it"),
        (np.zeros((50, 2, 2)), r"holds \(50, 2, 2\)"),
        (np.zeros((50, 1)), "d at least 2"),
        (np.zeros((0, 2)), "holds 0 of 2 columns"),
        (np.zeros((2, 50)), "at least 10 points per column, and holds 2 of 50 columns. .*transpose"),
        (np.zeros((19, 2)), "holds 19 of 2"),
        (np.zeros((50, 2), dtype=complex), "holds complex128. Convert it"),
        (np.zeros((50, 2), dtype=bool), "holds bool"),
        (np.full((50, 2), "1.0"), "holds <U3"),
        (np.zeros(50, dtype=[("a", "f4"), ("b", "f4")]), "holds .*'a'"),
    ],
)
def test_shape_and_dtype(array: np.ndarray, words: str) -> None:
    with pytest.raises(BadInput, match=f"the file .*{words}"):
        checked(array, "the file")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_counted_and_named(points: np.ndarray, bad: float) -> None:
    points[7, 1] = bad
    with pytest.raises(BadInput, match=r"1 of 50 rows .*: rows 7\. Leave them out"):
        checked(points, "p")
    points[7, 2] = points[[3, 11, 12, 20, 49], 0] = bad
    with pytest.raises(BadInput, match=r"6 of 50 rows .*: rows 3, 7, 11, 12, 20, \.\.\."):
        checked(points, "p")


def test_constant_columns_are_named(points: np.ndarray) -> None:
    points[:, [0, 2]] = [4.0, 0.1]
    with pytest.raises(BadInput, match=r"constant: 0, 2\. Leave them out: np.delete\(array, \[0, 2\], axis=1\)"):
        checked(points, "p")


def test_digits_that_float32_does_not_hold(points: np.ndarray) -> None:
    far = points + np.array([0.0, 1.7e9, 0.0])  # seconds since 1970: float32 counts them in steps of 128
    with pytest.raises(BadInput, match=r"far from 0: 1 .*Centre it in float64"):
        single(checked(far, "p"), "p")
    assert single(far - far.mean(0), "p").shape == (50, 3)
    assert np.allclose(Standardization.of(far).apply(far), Standardization.of(points).apply(points), atol=1e-6)
    held = np.round(points[:, :2]).astype(np.float32) + np.float32([0.0, 2.0**20])
    assert np.array_equal(single(held.astype(np.float64), "p"), held)
    points[4, 1] = 1e39
    with pytest.raises(BadInput, match=r"1 of 50 rows have a value beyond 3.4e38: rows 4\."):
        single(points, "p")


def test_a_fill_value_is_named_and_small_numbers_are_kept(points: np.ndarray) -> None:
    filled = np.random.default_rng(0).normal(size=(2000, 2))
    filled[7, 0] = 9.97e36
    u = Standardization.of(filled).apply(checked(filled, "p"))
    with pytest.raises(BadInput, match=r"column 0 keeps 2 of its 2000 different values: .* or row 7, the farthest"):
        single(u, "p", filled)
    for size in (1e-44, 1e-300, 1e300):
        tiny = points * size
        u = Standardization.of(tiny).apply(checked(tiny, "p"))
        assert np.allclose(single(u, "p", tiny), Standardization.of(points).apply(points), atol=1e-6)
    with pytest.raises(BadInput, match="float32, in which column 0 keeps"):
        single(points * 1e-44, "p")


@pytest.mark.parametrize("weights", [[1.0, 0.0, 0.0], [2.0, -1.0, 0.5]])
def test_columns_that_depend_on_each_other_are_named(points: np.ndarray, weights: list[float]) -> None:
    both = np.column_stack([points, points @ weights + 3.0])
    part = ", ".join(str(k) for k, weight in enumerate([*weights, 1.0]) if weight)
    with pytest.raises(BadInput, match=rf"columns {part} depend on each other.*np.delete\(array, 3, axis=1\)"):
        checked(both, "p")
    both[:, 3] += 1e-3 * both[:, 3].std() * np.random.default_rng(1).normal(size=len(both))
    assert np.array_equal(checked(both, "p"), both)


def test_a_column_of_counts_is_spoken_of(points: np.ndarray, recwarn: pytest.WarningsRecorder) -> None:
    checked(points, "p")
    assert not [warning for warning in recwarn if issubclass(warning.category, GpotWarning)]
    points[:, 1] = np.arange(50) // 10
    with pytest.warns(GpotWarning, match=r"10 of 50 rows have the value 0 in column 1, which has 5 different values"):
        checked(points, "p")


def test_checked_points_pass_unchanged(points: np.ndarray) -> None:
    before = points.copy()
    assert np.array_equal(checked(points, "p"), points) and np.array_equal(points, before)
    assert np.array_equal(single(points, "p"), points.astype(np.float32))


# -- standardization ---------------------------------------------------------------


def test_standardized_points_have_mean_0_and_deviation_1(points: np.ndarray) -> None:
    standard = Standardization.of(points)
    u = standard.apply(points)
    rounding = 10.0 * EPS * (1.0 + np.abs(standard.mean) / standard.scale)  # of x - mean, in units of the scale
    assert (np.abs(u.mean(0)) < rounding).all() and (np.abs(u.std(0) - 1.0) < rounding).all()
    undone = u * standard.scale + standard.mean
    assert (np.abs(undone - points) <= 4.0 * EPS * (np.abs(points) + np.abs(standard.mean))).all()
    assert standard.mean.dtype == standard.scale.dtype == np.float64


def test_the_dtype_of_the_points_is_kept_and_the_moments_are_not_its(points: np.ndarray) -> None:
    many = np.tile(points.astype(np.float32), (2000, 1)) + np.float32(1000.0)  # float32 sums would be off
    standard = Standardization.of(many)
    assert standard.mean == pytest.approx(many.astype(np.float64).mean(0), rel=1e-12)
    u = standard.apply(many)
    assert u.dtype == np.float32
    assert np.allclose(u * standard.scale + standard.mean, many, rtol=2.0 * np.finfo(np.float32).eps, atol=0)


def test_a_likelihood_comes_back_to_the_original_units(points: np.ndarray) -> None:
    """A Gaussian fitted to u, plus log_det, is the Gaussian fitted to x."""
    standard = Standardization.of(points)
    u = standard.apply(points)
    log_p_u = -0.5 * (u**2).sum(1) - 1.5 * math.log(2.0 * math.pi)
    z = (points - points.mean(0)) / points.std(0)
    log_p_x = -0.5 * (z**2).sum(1) - 1.5 * math.log(2.0 * math.pi) - np.log(points.std(0)).sum()
    assert np.allclose(log_p_u + standard.log_det, log_p_x, rtol=1e-9, atol=0)
    jacobian = (standard.apply(points[:1] + np.diag(standard.scale)) - standard.apply(points[:1])) / standard.scale
    assert np.linalg.slogdet(jacobian).logabsdet == pytest.approx(standard.log_det, rel=1e-9)


def test_whole_numbers_are_not_rounded() -> None:
    points = np.arange(40).reshape(20, 2)
    u = Standardization.of(points).apply(points)
    assert u.dtype == np.float64 and u.std(0) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("scale", [[1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [np.inf, 1.0]])
def test_a_standardization_that_cannot_be_undone(scale: list[float]) -> None:
    with pytest.raises(BadInput, match="scales above 0"):
        Standardization(np.zeros(2), np.array(scale))


def test_a_standardization_of_other_shapes(points: np.ndarray) -> None:
    with pytest.raises(BadInput, match=r"\(2,\), \(3,\)"):
        Standardization(np.zeros(2), np.ones(3))
    with pytest.raises(BadInput, match="leave constant columns out"):
        Standardization.of(np.full((50, 2), 0.1))  # whose mean is not 0.1, to rounding
