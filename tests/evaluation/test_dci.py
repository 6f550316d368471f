"""DCI scores: against hand-derived values, the golden scores, and the printed first row of Table 1."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import load_file as load_tensors
from sklearn.model_selection import train_test_split

from gpot.data import dsprites
from gpot.errors import BadInput
from gpot.evaluation.disentanglement.dci import (
    DCIScores,
    Protocol,
    Regressor,
    dci_scores,
    entropy_score,
    official_split,
)
from tests.conftest import shared_path
from third_party.btcvae import BetaTCVAE

ALPHA = 0.02
EPSILON = 1e-9  # the scores' smoothing e = 1e-12 moves an entropy by at most n e log(1/e) = 3e-10 for n = 10
SOLVED = 1e-8  # orthogonal designs: coordinate descent is exact after one sweep; the rest is EPSILON's smoothing


def factorial(n_factors: int) -> np.ndarray:
    """All sign patterns: columns of mean 0, variance 1, exactly orthogonal, so that the Lasso has a closed form."""
    return np.array(list(itertools.product([-1.0, 1.0], repeat=n_factors)))


def scores(codes: np.ndarray, factors: np.ndarray, **options: object) -> DCIScores:
    return dci_scores(codes, factors, codes, factors, alpha=ALPHA, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_entropy_score_of_one_hot_uniform_and_half(n: int) -> None:
    one_hot, uniform, half = np.eye(n)[0], np.full(n, 0.3), np.eye(n)[0] + np.eye(n)[1]
    expected = [1.0, 0.0, 1 - np.log(2) / np.log(n), 0.0]
    assert np.allclose(entropy_score([one_hot, 7 * uniform, half, np.zeros(n)]), expected, rtol=0, atol=EPSILON)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_identity_and_permuted_codes_score_one(order: tuple[int, ...]) -> None:
    factors = factorial(3)
    result = scores(factors[:, list(order)] * [1.0, -1.0, 1.0], factors)
    # soft thresholding of a coefficient 1: 1 - alpha, hence an error of alpha
    expected = (1 - ALPHA) * np.eye(3)[list(order)]
    assert np.allclose(result.importance, expected, rtol=0, atol=SOLVED)
    assert result.disentanglement == pytest.approx(1.0, abs=EPSILON)
    assert result.completeness == pytest.approx(1.0, abs=EPSILON)
    assert result.informativeness == pytest.approx(ALPHA, abs=SOLVED)
    assert result.informativeness_train == result.informativeness


@pytest.mark.parametrize("degrees", [10.0, 30.0, 45.0])
def test_rotated_code(degrees: float) -> None:
    """A rotated pair: coefficients cos - alpha and sin - alpha by soft thresholding, and an error of alpha sqrt 2.

    With a = cos - alpha, b = sin - alpha the prediction of f1 from (c1, c2) errs by
    (1 - a cos - b sin) f1 + (a sin - b cos) f2 = alpha (cos + sin) f1 + alpha (cos - sin) f2, of variance 2 alpha^2.
    """
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    factors = factorial(2)
    result = scores(factors @ np.array([[cos, sin], [-sin, cos]]), factors)
    p = (cos - ALPHA) / (cos + sin - 2 * ALPHA)
    expected = 1 + (p * np.log(p) + (1 - p) * np.log(1 - p)) / np.log(2)
    assert result.disentanglement == pytest.approx(expected, abs=SOLVED)
    assert result.completeness == pytest.approx(expected, abs=SOLVED)
    assert result.informativeness == pytest.approx(ALPHA * np.sqrt(2), abs=SOLVED)


def test_disentanglement_and_completeness_are_different_things() -> None:
    code = factorial(3)
    split = np.stack([code[:, 0] + code[:, 1], code[:, 2]], axis=1)  # a factor served by two coordinates
    result = scores(code, split)
    assert result.disentanglement == pytest.approx(1.0, abs=EPSILON)
    assert np.allclose(result.completeness_per_factor, [1 - np.log(2) / np.log(3), 1.0], rtol=0, atol=SOLVED)
    assert result.completeness == pytest.approx(result.completeness_per_factor.mean(), abs=EPSILON)

    shared = np.stack([3 * code[:, 0], code[:, 1], code[:, 1]], axis=1)  # a coordinate that serves two factors
    result = scores(code, shared)
    half = 1 - np.log(2) / np.log(3)
    # importance weights: 3 - alpha for the first coordinate, 2 (1 - alpha) for the second, 0 for the third
    expected = ((3 - ALPHA) + 2 * (1 - ALPHA) * half) / (5 - 3 * ALPHA)
    assert result.disentanglement == pytest.approx(expected, abs=SOLVED)
    assert result.completeness == pytest.approx(1.0, abs=EPSILON)
    assert np.allclose(result.nrmse_per_factor, [ALPHA / 3, ALPHA, ALPHA], rtol=0, atol=SOLVED)


def test_code_that_says_nothing_scores_zero_and_errs_by_one() -> None:
    pattern = factorial(4)
    result = scores(pattern[:, :2], pattern[:, 2:])
    assert not result.importance.any()
    assert result.disentanglement == 0.0
    assert result.completeness == pytest.approx(0.0, abs=EPSILON)
    assert result.informativeness == pytest.approx(1.0, abs=EPSILON)


def test_error_is_measured_on_the_test_rows_in_units_of_their_spread() -> None:
    train, test = factorial(2), 2 * factorial(2)
    result = dci_scores(train, train, test, test, alpha=ALPHA)
    # prediction (1 - alpha) f, error alpha f: relative to the spread of the test rows it is alpha again
    assert result.informativeness == pytest.approx(ALPHA, abs=SOLVED)
    shifted = dci_scores(train, train, test, test + 1.0, alpha=ALPHA)
    assert shifted.informativeness == pytest.approx(np.sqrt((2 * ALPHA) ** 2 + 1) / 2, abs=SOLVED)
    assert shifted.informativeness_train == pytest.approx(ALPHA, abs=SOLVED)


def test_forest_sees_what_a_line_cannot_and_is_seeded() -> None:
    generator = np.random.default_rng(0)
    code = generator.normal(size=(3000, 3))
    factors = np.stack([code[:, 0] ** 2, np.cos(3 * code[:, 1])], axis=1)
    arguments = (code[:2000], factors[:2000], code[2000:], factors[2000:])
    linear = dci_scores(*arguments)
    forest = dci_scores(*arguments, regressor="forest", seed=1)
    assert linear.informativeness > 0.9
    assert forest.informativeness < 0.3
    assert forest.disentanglement > 0.9 and forest.completeness > 0.9
    assert np.allclose(forest.importance.sum(axis=0), 1.0)
    assert dci_scores(*arguments, regressor=Regressor.forest, seed=1).importance.tolist() == forest.importance.tolist()
    assert dci_scores(*arguments, regressor=Regressor.forest, seed=2).importance.tolist() != forest.importance.tolist()


def test_golden_scores() -> None:
    golden = load_file(shared_path("reference/golden/dci.safetensors"))
    result = dci_scores(
        golden["codes_train"], golden["factors_train"], golden["codes_test"], golden["factors_test"], alpha=0.02
    )
    # each golden vector: one entry per coordinate or factor, then the score
    pairs = {
        "disentanglement": (result.disentanglement_per_code, result.disentanglement),
        "completeness": (result.completeness_per_factor, result.completeness),
        "informativeness_test": (result.nrmse_per_factor, result.informativeness),
        "informativeness_train": (result.nrmse_train_per_factor, result.informativeness_train),
    }
    for name, (entries, score) in pairs.items():
        assert np.allclose(np.append(entries, score), golden[name], rtol=1e-10, atol=1e-12), name


@pytest.mark.parametrize("n", [1000, 1003, 737_280])
def test_official_split_is_the_one_of_scikit_learn(n: int) -> None:
    sizes = {} if n == 737_280 else {"n_train": 700, "n_test": 150}
    train, test = official_split(n, **sizes)
    their_train, their_test = train_test_split(np.arange(n), test_size=0.2, random_state=42)
    assert np.array_equal(train, their_train[: len(train)]) and np.array_equal(test, their_test[: len(test)])
    assert len(np.intersect1d(train, test)) == 0
    assert (len(train), len(test)) == ((40_000, 10_000) if n == 737_280 else (700, 150))


def test_protocols_choose_columns_of_the_latent_values() -> None:
    values = dsprites.values_of(np.array([[0, 2, 1, 3, 4, 5]]))
    assert np.array_equal(Protocol.with_shape.factors(values), values[:, 1:])
    assert np.array_equal(Protocol("continuous").factors(values), values[:, 2:])
    assert Protocol.continuous.factor_names == ("scale", "orientation", "posX", "posY")
    with pytest.raises(BadInput, match=r"\(n, 6\).*\(1, 5\)"):
        Protocol.with_shape.factors(values[:, 1:])


def test_errors_say_what_is_wrong() -> None:
    x = factorial(3)
    broken = x.copy()
    broken[5, 1] = np.nan
    constant = np.c_[x[:, :2], np.full(len(x), 4.0)]
    cases: list[tuple[tuple[np.ndarray, ...], str]] = [
        ((broken, x, x, x), "codes_train must be finite; 1 of 8 rows.*row 5"),
        ((x, x, x, broken), "factors_test must be finite"),
        ((x[:5], x, x, x), r"one row per image each; got codes_train \(5, 3\)"),
        ((x, x, x[:, :2], x), "same columns"),
        ((x, x[:, :1], x, x[:, :1]), "at least two of each"),
        ((x, constant, x, x), "column 2 of factors_train is the constant 4"),
        ((x[:, 0], x, x, x), r"codes_train must be a non-empty matrix.*got shape \(8,\)"),
    ]
    for arguments, message in cases:
        with pytest.raises(BadInput, match=message):
            dci_scores(*arguments)
    with pytest.raises(BadInput, match="one of lasso, forest; got 'ridge'"):
        scores(x, x, regressor="ridge")
    with pytest.raises(BadInput, match=r"alpha.*positive; got 0"):
        dci_scores(x, x, x, x, alpha=0.0)
    with pytest.raises(BadInput, match="80 training and 20 test rows; asked for 90 and 10"):
        official_split(100, 90, 10)


@pytest.mark.slow
def test_printed_first_row_of_table_1() -> None:
    """Released encoder, the released split rendered here, no training: .58 / .81 / .55 as printed, and 1e-3 beyond."""
    weights = shared_path("reference/weights/disentangling_vae_btcvae_dsprites.safetensors")
    vae = BetaTCVAE(image_size=64, channels=1, latent_dim=10)
    vae.load_state_dict(load_tensors(weights))
    vae.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    train, test = official_split()
    classes = dsprites.classes_of(np.concatenate([train, test]))
    images = torch.from_numpy(dsprites.render(classes))[:, None]
    with torch.inference_mode():
        codes = torch.cat([vae.encode(batch.float())[0] for batch in images.split(50)]).numpy()

    expected = {
        Protocol.with_shape: (0.5842, 0.8066, 0.5458, 0.5455),
        Protocol.continuous: (0.6229, 0.8020, 0.4540, 0.4541),
    }
    for protocol, numbers in expected.items():
        factors = protocol.factors(dsprites.values_of(classes))
        n = len(train)
        result = dci_scores(codes[:n], factors[:n], codes[n:], factors[n:])
        found = (result.disentanglement, result.completeness, result.informativeness, result.informativeness_train)
        assert found == pytest.approx(numbers, abs=1e-3), protocol
