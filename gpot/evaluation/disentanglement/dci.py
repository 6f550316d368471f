r"""DCI: disentanglement, completeness and informativeness of a code (Eastwood and Williams, 2018; Table 1).

Each factor f is regressed on the C coordinates of the code. The importance of coordinate c for factor f,
:math:`R_{cf}`, is the absolute value of its Lasso coefficient (or its feature importance in a random forest). With the
entropy score of a row of n non-negative numbers

.. math:: S(r) = 1 + \sum_k p_k \log(p_k + \epsilon) / \log(n + \epsilon), \quad
    p = (r + \epsilon) / \sum (r + \epsilon), \quad \epsilon = 10^{-12},

(1 if one entry holds everything, 0 if all are equal) the three scores are

- disentanglement :math:`\sum_c w_c S(R_{c\cdot})`, :math:`w_c = \sum_f R_{cf} / \sum R`: a coordinate serves one
  factor;
- completeness :math:`\mathrm{mean}_f\, S(R_{\cdot f})`: a factor is served by one coordinate;
- informativeness :math:`\mathrm{mean}_f` of the root mean squared error over the factor's standard deviation, an error:
  *lower* is better.

Neither codes nor factors are normalised, and columns of R are not either: a factor with a wide range (orientation)
weighs more than one with a narrow range (scale). That is how the printed scores were computed.

Departure: the paper's text leaves shape out; its printed numbers are reproduced only with it. See :class:`Protocol`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput
from gpot.evaluation.disentanglement.matrix import train_and_test

if TYPE_CHECKING:
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Lasso

FACTOR_NAMES = ("shape", "scale", "orientation", "posX", "posY")  # latent values, columns 1 to 5

_EPSILON = 1e-12
# Bounds the cost: each tree sees at most 10,000 rows, so 40,000 x 10 codes and five factors take about 7 CPU seconds.
# Trees of depth at most 12 with at least 5 rows in a leaf do not memorise single images. On dSprites another seed moves
# the scores by about 0.002.
_FOREST = {"n_estimators": 20, "max_depth": 12, "min_samples_leaf": 5, "n_jobs": 1}
_FOREST_ROWS = 10_000  # drawn with replacement for each tree

Array = NDArray[np.float64]


class Regressor(str, Enum):
    """`lasso`: linear, the one behind the printed scores. `forest`: random forest, sees non-linear dependence too."""

    lasso = "lasso"
    forest = "forest"


class Protocol(str, Enum):
    """Which dSprites factors are predicted.

    `with_shape`: all five that vary, the printed Table 1. `continuous`: all but shape, as the paper's text says.
    """

    with_shape = "with_shape"
    continuous = "continuous"

    @property
    def columns(self) -> tuple[int, ...]:
        """Columns of the six latent values (colour, shape, scale, orientation, posX, posY)."""
        return (1, 2, 3, 4, 5) if self is Protocol.with_shape else (2, 3, 4, 5)

    @property
    def factor_names(self) -> tuple[str, ...]:
        """Names of those columns."""
        return tuple(FACTOR_NAMES[column - 1] for column in self.columns)

    def factors(self, latents_values: ArrayLike) -> Array:
        """Choose the protocol's columns. (n, 6) latent values -> (n, 5) or (n, 4)."""
        values = np.asarray(latents_values, dtype=np.float64)
        if values.ndim != 2 or values.shape[1] != 6:
            raise BadInput(
                "dSprites latent values must have shape (n, 6), columns color, shape, scale, orientation, posX, posY; "
                f"got {values.shape}. Take them from gpot.data.dsprites.values_of(classes)."
            )
        return values[:, list(self.columns)]


@dataclass(frozen=True)
class DCIScores:
    """Scores of one code. C coordinates, F factors; an `informativeness` is an error, lower is better."""

    disentanglement: float
    completeness: float
    informativeness: float  # test images
    informativeness_train: float
    importance: Array  # R, (C, F)
    disentanglement_per_code: Array  # (C,)
    completeness_per_factor: Array  # (F,)
    nrmse_per_factor: Array  # (F,), test images
    nrmse_train_per_factor: Array  # (F,)


def entropy_score(rows: ArrayLike) -> Array:
    """Score S of the module's docstring for each row: 1 if one entry holds everything, 0 if all are equal.

    Arguments:
        rows: (m, n) non-negative, n >= 2.
    Returns: (m,). A row of zeros scores 0.
    """
    r = np.asarray(rows, dtype=np.float64) + _EPSILON
    p = r / r.sum(axis=1, keepdims=True)
    score: Array = 1.0 + (p * np.log(p + _EPSILON)).sum(axis=1) / np.log(r.shape[1] + _EPSILON)
    return score


