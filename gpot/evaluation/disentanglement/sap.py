r"""SAP: separated attribute predictability (Kumar, Sattigeri and Balakrishnan, 2018, sec. 3; key kumar2018dip).

:math:`S_{ij}` says how well factor :math:`v_j` is predicted from the single coordinate :math:`c_i`:

- ordered or continuous factor: the squared correlation
  :math:`\mathrm{Cov}(c_i, v_j)^2 / (\mathrm{Var}\, c_i\, \mathrm{Var}\, v_j)` over the test rows, the :math:`R^2` of
  the best line there;
- discrete factor: the accuracy (1 - error) on the test rows of a linear classifier that was fitted to the training
  rows.

.. math:: \mathrm{SAP} = \frac1k \sum_j \bigl( S_{(1)j} - S_{(2)j} \bigr), \quad S_{(1)j} \ge S_{(2)j} \ge \dots

It is the mean gap between the best and the second best coordinate. A perfect code has a gap of 1 for an ordered factor,
but of 1 - 1 / classes for a discrete one with equal classes: the second best coordinate is right by chance. A constant
coordinate has S = 0, also for discrete factors, as in Kumar et al.: beside only constant ones, the gap is the accuracy.

Departures, for discrete factors. Kumar et al. fit thresholds to the test rows and count balanced accuracy. Here, as in
Locatello et al. (2019; key locatello2019), scikit-learn's `LinearSVC(C=0.01, class_weight="balanced")` is fitted to the
training rows and counts plain accuracy. With more than two classes it takes the largest of one line per class, which
thresholds can match or beat. Unlike Locatello et al. we first bring each coordinate to mean 0 and standard deviation 1
on the training rows: the penalty of the classifier (on its intercept, too) depends on the unit and the origin of the
coordinate, and thresholds and correlations do not. For ordered factors Locatello et al. correlate the training rows;
Kumar et al., and we, the test rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput
from gpot.evaluation.disentanglement.matrix import train_and_test

Array = NDArray[np.float64]

_PENALTY = 0.01  # C of the classifier, that of Locatello et al.


@dataclass(frozen=True)
class SapScore:
    """Score of one code. d coordinates, k factors."""

    sap: float  # mean of the gaps
    gap_per_factor: Array  # (k,)
    score: Array  # S, (d, k): test accuracy for discrete factors, squared correlation for the others
    discrete: tuple[bool, ...]  # which of the two, k entries


def sap(
    codes_train: ArrayLike,
    factors_train: ArrayLike,
    codes_test: ArrayLike,
    factors_test: ArrayLike,
    *,
    discrete: Sequence[bool],
    seed: int = 0,
) -> SapScore:
    """Separated attribute predictability of the module's docstring.

    Arguments:
        codes_train, codes_test: (n, d), (m, d), d >= 2. Computed in float64 whatever the input.
        factors_train, factors_test: (n, k), (m, k) factor values.
        discrete: k entries; True takes each distinct value as a class, False takes the value as a number. For dSprites
            shape is discrete, the others are ordered.
        seed: of the classifier. Its primal solver, used here because n > 1, draws nothing: scores do not depend on it.

    A coordinate that is constant on the training rows or on the test rows has S = 0. The time grows with the classes of
    the discrete factors: one binary fit for each class and coordinate.

    Raises: BadInput for shapes that do not match, NaN or infinity, fewer than two coordinates, a constant factor, a
    discrete factor with test values that no training row has.
    """
    x, y, x_test, y_test = train_and_test(codes_train, factors_train, codes_test, factors_test)
    kinds = tuple(bool(kind) for kind in discrete)
    if x.shape[1] < 2:
        raise BadInput(
            f"SAP compares coordinates: at least two are needed; got {x.shape[1]}. Give all of them at once."
        )
    _check_classes(y, y_test, kinds)

    varies = (np.ptp(x, axis=0) > 0) & (np.ptp(x_test, axis=0) > 0)
    x, x_test = x[:, varies], x_test[:, varies]
    mean, spread = x.mean(axis=0), x.std(axis=0)
    x, x_test = (x - mean) / spread, (x_test - mean) / spread

    score = np.zeros((len(varies), y.shape[1]))
    for j, kind in enumerate(kinds):
        if kind:
            score[varies, j] = _accuracy(x, y[:, j], x_test, y_test[:, j], seed)
        else:
            score[varies, j] = _squared_correlation(x_test, y_test[:, j])
    second, first = np.sort(score, axis=0)[-2:]
    gap = first - second
    return SapScore(float(gap.mean()), gap, score, kinds)


def _squared_correlation(x: Array, y: Array) -> Array:
    """(m, d), (m,) -> (d,)."""
    x, y = x - x.mean(axis=0), y - y.mean()
    r: Array = (y @ x) ** 2 / ((x**2).sum(axis=0) * (y @ y))
    return r


def _accuracy(x: Array, y: Array, x_test: Array, y_test: Array, seed: int) -> Array:
    """Share of test rows whose class a linear classifier finds from one coordinate, for each coordinate. -> (d,)."""
    # imported where used, as in dci.py: scikit-learn takes a second or two to load
    from sklearn.svm import LinearSVC

    # classes by number: scikit-learn refuses fractional values as classes
    values, label = np.unique(y, return_inverse=True)
    truth = np.searchsorted(values, y_test)
    result = np.empty(x.shape[1])
    for i in range(x.shape[1]):
        model = LinearSVC(C=_PENALTY, class_weight="balanced", dual=False, random_state=seed)
        model.fit(x[:, [i]], label)
        result[i] = np.mean(model.predict(x_test[:, [i]]) == truth)
    return result


def _check_classes(y: Array, y_test: Array, discrete: tuple[bool, ...]) -> None:
    if len(discrete) != y.shape[1]:
        raise BadInput(
            f"discrete must say for each of the {y.shape[1]} factors whether it is discrete; got {len(discrete)} "
            f"entries. Give {y.shape[1]} of True (classes) and False (ordered or continuous)."
        )
    for j in np.flatnonzero(discrete):
        unseen = np.setdiff1d(y_test[:, j], y[:, j])
        if len(unseen):
            raise BadInput(
                f"Factor {int(j)} is discrete, and {len(unseen)} of its test values, {unseen[0]:g} the first, are in "
                "no training row: no classifier can name them. Take more training rows, or set its entry of discrete "
                "to False if its values are numbers."
            )
