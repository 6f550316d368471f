"""SAP against closed forms: factorial designs, where independence is exact, and noise of known error rate."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import beta, norm

from gpot.errors import BadInput
from gpot.evaluation.disentanglement.sap import SapScore, sap

ROUNDING = 1e-12  # sums over some hundred rows of terms of size about 1 in float64
SIGMAS = 5.0


def factorial(*sizes: int, repeats: int = 1) -> np.ndarray:
    """All combinations of centred classes, each `repeats` times: independent columns, uniform classes, both exactly.

    The classifier is penalised: with C = 0.01 it needs some thousand rows to follow the data.
    """
    levels = (np.arange(size) - (size - 1) / 2 for size in sizes)
    return np.repeat(np.array(list(itertools.product(*levels))), repeats, axis=0)


def score(codes: np.ndarray, factors: np.ndarray, discrete: list[bool]) -> SapScore:
    return sap(codes, factors, codes, factors, discrete=discrete)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_permuted_and_scaled_ordered_factors_score_one(order: tuple[int, ...]) -> None:
    factors = factorial(2, 3, 5)
    result = score(factors[:, list(order)] * [-2.5, 0.1, 1e3] + [7.0, 0.0, -1.0], factors, [False] * 3)
    assert np.allclose(result.score, np.eye(3)[list(order)], rtol=0, atol=ROUNDING)
    assert np.allclose(result.gap_per_factor, 1.0, rtol=0, atol=ROUNDING)
    assert result.sap == pytest.approx(1.0, abs=ROUNDING)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_permuted_and_scaled_discrete_factors_score_one_less_chance(order: tuple[int, ...]) -> None:
    factors = factorial(2, 2, 3, repeats=200)
    result = score(factors[:, list(order)] * [-2.5, 0.1, 1e3] + [7.0, 0.0, -1.0], factors, [True, True, True])
    # a guess from an independent coordinate is right for exactly one class in K, whatever the guess
    chance = np.array([1 / 2, 1 / 2, 1 / 3])
    expected = np.where(np.eye(3)[list(order)] == 1, 1.0, chance)
    assert np.allclose(result.score, expected, rtol=0, atol=ROUNDING)
    assert np.allclose(result.gap_per_factor, 1 - chance, rtol=0, atol=ROUNDING)
    assert result.sap == pytest.approx(5 / 9, abs=ROUNDING)


def test_kinds_are_mixed_by_factor() -> None:
    factors = factorial(2, 5, repeats=200)
    result = score(factors, factors, [True, False])
    assert result.discrete == (True, False)
    assert np.allclose(result.score, [[1.0, 0.0], [0.5, 1.0]], rtol=0, atol=ROUNDING)
    assert result.sap == pytest.approx((0.5 + 1.0) / 2, abs=ROUNDING)


@pytest.mark.parametrize("degrees", [0.0, 10.0, 30.0, 45.0, 80.0])
def test_rotated_ordered_factors(degrees: float) -> None:
    """Of factors with equal variance a rotation has squared correlations cos^2 and sin^2, and a gap of |cos 2a|."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    factors = factorial(4, 4)
    result = score(factors @ np.array([[cos, sin], [-sin, cos]]), factors, [False, False])
    assert np.allclose(result.score, [[cos**2, sin**2], [sin**2, cos**2]], rtol=0, atol=ROUNDING)
    assert result.sap == pytest.approx(abs(np.cos(2 * np.radians(degrees))), abs=ROUNDING)


def test_rotated_bits() -> None:
    """At 45 degrees both coordinates take the values -1, 0, 1 / (1, 2, 1): right in 3/4 of the rows, and no gap."""
    factors = factorial(2, 2, repeats=500)
    codes = np.stack([factors[:, 0] + factors[:, 1], factors[:, 1] - factors[:, 0]], axis=1)
    result = score(codes, factors, [True, True])
    assert np.allclose(result.score, 3 / 4, rtol=0, atol=ROUNDING)
    assert result.sap == pytest.approx(0.0, abs=ROUNDING)


