"""A user's own points: a file of shape (n, d), read with care, and the scales that a flow is trained in."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.data.own_files import point_array
from gpot.errors import BadInput, DataMissing
from gpot.store import file_sha256

POINTS_PER_COLUMN = 10  # the eigenvalues of a covariance of n = 10 d points are off by sqrt(d / n) = 30 %
STEPS_PER_STD = 1000.0  # of float32 within a column's standard deviation, or its digits are visibly lost
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
        spread = points.std(0, dtype=np.float64)
        spread[np.ptp(points, axis=0) == 0] = 0.0  # of a constant column rounding may leave 1e-17, which is no scale
        return cls(points.mean(0, dtype=np.float64), spread)

    @property
    def log_det(self) -> float:
        """log|det du/dx|, the same at every point."""
        return -float(np.log(self.scale).sum())

    def apply(self, points: NDArray[Any]) -> NDArray[Any]:
        """x -> u, points (n, d), computed in float64 and returned in the floating dtype of the points."""
        return ((points - self.mean) / self.scale).astype(np.result_type(points, np.float32))

    def undo(self, points: NDArray[Any]) -> NDArray[Any]:
        """u -> x, likewise."""
        return (points * self.scale + self.mean).astype(np.result_type(points, np.float32))


def array_hash(path: Path | str) -> str:
    """sha256 of the file's bytes: what a key of the store takes for the data."""
    return file_sha256(_existing(path))


def read_points(path: Path | str) -> NDArray[np.float32]:
    """The points (n, d) of an .npy file, or of an .npz file: its only array, or the one named 'x' or 'points'.

    Raises: `DataMissing` without the file; `BadInput` for pickles, other shapes and dtypes, d < 2, n < 10 d, NaN and
    infinite values, constant columns, and columns whose digits float32 does not hold. No row is left out in silence.
    """
    path = _existing(path)
    return checked(load_points(path), str(path))


def checked(array: NDArray[Any], name: str) -> NDArray[np.float32]:
    """The array (n, d) as points, float32, or `BadInput` with what is wrong in `name`."""
    if array.dtype.kind not in "iuf":
        raise BadInput(f"{name} was to hold real numbers, and holds {array.dtype}. Convert it: array.astype('float32')")
    if array.ndim != 2 or array.shape[1] < 2:
        raise BadInput(f"{name} was to hold points of shape (n, d), d at least 2, and holds {array.shape}. Reshape it")
    n, dim = array.shape
    if n < POINTS_PER_COLUMN * dim:
        raise BadInput(
            f"{name} was to hold at least {POINTS_PER_COLUMN} points per column, and holds {n} of {dim} columns. "
            "Give more points, or transpose it if points are its columns"
        )
    with np.errstate(over="ignore"):  # what overflows is found below
        points = array.astype(np.float32)
    wrong = ~np.isfinite(points).all(1)
    if wrong.any():
        rows = ", ".join(map(str, np.flatnonzero(wrong)[:SHOWN])) + (", ..." if wrong.sum() > SHOWN else "")
        raise BadInput(
            f"{name} was to hold finite float32 numbers, and {wrong.sum()} of {n} rows have a NaN, an infinity or a "
            f"value beyond 3.4e38: rows {rows}. Leave them out: array[np.isfinite(array).all(1)], or rescale"
        )
    _check_spread(array.astype(np.float64), points, name)
    return points


def _check_spread(exact: NDArray[np.float64], points: NDArray[np.float32], name: str) -> None:
    constant = np.flatnonzero(np.ptp(exact, axis=0) == 0.0)
    if len(constant):
        raise BadInput(
            f"{name} was to have a density, and these columns are constant: {_columns(constant)}. Leave them out: "
            f"np.delete(array, {constant.tolist()}, axis=1)"
        )
    step = np.finfo(np.float32).eps * np.abs(exact).max(0)
    coarse = np.flatnonzero((exact.std(0) < STEPS_PER_STD * step) & (exact != points).any(0))
    if len(coarse):
        raise BadInput(
            f"{name} is used in float32, whose steps are too coarse for these columns far from 0: {_columns(coarse)} "
            "(standard deviation below 1000 steps). Centre it in float64 first: array - array.mean(0)"
        )


def _columns(index: NDArray[np.int_]) -> str:
    return ", ".join(map(str, index))


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
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
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
