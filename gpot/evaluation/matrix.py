"""The matrices that disentanglement scores take: one row per image, finite."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput


def finite_matrix(name: str, value: ArrayLike) -> NDArray[np.float64]:
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