@pytest.mark.parametrize("discrete", [True, False])
def test_a_factor_carried_twice_has_no_gap(discrete: bool) -> None:
    factors = factorial(2, 3, repeats=200)
    codes = np.stack([factors[:, 0], -3 * factors[:, 0], factors[:, 1]], axis=1)
    result = score(codes, factors, [discrete, False])
    assert np.allclose(result.gap_per_factor, [0.0, 1.0], rtol=0, atol=ROUNDING)


def test_independent_codes_score_nearly_zero() -> None:
    generator = np.random.default_rng(0)
    n, m, d = 3000, 2000, 4
    factors = np.stack([generator.normal(size=n + m), generator.integers(2, size=n + m)], axis=1)
    codes = generator.normal(size=(n + m, d))
    result = sap(codes[:n], factors[:n], codes[n:], factors[n:], discrete=[False, True])
    # squared correlation of m independent Gaussian pairs: Beta(1/2, (m - 2)/2)
    assert (result.score[:, 0] < beta.ppf(1 - 1e-6, 0.5, (m - 2) / 2)).all()
    assert result.gap_per_factor[0] <= result.score[:, 0].max()
    # accuracy of any guess: binomial, so two of them differ by at most twice the deviation
    deviation = SIGMAS * np.sqrt(0.25 / m)
    assert (np.abs(result.score[:, 1] - 0.5) < deviation).all()
    assert 0 <= result.gap_per_factor[1] < 2 * deviation


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_noisy_bit_reaches_the_best_accuracy(sigma: float) -> None:
    """A bit +-1 under Gaussian noise is found at best in Phi(1 / sigma) of the rows, by the threshold 0."""
    generator = np.random.default_rng(1)
    n, m = 8000, 4000
    bit = generator.choice([-1.0, 1.0], size=n + m)
    codes = np.stack([generator.normal(size=n + m), 3 + 10 * (bit + sigma * generator.normal(size=n + m))], axis=1)
    result = sap(codes[:n], bit[:n, None], codes[n:], bit[n:, None], discrete=[True])
    best = norm.cdf(1 / sigma)
    # a threshold off by t loses about phi'(1/sigma) t^2 / sigma^2, and t is of the order 1 / sqrt n: far below sampling
    error = SIGMAS * np.sqrt(best * (1 - best) / m)
    assert result.score[1, 0] == pytest.approx(best, abs=error)
    assert result.sap == pytest.approx(best - 0.5, abs=error + SIGMAS * np.sqrt(0.25 / m))


def test_classifier_learns_on_training_rows_and_is_counted_on_test_rows() -> None:
    train = factorial(2, 2, repeats=300)
    result = sap(train, train, train, train * [-1.0, 1.0], discrete=[True, True])
    assert np.allclose(result.score, [[0.0, 0.5], [0.5, 1.0]], rtol=0, atol=ROUNDING)
    swapped = sap(train, train, train, train[:, ::-1], discrete=[False, False])
    assert np.allclose(swapped.score, [[0.0, 1.0], [1.0, 0.0]], rtol=0, atol=ROUNDING)


def test_test_rows_keep_the_unit_of_the_training_rows() -> None:
    train = factorial(2, 2, repeats=300)
    moved = sap(train, train, np.add(train, [10.0, 0.0]), train, discrete=[True, True])
    # all moved rows lie beyond the threshold: one class for all of them
    assert np.allclose(moved.score, [[0.5, 0.5], [0.5, 1.0]], rtol=0, atol=ROUNDING)


