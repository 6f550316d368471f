"""Exact discrete transport: against closed forms, brute force, duality and the anchors of the toy densities."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gpot.data import toy
from gpot.errors import BadInput, OptimumNotReached
from gpot.evaluation import optimum
from gpot.evaluation.certificate import assignment_gap, certificate
from gpot.evaluation.optimum import OptimumPoint, discrete_optimum, discrete_w2, optimum_series
from gpot.maths.costs import L1, Cost, Lp, Mahalanobis, pairwise, squared_euclidean
from gpot.maths.transport import gelbrich
from tests.conftest import ROOT

DTYPE = torch.float64
EXACT = 1e-12  # relative: sums of some hundred squares of size 1


def clouds(n: int, dim: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(2, n, dim, dtype=DTYPE, generator=draws))  # type: ignore[return-value]


# -- exactness -------------------------------------------------------------------


def test_brute_force() -> None:
    for seed in range(5):
        x, z = clouds(6, 3, seed)
        least = min(squared_euclidean(x, z[list(order)]).mean().item() for order in itertools.permutations(range(6)))
        assert discrete_w2(x, z) == pytest.approx(least, rel=EXACT)


@pytest.mark.parametrize("n", [300, 301])
def test_on_the_line_it_is_sorting(n: int) -> None:
    x, z = clouds(n, 1)
    sorted_cost = squared_euclidean(x.sort(0).values, z.sort(0).values).mean().item()
    assert discrete_w2(x, z) == pytest.approx(sorted_cost, rel=EXACT)


def test_clouds_of_unequal_size() -> None:
    x, z = clouds(40, 2)
    whole = discrete_w2(x, z[:20])
    assert whole == pytest.approx(discrete_w2(x, z[:20].repeat(2, 1)), rel=EXACT)  # the same law twice over
    assert whole == pytest.approx(discrete_w2(z[:20], x), rel=EXACT)
    to_a_point = ((x - z[0]) ** 2).sum(1).mean().item()  # there is one plan
    assert discrete_w2(x, z[:1]) == pytest.approx(to_a_point, rel=EXACT)


@pytest.mark.parametrize("dim", [2, 5])
def test_a_translated_cloud(dim: int) -> None:
    x, _ = clouds(300, dim)
    shift = torch.linspace(-3.0, 40.0, dim, dtype=DTYPE)
    assert discrete_w2(x, x) == 0.0
    assert discrete_w2(x, x[torch.randperm(300)] + shift) == pytest.approx((shift**2).sum().item(), rel=EXACT)


def test_a_shift_of_either_cloud_adds_what_it_must() -> None:
    """W2^2(x, z + a) = W2^2(x, z) + |a|^2 - 2 a.(E x - E z)."""
    x, z = clouds(200, 2)
    shift = torch.tensor([100.0, -30.0], dtype=DTYPE)
    expected = discrete_w2(x, z) + (shift**2).sum() - 2.0 * shift @ (x.mean(0) - z.mean(0))
    assert discrete_w2(x, z + shift) == pytest.approx(expected.item(), rel=EXACT)


@pytest.mark.parametrize("far", [1e3, 1e6, 1e7, 3e7, 1e8, 1e12])
def test_a_pair_that_is_far_away_takes_no_digit_of_the_others(far: float) -> None:
    generator = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 20, 2, dtype=torch.float64, generator=generator)
    rows, columns = linear_sum_assignment(((x[:, None] - z) ** 2).sum(-1).numpy())
    best = ((x[rows] - z[columns]) ** 2).sum().item()
    away = torch.tensor([[far, 0.0]], dtype=torch.float64)
    assert discrete_w2(torch.cat([x, away]), torch.cat([z, away])) == pytest.approx(best / 21, rel=1e-12)
    if far >= 1e6:
        with pytest.raises(OptimumNotReached, match=r"between 21 and 42 points .* digits are lost. Leave out"):
            discrete_w2(torch.cat([x, away]), torch.cat([z, away]).repeat(2, 1))


def test_invariance() -> None:
    x, z = clouds(200, 3)
    turn = torch.linalg.qr(torch.randn(3, 3, dtype=DTYPE)).Q
    expected = discrete_w2(x, z)
    assert discrete_w2(x[torch.randperm(200)], z[torch.randperm(200)]) == pytest.approx(expected, rel=EXACT)
    assert discrete_w2(z, x) == pytest.approx(expected, rel=EXACT)
    assert discrete_w2(x @ turn, z @ turn) == pytest.approx(expected, rel=EXACT)
    assert discrete_w2(7.0 * x, 7.0 * z) == pytest.approx(49.0 * expected, rel=EXACT)
    assert discrete_w2(x.float(), z.float()) == pytest.approx(expected, rel=1e-6)


def test_a_monotone_map_is_its_own_optimum() -> None:
    x, _ = clouds(400, 3)
    root = torch.randn(3, 3, dtype=DTYPE)
    z = x @ (root @ root.T + 0.1 * torch.eye(3, dtype=DTYPE)) + 5.0
    assert discrete_w2(x, z) == pytest.approx(squared_euclidean(x, z).mean().item(), rel=EXACT)


def test_never_above_the_paired_cost_and_one_with_the_certificate() -> None:
    for dim in (2, 10):
        x, z = clouds(300, dim)
        paired = squared_euclidean(x, z).mean().item()
        assert discrete_w2(x, z) < paired
        assert 1.0 - discrete_w2(x, z) / paired == pytest.approx(assignment_gap(x, z), rel=1e-9)


def test_never_below_the_moment_bound() -> None:
    for seed in range(5):
        x, z = clouds(300, 4, seed)
        x = x.exp()  # far from Gaussian
        moments = [m for c in (x, z) for m in (c.mean(0), torch.cov(c.T, correction=0))]
        assert gelbrich(*moments).item() < discrete_w2(x, z)


# -- known laws ------------------------------------------------------------------


def test_gaussians_approach_the_bures_distance() -> None:
    """z = B x + m has Brenier's potential u = x.Bx / 2 + m.x. The means of |x|^2 - 2 u and |z|^2 - 2 u* over the
    clouds are a dual value, so never above the optimum; in expectation they are W2^2 of the laws. What is left over
    is the bias without the fluctuation of the potentials: from 50 to 800 points log n / n falls to 0.107 of itself.
    """
    draws = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(2, 2, generator=draws, dtype=DTYPE)).Q
    b = turn @ torch.diag(torch.tensor([1.5, 0.5], dtype=DTYPE)) @ turn.T
    m = torch.tensor([1.0, -2.0], dtype=DTYPE)
    eye, zero = torch.eye(2, dtype=DTYPE), torch.zeros(2, dtype=DTYPE)
    exact = gelbrich(zero, eye, m, b @ b).item()
    assert exact == pytest.approx(5.5, rel=EXACT)  # |m|^2 + tr (B - I)^2
    bias = {}
    for n, repeats in ((50, 200), (800, 10)):
        excess, duals = [], []
        for _ in range(repeats):
            x, noise = torch.randn(2, n, 2, generator=draws, dtype=DTYPE)
            z = noise @ b + m
            phi = (x**2).sum(1) - ((x @ b) * x).sum(1) - 2.0 * x @ m
            psi = (z**2).sum(1) - (torch.linalg.solve(b, (z - m).T).T * (z - m)).sum(1)
            duals.append((phi.mean() + psi.mean()).item())
            excess.append(discrete_w2(x, z) - duals[-1])
        assert min(excess) > 0.0
        assert abs(np.mean(duals) - exact) < 5.0 * np.std(duals) / math.sqrt(repeats)
        bias[n] = np.mean(excess)
    assert 1.0 / 16.0 < bias[800] / bias[50] < 0.18  # between 1 / n and n^(-0.62); n^(-1/2) would leave 0.25


@pytest.mark.parametrize(
    ("n", "repeats"), [(100, 200), (600, 10), pytest.param(2000, 4, marks=pytest.mark.slow)]
)  # fmt: skip
@pytest.mark.parametrize(("name", "exact"), [("eight_gaussians", 2.698), ("two_moons", 1.010)])
def test_toy_densities_approach_their_anchors(name: str, exact: float, n: int, repeats: int) -> None:
    """Anchors: +- 0.001, from 4096 quasi-random points. On average too large, by no more than 10 log n / n, twice what
    the Gaussians above show; 4 standard errors are left to chance."""
    draws, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)

    def data(n: int) -> Tensor:
        return torch.from_numpy(toy.DENSITIES[name](n, rng))

    (point,) = optimum_series(lambda n: (data(n), torch.randn(n, 2, generator=draws)), [n], repeats)
    chance = 4.0 * point.spread / math.sqrt(repeats)
    assert -chance < point.mean - exact < 10.0 * math.log(n) / n + chance
    assert n > 100 or point.mean - exact > chance  # the bias is seen at 100 points


# -- series ----------------------------------------------------------------------


def test_a_series_is_made_of_fresh_samples() -> None:
    """One cloud is the origin, the other is numbered: every value is then known."""
    drawn: list[int] = []

    def numbered(n: int) -> Tensor:
        drawn.append(n)
        return torch.full((n, 2), float(len(drawn)), dtype=DTYPE)

    series = optimum_series(lambda n: (numbered(n), torch.zeros(n, 2)), [3, 5], 2)
    assert drawn == [3, 3, 5, 5]
    assert series[0] == OptimumPoint(3, pytest.approx(5.0), pytest.approx(math.sqrt(18.0)), 2)  # 2, 8
    assert series[1] == OptimumPoint(5, pytest.approx(25.0), pytest.approx(math.sqrt(98.0)), 2)  # 18, 32
    (single,) = optimum_series(lambda n: (numbered(n), torch.zeros(n, 2)), [3], 1)
    assert single.mean == pytest.approx(50.0) and single.spread is None


def test_a_series_refuses() -> None:
    x = torch.zeros(5, 2)
    for sizes, repeats in (([0, 3], 2), ([3], 0)):
        with pytest.raises(BadInput, match="at least 1, and got"):
            optimum_series(lambda n: (x[:n], x[:n]), sizes, repeats)
    with pytest.raises(BadInput, match="6 points was asked for, and 5 came"):
        optimum_series(lambda n: (torch.zeros(n, 2), x[:n]), [6], 1)


# -- what cannot be solved ---------------------------------------------------------


def test_an_unfinished_solution_is_an_error_and_not_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    x, z = clouds(100, 2)
    monkeypatch.setattr(optimum, "MAX_PIVOTS", 5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OptimumNotReached, match=r"between 100 and 100 points .* stopped before it: numItermax"):
            discrete_w2(x, z)


@pytest.mark.parametrize(
    ("x", "z", "words"),
    [
        (torch.zeros(3, 2), torch.zeros(3, 3), r"\(3, 2\), \(3, 3\)"),
        (torch.zeros(3), torch.zeros(3), r"\(3,\)"),
        (torch.zeros(0, 2), torch.zeros(3, 2), r"\(0, 2\)"),
        (torch.full((3, 2), torch.nan), torch.zeros(3, 2), "finite"),
        (torch.zeros(3, 2), torch.full((3, 2), torch.inf), "finite"),
    ],
)
def test_bad_clouds(x: Tensor, z: Tensor, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        discrete_w2(x, z)


def test_the_solver_is_quiet_and_leaves_the_threads() -> None:
    """And is not imported before it is needed: its import takes seconds."""
    program = (
        "import sys, torch; torch.set_num_threads(3); from gpot.evaluation.optimum import discrete_w2\n"
        "assert 'ot' not in sys.modules; x = torch.rand(50, 2); discrete_w2(x, x.flip(0)); assert 'ot' in sys.modules\n"
        "assert torch.get_num_threads() == 3 and torch.get_default_dtype() == torch.float32"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0 and done.stdout == "" and done.stderr == "", done.stdout + done.stderr


# -- other costs -----------------------------------------------------------------


@pytest.mark.parametrize("cost", [L1(), Lp(1.5), Lp(4.0)], ids=["l1", "l1.5", "l4"])
def test_another_cost_on_the_line_is_sorting_too(cost: Cost) -> None:
    x, z = clouds(200, 1)
    sorted_cost = cost(x.sort(0).values, z.sort(0).values).mean().item()
    assert discrete_optimum(x, z, cost) == pytest.approx(sorted_cost, rel=EXACT)  # convex in x - z


def test_mahalanobis_is_transport_of_whitened_clouds() -> None:
    x, z = clouds(150, 2)
    root = torch.tensor([[2.0, 0.0], [1.5, 0.5]], dtype=DTYPE)
    whole = discrete_optimum(x, z, Mahalanobis(root @ root.T))
    assert whole == pytest.approx(discrete_w2(x @ root, z @ root), rel=1e-10)


def test_each_cost_has_an_optimum_of_its_own() -> None:
    x, z = clouds(100, 2)
    rows, columns = linear_sum_assignment(pairwise(Lp(4.0), x, z).numpy())
    best = z[torch.from_numpy(columns)]
    assert (rows == range(100)).all()
    assert assignment_gap(x, best, Lp(4.0)) == pytest.approx(0.0, abs=EXACT)
    assert Lp(4.0)(x, best).mean().item() == pytest.approx(discrete_optimum(x, z, Lp(4.0)), rel=EXACT)
    assert certificate(x, best, 50, 2, cost=Lp(4.0)).mean == pytest.approx(0.0, abs=EXACT)
    assert certificate(x, best, 100, 1, cost=L1()).mean > 0.005
