"""MIG against closed forms: full factorial designs, where independence and the entropies are exact."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import chi2

from gpot.errors import BadInput
from gpot.evaluation.disentanglement.mig import mig

ROUNDING = 1e-12  # sums of a few hundred terms of size about 1 in float64


def factorial(*sizes: int) -> np.ndarray:
    """All combinations of the classes 0..size-1: independent columns, uniform classes, both exactly."""
    return np.array(list(itertools.product(*(range(size) for size in sizes))), dtype=np.float64)


def binary_entropy(p: float) -> float:
    return float(-p * np.log(p) - (1 - p) * np.log(1 - p))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_permuted_and_scaled_factors_score_one(order: tuple[int, ...]) -> None:
    factors = factorial(3, 5, 20)  # 20 classes fill the 20 bins
    result = mig(factors[:, list(order)] * [-2.5, 0.1, 1e3] + [7.0, 0.0, -1.0], factors)
    entropy = np.log([3, 5, 20])
    assert np.allclose(result.factor_entropy, entropy, rtol=0, atol=ROUNDING)
    assert np.allclose(result.mutual_information, np.diag(entropy)[list(order)], rtol=0, atol=ROUNDING)
    assert np.allclose(result.gap_per_factor, 1.0, rtol=0, atol=ROUNDING)
    assert result.mig == pytest.approx(1.0, abs=ROUNDING)


def test_more_classes_than_bins_cannot_reach_one() -> None:
    factors = factorial(40, 3)
    result = mig(factors, factors)
    # 20 bins of two classes each: all that the bins can tell is log 20
    assert np.allclose(result.gap_per_factor, [np.log(20) / np.log(40), 1.0], rtol=0, atol=ROUNDING)
    assert result.mig == pytest.approx(result.gap_per_factor.mean(), abs=ROUNDING)
    assert mig(factors, factors, n_bins=40).mig == pytest.approx(1.0, abs=ROUNDING)


def test_gap_between_two_noisy_channels() -> None:
    """A bit seen through channels that flip it with chance 1/4 and 3/8: I = log 2 - h(p), in exact proportions."""
    bit, first, second, other = factorial(2, 4, 8, 2).T
    codes = np.stack([bit != (second < 3), bit != (first < 1)], axis=1)
    result = mig(codes, np.stack([bit, other], axis=1))
    h_first, h_second = binary_entropy(1 / 4), binary_entropy(3 / 8)
    expected = np.array([[np.log(2) - h_second, 0], [np.log(2) - h_first, 0]])
    assert np.allclose(result.mutual_information, expected, rtol=0, atol=ROUNDING)
    assert result.gap_per_factor[0] == pytest.approx((h_second - h_first) / np.log(2), abs=ROUNDING)
    assert result.gap_per_factor[1] == pytest.approx(0.0, abs=ROUNDING)


def test_unequal_classes_are_divided_by_their_own_entropy() -> None:
    factors = np.repeat(factorial(2, 2), [1, 1, 3, 3], axis=0)  # first column: shares 1/4 and 3/4
    result = mig(factors, factors)
    assert result.factor_entropy[0] == pytest.approx(binary_entropy(1 / 4), abs=ROUNDING)
    assert result.mig == pytest.approx(1.0, abs=ROUNDING)


def test_a_factor_carried_twice_has_no_gap() -> None:
    factors = factorial(4, 5)
    result = mig(np.stack([factors[:, 0], -3 * factors[:, 0], factors[:, 1]], axis=1), factors)
    assert np.allclose(result.gap_per_factor, [0.0, 1.0], rtol=0, atol=ROUNDING)


def test_one_coordinate_may_serve_two_factors() -> None:
    factors = factorial(3, 4)
    result = mig(np.stack([4 * factors[:, 0] + factors[:, 1], np.zeros(12)], axis=1), factors)
    assert result.mig == pytest.approx(1.0, abs=ROUNDING)


def test_rotation_by_45_degrees_leaves_no_gap() -> None:
    factors = factorial(10, 10)
    sums = np.stack([factors[:, 0] + factors[:, 1], factors[:, 1] - factors[:, 0]], axis=1)  # 19 values in 20 bins
    result = mig(sums / np.sqrt(2), factors)
    # given one factor the sum is uniform on ten values: I = H(sum) - log 10
    p = np.array([10 - abs(k) for k in range(-9, 10)]) / 100
    expected = -(p * np.log(p)).sum() - np.log(10)
    assert np.allclose(result.mutual_information, expected, rtol=0, atol=ROUNDING)
    assert np.allclose(result.gap_per_factor, 0.0, rtol=0, atol=ROUNDING)


def test_a_smaller_rotation_lies_between() -> None:
    """Rows spread evenly over each class, so that a straight code tells all: five classes of four bins each."""
    factors = factorial(5, 5)
    n_each = 400
    offsets = np.random.default_rng(0).uniform(size=(n_each, 25, 2))
    offsets[0, 0], offsets[0, -1] = 0.0, 1.0  # corners, so that bins begin and end with the classes
    points = (offsets + factors).reshape(-1, 2)
    repeated = np.tile(factors, (n_each, 1))
    scores = []
    for degrees in (0, 15, 45):
        cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        scores.append(mig(points @ np.array([[cos, sin], [-sin, cos]]), repeated).mig)
    # I is a mean over rows of a term that spreads by less than log 5 = H: a gap of two has an error below 2 / sqrt n
    error = 5 * 2 / np.sqrt(len(points))
    assert scores[0] > 1 - error
    assert scores[0] > scores[1] + error > scores[2] + 2 * error
    assert scores[2] == pytest.approx(0.0, abs=error)


@pytest.mark.parametrize("n", [500, 20_000])
def test_independent_codes_score_nearly_zero(n: int) -> None:
    generator = np.random.default_rng(n)
    classes, n_bins, d = np.array([2, 3, 7]), 20, 4
    factors = np.stack([generator.integers(k, size=n) for k in classes], axis=1)
    result = mig(generator.uniform(size=(n, d)), factors, n_bins)
    # 2 n I is chi-squared under independence; cells of few rows add the next term of the entropies' bias
    freedom = (n_bins - 1) * (classes - 1)
    few = (n_bins * classes) ** 2 / (12 * n**2)
    bound = chi2.ppf(1 - 1e-6, freedom) / (2 * n) + few
    assert (result.mutual_information < bound).all()
    assert (result.gap_per_factor >= 0).all() and (result.gap_per_factor < bound / result.factor_entropy).all()
    # and the mean over coordinates is what the docstring says, within five standard errors
    error = np.sqrt(2 * freedom / d) / (2 * n)
    assert (np.abs(result.mutual_information.mean(axis=0) - freedom / (2 * n) - few) < 5 * error).all()


def test_bins_have_equal_width_and_do_not_depend_on_the_unit() -> None:
    codes = np.random.default_rng(1).normal(size=(2000, 3)) ** 3  # long tails: bins of very different counts
    labels = np.stack([np.digitize(c, np.histogram_bin_edges(c, 8)[1:-1]) for c in codes.T], axis=1)
    result = mig(codes, labels, n_bins=8)
    # eight bins tell all of eight labels, so both are the same partition; four bins of twice the width cannot
    assert np.allclose(np.diag(result.mutual_information), result.factor_entropy, rtol=0, atol=ROUNDING)
    finer, coarser = mig(codes, labels, n_bins=16), mig(codes, labels, n_bins=4)
    assert np.allclose(np.diag(finer.mutual_information), result.factor_entropy, rtol=0, atol=ROUNDING)
    assert (np.diag(coarser.mutual_information) < 0.999 * result.factor_entropy).all()
    rescaled = mig(codes * [4.0, 0.25, 1024.0], 0.1 * labels - 3, n_bins=8)  # powers of two: exact
    assert rescaled.mutual_information.tolist() == result.mutual_information.tolist()
    half = mig(codes.astype(np.float32), labels, n_bins=8)
    assert half.mutual_information.dtype == np.float64


def test_constant_coordinate_knows_nothing() -> None:
    factors = factorial(3, 4)
    result = mig(np.c_[factors, np.full(len(factors), 0.1)], factors)
    assert not result.mutual_information[2].any()
    assert result.mig == pytest.approx(1.0, abs=ROUNDING)


def test_errors_say_what_is_wrong() -> None:
    x = factorial(2, 3, 4)
    broken = x.copy()
    broken[5, 1] = np.nan
    cases: list[tuple[tuple[np.ndarray, np.ndarray], str]] = [
        ((broken, x), "codes must be finite; 1 of 24 rows.*row 5"),
        ((x, broken), "factors must be finite"),
        ((np.where(x == 3, np.inf, x), x), "codes must be finite; 6 of 24"),
        ((x[:5], x), r"codes \(5, 3\), factors \(24, 3\)"),
        ((x[:, :1], x), r"d >= 2.*codes \(24, 1\)"),
        ((x[:, 0], x), r"codes must be a non-empty matrix.*got shape \(24,\)"),
        ((x[:0], x[:0]), "codes must be a non-empty matrix"),
        ((x, np.c_[x[:, :2], np.full(24, 4.0)]), "column 2 of factors has a single class.*entropy is 0"),
        ((x, np.c_[x[:, :1], np.linspace(0, 1, 24)]), "column 1 of factors has 24 distinct values in 24 rows"),
    ]
    for (codes, factors), message in cases:
        with pytest.raises(BadInput, match=message):
            mig(codes, factors)
    with pytest.raises(BadInput, match="n_bins must be at least 2; got 1"):
        mig(x, x, n_bins=1)
