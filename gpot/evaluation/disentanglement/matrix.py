"""The matrices that disentanglement scores take: one row per image, finite, in two halves that belong together."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput

Matrix = NDArray[np.float64]


def finite_matrix(name: str, value: ArrayLike) -> Matrix:
    """The value as a non-empty float64 matrix (n, k).  Raises: BadInput for other shapes, NaN or infinity."""
    array = np.asarray(value, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise BadInput(f"{name} must be a non-empty matrix, one row per image; got shape {array.shape}.")
    bad = ~np.isfinite(array).all(axis=1)
    if bad.any():
        raise BadInput(
            f"{name} must be finite; {int(bad.sum())} of {len(array)} rows hold NaN or infinity, the first is row "
            f"{int(np.flatnonzero(bad)[0])}. Find out which map produced them before scoring the rest."
        )
    return array


def train_and_test(
    codes_train: ArrayLike, factors_train: ArrayLike, codes_test: ArrayLike, factors_test: ArrayLike
) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    """Codes and factors of training and test images, as `finite_matrix` has them.

    Arguments:
        codes_train, codes_test: shapes (n, d) and (m, d).
        factors_train, factors_test: shapes (n, k) and (m, k).
    Raises: BadInput for other shapes, NaN or infinity, rows or columns that do not match, or a factor that is constant.
    """
    codes = {"codes_train": codes_train, "codes_test": codes_test}
    factors = {"factors_train": factors_train, "factors_test": factors_test}
    x, x_test = (finite_matrix(*each) for each in codes.items())
    y, y_test = (finite_matrix(*each) for each in factors.items())
    shapes = f"codes_train {x.shape}, factors_train {y.shape}, codes_test {x_test.shape}, factors_test {y_test.shape}"
    if len(x) != len(y) or len(x_test) != len(y_test):
        raise BadInput(f"Codes and factors must have one row per image each; got {shapes}.")
    if x.shape[1] != x_test.shape[1] or y.shape[1] != y_test.shape[1]:
        raise BadInput(f"Training and test rows must have the same columns; got {shapes}.")
    for name, values in zip(factors, (y, y_test), strict=True):
        constant = np.flatnonzero(np.ptp(values, axis=0) == 0)
        if len(constant):
            raise BadInput(
                f"Every factor must vary; column {int(constant[0])} of {name} is the constant "
                f"{values[0, constant[0]]:g}. Leave constant factors (dSprites: colour) out, or take more images."
            )
    return x, y, x_test, y_test