def test_classes_may_be_rare_and_fractional() -> None:
    """Balanced weights put the threshold halfway between +-1, though nine rows in ten are of one class.

    Both classes are then found in Phi(1 / sigma) of their rows; by naming the common class always it would be 0.9.
    """
    generator = np.random.default_rng(3)
    n, m, sigma, share = 20_000, 4000, 2.0, 0.1
    bit = np.where(generator.uniform(size=n + m) < share, 1.0, -1.0)
    codes = np.stack([bit + sigma * generator.normal(size=n + m), generator.normal(size=n + m)], axis=1)
    factor = 0.5 + 0.25 * bit[:, None]
    found = sap(codes[:n], factor[:n], codes[n:], factor[n:], discrete=[True]).score[0, 0]
    best = norm.cdf(1 / sigma)
    # counting m rows, and a threshold that is known as well as the mean of the rare class
    threshold = (1 - 2 * share) * norm.pdf(1 / sigma) / np.sqrt(share * n)
    assert found == pytest.approx(best, abs=SIGMAS * (np.sqrt(best * (1 - best) / m) + threshold))


def test_scores_do_not_depend_on_unit_origin_or_seed() -> None:
    generator = np.random.default_rng(2)
    factors = np.repeat(factorial(3, 4), 100, axis=0)
    codes = factors @ generator.normal(size=(2, 3)) + generator.normal(size=(len(factors), 3))
    plain, moved = codes, codes * [1e-3, -1.0, 1e3] + [5.0, -2.0, 1e4]
    first = sap(plain, factors, plain, factors, discrete=[True, False], seed=0)
    again = sap(plain, factors, plain, factors, discrete=[True, False], seed=1)
    other = sap(moved, factors, moved, factors, discrete=[True, False], seed=0)
    assert first.score.tolist() == again.score.tolist()
    # the shift by 5 of a column of size 1e-3 costs four of sixteen digits; no row lies within that of a threshold
    assert np.allclose(first.score, other.score, rtol=0, atol=1e-10)


def test_constant_coordinates_score_zero() -> None:
    factors = factorial(2, 3, repeats=200)
    constant = np.full(len(factors), 0.1)
    codes = np.c_[factors, constant]
    result = score(codes, factors, [True, False])
    assert result.score[2].tolist() == [0.0, 0.0]
    assert result.gap_per_factor[0] == pytest.approx(0.5, abs=ROUNDING)
    # beside a constant the gap is the accuracy itself, not accuracy less chance
    alone = score(codes[:, [0, 2]], factors[:, :1], [True])
    assert alone.sap == pytest.approx(1.0, abs=ROUNDING)
    # constant on one side only: neither a line nor a correlation
    dead = sap(codes, factors, np.c_[constant, codes[:, 1:]], factors, discrete=[True, False])
    assert dead.score[0].tolist() == [0.0, 0.0]
    assert score(np.c_[constant, constant], factors, [True, False]).sap == 0.0


def test_errors_say_what_is_wrong() -> None:
    x = factorial(2, 3, 4)
    broken = x.copy()
    broken[5, 1] = np.nan
    constant = np.c_[x[:, :2], np.full(len(x), 4.0)]
    cases: list[tuple[tuple[np.ndarray, ...], str]] = [
        ((broken, x, x, x), "codes_train must be finite; 1 of 24 rows.*row 5"),
        ((x, x, x, broken), "factors_test must be finite"),
        ((x[:5], x, x, x), r"one row per image each; got codes_train \(5, 3\)"),
        ((x, x, x[:, :2], x), "same columns"),
        ((x[:, :1], x, x[:, :1], x), "at least two are needed"),
        ((x, constant, x, x), "column 2 of factors_train is the constant 4"),
        ((x, x, x, constant), "column 2 of factors_test is the constant 4"),
        ((x[:, 0], x, x, x), r"codes_train must be a non-empty matrix.*got shape \(24,\)"),
        ((x, x, x, np.add(x, [0, 1, 0])), "Factor 1 is discrete, and 1 of its test values, 2 the first"),
    ]
    for arguments, message in cases:
        with pytest.raises(BadInput, match=message):
            sap(*arguments, discrete=[False, True, False])
    with pytest.raises(BadInput, match=r"each of the 3 factors.*got 2 entries"):
        score(x, x, [True, False])