def dci_scores(
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    codes_test: ArrayLike,
    factors_test: ArrayLike,
    regressor: Regressor | str = Regressor.lasso,
    alpha: float = 0.02,
    seed: int = 0,
) -> DCIScores:
    """Fit one regression per factor on the training rows, score it on both sets.

    Arguments:
        codes_train, codes_test: (n, C), (m, C). Computed in float64 whatever the input.
        factors_train, factors_test: (n, F), (m, F) factor values, F >= 2.
        regressor: `lasso` (the printed scores) or `forest` (20 trees of depth at most 12, leaves of at least 5 rows,
            each tree on at most 10,000 rows, otherwise scikit-learn's defaults; shape is regressed like the others).
        alpha: weight of the L1 norm in the Lasso; its other settings are scikit-learn's defaults.
        seed: of the forest; the Lasso is deterministic.

    Where no regression uses any coordinate (R = 0) the weights w_c are undefined; disentanglement is 0, as every S is.

    Raises: BadInput for shapes that do not match, NaN or infinity, fewer than two factors or coordinates, a constant
    factor.
    """
    regressor = _choice(regressor)
    x, y, x_test, y_test = train_and_test(codes_train, factors_train, codes_test, factors_test)
    if x.shape[1] < 2 or y.shape[1] < 2:
        raise BadInput(
            f"DCI compares coordinates and factors: at least two of each are needed; got {x.shape[1]} coordinates and "
            f"{y.shape[1]} factors."
        )
    new_model = _models(regressor, alpha, seed, n_rows=len(x))
    importance = np.empty((x.shape[1], y.shape[1]))
    nrmse, nrmse_train = np.empty(y.shape[1]), np.empty(y.shape[1])
    for f in range(y.shape[1]):
        model = new_model().fit(x, y[:, f])
        importance[:, f] = np.abs(model.coef_) if regressor is Regressor.lasso else model.feature_importances_
        nrmse[f] = _nrmse(model.predict(x_test), y_test[:, f])
        nrmse_train[f] = _nrmse(model.predict(x), y[:, f])

    per_code, per_factor = entropy_score(importance), entropy_score(importance.T)
    total = importance.sum()
    weights = importance.sum(axis=1) / total if total > 0 else np.zeros(len(importance))
    return DCIScores(
        disentanglement=float(weights @ per_code),
        completeness=float(per_factor.mean()),
        informativeness=float(nrmse.mean()),
        informativeness_train=float(nrmse_train.mean()),
        importance=importance,
        disentanglement_per_code=per_code,
        completeness_per_factor=per_factor,
        nrmse_per_factor=nrmse,
        nrmse_train_per_factor=nrmse_train,
    )


def official_split(
    n: int = 737_280, n_train: int = 40_000, n_test: int = 10_000, seed: int = 42, test_share: float = 0.2
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the dataset that the printed scores were computed on.

    One permutation of 0..n-1 by NumPy's legacy generator (whose stream is frozen): the first ceil(test_share n) entries
    are the test part, the others the training part; of each the first n_test and n_train are kept, in that order. This
    is what scikit-learn's `train_test_split(arange(n), test_size=test_share, random_state=seed)` gives.

    Returns: train_index (n_train,), test_index (n_test,), disjoint.
    """
    n_test_part = int(np.ceil(test_share * n))
    if not (0 < n_test <= n_test_part and 0 < n_train <= n - n_test_part):
        raise BadInput(
            f"A split of {n} rows with test share {test_share} has {n - n_test_part} training and {n_test_part} test "
            f"rows; asked for {n_train} and {n_test}. Lower n_train or n_test to at most those, and at least 1."
        )
    permutation = np.random.RandomState(seed).permutation(n).astype(np.int64)
    return permutation[n_test_part : n_test_part + n_train], permutation[:n_test]


def _models(regressor: Regressor, alpha: float, seed: int, n_rows: int) -> Callable[[], Lasso | RandomForestRegressor]:
    # imported where used: the configuration needs this module's enums, and scikit-learn takes a second or two to load
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import Lasso

    if regressor is Regressor.lasso:
        if not alpha > 0:
            raise BadInput(f"alpha, the Lasso's weight, must be positive; got {alpha}. The printed scores use 0.02.")
        return lambda: Lasso(alpha=alpha)
    return lambda: RandomForestRegressor(random_state=seed, max_samples=min(_FOREST_ROWS, n_rows), **_FOREST)


def _nrmse(predicted: Array, factor: Array) -> float:
    """Root mean squared error over the population standard deviation of the factor."""
    return float(np.sqrt(np.mean((predicted - factor) ** 2)) / np.std(factor))


def _choice(regressor: Regressor | str) -> Regressor:
    try:
        return Regressor(regressor)
    except ValueError:
        options = ", ".join(option.value for option in Regressor)
        raise BadInput(f"regressor must be one of {options}; got {regressor!r}.") from None
