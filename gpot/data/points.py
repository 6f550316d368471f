"""A user's own points: a file of shape (n, d), read with care, and the scales that a flow is trained in."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.data.own_files import UNREADABLE, point_array
from gpot.errors import BadInput, DataMissing, GpotWarning
from gpot.store import file_sha256

POINTS_PER_COLUMN = 10  # the eigenvalues of a covariance of n = 10 d points are off by sqrt(d / n) = 30 %
STEPS_PER_STD = 1000.0  # of float32 within a column's standard deviation, or its digits are visibly lost
KEPT = 0.5  # share of a column's different values that float32 must tell apart
DEPENDENT = 1e-10  # least eigenvalue of a correlation matrix, of d: below, a column is a sum of others to rounding
ATOM = 0.01  # share of the rows with one and the same value from which a column is said to have no density
SHOWN = 5  # rows named in an error


@dataclass(frozen=True, eq=False)
class Standardization:
    r"""u = (x - mean) / scale, column by column; mean, scale (d,) float64. A density of u is one of x by

    .. math:: \log p_x(x) = \log p_u(u) + \mathtt{log\_det}, \qquad \mathtt{log\_det} = -\sum_k \log \mathtt{scale}_k
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.mean.ndim != 1 or self.mean.shape != self.scale.shape:
            raise BadInput(
                f"a standardization has one mean and one scale for each column, and got shapes {self.mean.shape}, "
                f"{self.scale.shape}; pass (d,) and (d,)"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.scale).all() and (self.scale > 0.0).all()):
            raise BadInput(
                f"a standardization needs finite means and scales above 0, and got mean {self.mean}, scale "
                f"{self.scale}; leave constant columns out"
            )

    @classmethod
    def of(cls, points: NDArray[Any]) -> Standardization:
        """Mean and standard deviation (over n, not n - 1) of the columns of points (n, d)."""
        mean = points.mean(0, dtype=np.float64)
        centred = points - mean
        largest = np.abs(centred).max(0)  # squares of what is near the ends of float64 overflow, or vanish
        largest[largest == 0.0] = 1.0
        spread = np.sqrt(((centred / largest) ** 2).mean(0)) * largest
        spread[np.ptp(points, axis=0) == 0] = 0.0  # of a constant column rounding may leave 1e-17, which is no scale
        return cls(mean, spread)

    @property
    def log_det(self) -> float:
        """log|det du/dx|, the same at every point."""
        return -float(np.log(self.scale).sum())

    def apply(self, points: NDArray[Any]) -> NDArray[Any]:
        """x -> u, points (n, d), computed in float64 and returned in the floating dtype of the points."""
        return ((points - self.mean) / self.scale).astype(np.result_type(points, np.float32))


def array_hash(path: Path | str) -> str:
    """sha256 of the file's bytes: what a key of the store takes for the data."""
    return file_sha256(_existing(path))


def read_points(path: Path | str) -> NDArray[np.float64]:
    """The points (n, d) of an .npy file, or of an .npz file: its only array, or the one named 'x' or 'points'.

    Raises: `DataMissing` without the file; `BadInput` for pickles and for all that `checked` refuses. No row is left
    out in silence.
    """
    path = _existing(path)
    return checked(load_points(path), str(path))


def checked(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    """The array (n, d) as points in float64, of which a density can be learned.

    A column of which many rows have the same value is accepted with a warning: counts, rounded numbers, zeros.
    Raises: BadInput, which says what is wrong in `name`: other shapes and dtypes, d < 2, n < 10 d, NaN and infinite
    values, constant columns, and columns that are linear in others, whose likelihood has no bound.
    """
    if array.dtype.kind not in "iuf":
        raise BadInput(f"{name} was to hold real numbers, and holds {array.dtype}. Convert it: array.astype('float64')")
    if array.ndim != 2 or array.shape[1] < 2:
        raise BadInput(f"{name} was to hold points of shape (n, d), d at least 2, and holds {array.shape}. Reshape it")
    n, dim = array.shape
    if n < POINTS_PER_COLUMN * dim:
        raise BadInput(
            f"{name} was to hold at least {POINTS_PER_COLUMN} points per column, and holds {n} of {dim} columns. "
            "Give more points, or transpose it if points are its columns"
        )
    with np.errstate(over="ignore"):  # a long double may not fit; what overflows is found below
        points = array.astype(np.float64)
    wrong = ~np.isfinite(points).all(1)
    if wrong.any():
        raise BadInput(
            f"{name} was to hold finite numbers, and {wrong.sum()} of {n} rows have a NaN, an infinity or a "
            f"value beyond 1.8e308: rows {few(np.flatnonzero(wrong))}. Leave them out: "
            "array[np.isfinite(array).all(1)], or rescale"
        )
    constant = np.flatnonzero(np.ptp(points, axis=0) == 0.0)
    if len(constant):
        raise BadInput(
            f"{name} was to have a density, and these columns are constant: {few(constant, dim)}. Leave them out: "
            f"np.delete(array, {constant.tolist()}, axis=1)"
        )
    _refuse_dependent(points, name)
    _speak_of_atoms(points, name)
    return points


def single(points: NDArray[np.float64], name: str, before: NDArray[np.float64] | None = None) -> NDArray[np.float32]:
    """Checked points (n, d) in float32, as a flow sees them. before: what they were before they were standardized.

    Raises: BadInput where float32 does not hold them: values beyond 3.4e38, or columns whose digits or whose different
    values are lost.
    """
    with np.errstate(over="ignore", under="ignore"):
        narrow = points.astype(np.float32)
    wrong = ~np.isfinite(narrow).all(1)
    if wrong.any():
        raise BadInput(
            f"{name} was to hold finite float32 numbers, and {wrong.sum()} of {len(points)} rows have a value beyond "
            f"3.4e38: rows {few(np.flatnonzero(wrong))}. Leave them out, or rescale"
        )
    step = np.finfo(np.float32).eps * np.abs(points).max(0)
    coarse = np.flatnonzero((points.std(0) < STEPS_PER_STD * step) & (points != narrow).any(0))
    if len(coarse):
        raise BadInput(
            f"{name} is used in float32, whose steps are too coarse for these columns far from 0: "
            f"{few(coarse, points.shape[1])} (standard deviation below 1000 steps). Centre it in float64 first: "
            "array - array.mean(0)"
        )
    exactly = points if before is None else before
    for column, (exact, rounded) in enumerate(zip(exactly.T, narrow.T, strict=True)):
        if (different := len(np.unique(exact))) * KEPT > (kept := len(np.unique(rounded))):
            far = np.argsort(-np.abs(exact - np.median(exact)), kind="stable")[:1]
            raise BadInput(
                f"{name} is used in float32, in which column {column} keeps {kept} of its {different} different "
                f"values: its values are too small, or row {far[0]}, the farthest from the others, is too far from "
                "them (a fill value?). Leave such rows out, or rescale the column in float64"
            )
    return narrow


def _refuse_dependent(points: NDArray[np.float64], name: str) -> None:
    """By the least eigenvalue of the correlation matrix: 0 where a sum of columns is constant, its eigenvector."""
    u = Standardization.of(points).apply(points)
    values, vectors = np.linalg.eigh(u.T @ u / len(points))
    if values[0] > DEPENDENT * points.shape[1]:
        return
    weights = vectors[:, 0] / np.abs(vectors[:, 0]).max()
    part = np.flatnonzero(np.abs(weights) > 1e-6)
    raise BadInput(
        f"{name} was to have a density, and its columns {few(part, len(weights))} depend on each other: a sum of them "
        f"is constant, so a likelihood has no bound. Leave one out: np.delete(array, {part[-1]}, axis=1)"
    )


def _speak_of_atoms(points: NDArray[np.float64], name: str) -> None:
    for column, values in enumerate(points.T):
        found, times = np.unique(values, return_counts=True)
        most = int(times.argmax())
        if times[most] >= max(SHOWN, ATOM * len(points)):
            warnings.warn(
                f"{name}: {times[most]} of {len(points)} rows have the value {found[most]:.6g} in column {column}, "
                f"which has {len(found)} different values: such a column has no density, and a likelihood of it has no "
                "bound. Add noise as wide as the step between its values, or leave it out",
                GpotWarning,
                stacklevel=3,
            )


def few(values: Sequence[Any] | NDArray[Any], shown: int = SHOWN) -> str:
    """The first of them in words."""
    return ", ".join(map(str, values[:shown])) + (", ..." if len(values) > shown else "")


def _existing(path: Path | str) -> Path:
    path = Path(path)
    if not path.is_file():
        raise DataMissing(f"points (n, d) were asked for from {path}, and there is no such file. Check the path")
    return path


def load_points(path: Path) -> NDArray[Any]:
    """The array of an .npy file, or the array of an .npz file that holds the points, as it is."""
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return loaded
        with loaded as arrays:
            name = _name_of_points(arrays.files, path)
            array: NDArray[Any] = arrays[name]
            return array
    except BadInput:  # a ValueError too
        raise
    except UNREADABLE as error:
        raise BadInput(
            f"{path} was to be a whole .npy or .npz file of numbers, not pickled, and is not one. "
            "Save it with np.save(path, np.asarray(points, dtype='float32'))"
        ) from error


def _name_of_points(names: list[str], path: Path) -> str:
    name = point_array(names)
    if name is not None:
        return name
    raise BadInput(
        f"{path} was to hold one array, or one of its arrays named 'x' or 'points', and holds: "
        f"{', '.join(names) or 'none'}. Save it with np.savez(path, x=points)"
    )
