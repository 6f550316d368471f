"""The toy densities: the laws they state, their moments and anchors, and their log-densities where these are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gpot.data.toy import DENSITIES, sample
from gpot.errors import BadInput
from tests.data.toy_densities import LOG_DENSITIES, log_density

N = 40_000
SMOOTH = sorted(set(LOG_DENSITIES) - {"checkerboard"})
# Side of a square that leaves 5.9 standard deviations of the noise around the support, and cells per side: a cell is at
# most 0.4 standard deviations wide, so that the midpoint rule on a Gaussian is off by 2 exp(-2 (pi / 0.4)^2) < 1e-50.
GRID = {"eight_gaussians": (10.0, 100), "two_moons": (8.8, 120), "swiss_roll": (8.8, 120), "circles": (9.0, 100),
        "rings": (7.2, 240)}  # fmt: skip


def draw(name: str, n: int = N, seed: int = 0) -> np.ndarray:
    return sample(name, n, seed).astype(np.float64)


def grid(name: str) -> tuple[np.ndarray, float]:
    """Midpoints of the cells that tile the square, and the area of a cell."""
    side, cells = GRID[name]
    step = side / cells
    axis = step * (np.arange(cells) + 0.5) - side / 2.0
    return np.stack(np.meshgrid(axis, axis, indexing="ij"), -1).reshape(-1, 2), step**2


def assert_mean(values: np.ndarray, expected: float) -> None:
    """Within 5 standard errors."""
    assert abs(values.mean() - expected) < 5.0 * values.std() / math.sqrt(len(values))


# -- sampling ------------------------------------------------------------------


@pytest.mark.parametrize("name", DENSITIES)
def test_a_sample_is_fixed_by_its_seed(name: str) -> None:
    points = sample(name, 301, 5)
    assert points.shape == (301, 2) and points.dtype == np.float32 and np.isfinite(points).all()
    assert np.array_equal(points, sample(name, 301, 5))
    assert not np.isin(sample(name, 301, 6)[:, 0], points[:, 0]).any()  # nothing of another seed comes back


@pytest.mark.parametrize("name", DENSITIES)
def test_rows_are_exchangeable(name: str) -> None:
    """First and second half have the same law: rows are not sorted by label or angle."""
    first, second = np.split(draw(name), 2)
    for projection in ([1.0, 0.0], [0.0, 1.0], [0.6, -0.8]):
        assert stats.ks_2samp(first @ projection, second @ projection).pvalue > 1e-4


def test_an_unknown_density_lists_the_known() -> None:
    with pytest.raises(BadInput, match=r"'moons' was asked for; there are: eight_gaussians, two_moons, .* line"):
        sample("moons", 10, 0)
    with pytest.raises(BadInput, match="n=0"):
        sample("line", 0, 0)
    with pytest.raises(BadInput, match="seed=-1"):
        sample("line", 1, -1)


# -- moments, derived from the laws ---------------------------------------------

MOMENTS = {  # E x_1, E x_2, E |x|^2
    "eight_gaussians": (0.0, 0.0, (16.0 + 2.0 * 0.25) / 1.414**2),  # 8.252
    # arcs (2 cos - 1, 2 sin - 0.2) and (1 - 2 cos, 0.8 - 2 sin), E sin = 2 / pi; noise 0.2
    "two_moons": (0.0, 0.3, 0.5 * (5.04 - 1.6 / math.pi + 5.64 - 6.4 / math.pi) + 0.08),  # 4.147
    "pinwheel": (0.0, 0.0, 4.0 * (1.0 + 0.09 + 0.01)),
    # E r^2 = 9 pi^2 / 2; E r (sin r - cos r) by its density 2 r / 9 pi^2: (2 / R^2) int r^2 (sin - cos), R = 3 pi
    "two_spirals": (
        0.0,
        0.0,
        (4.5 * math.pi**2 + 0.5 * (2 / (9 * math.pi**2)) * (9 * math.pi**2 - 4 + 6 * math.pi) + 2 / 12) / 9 + 0.02,
    ),
    "checkerboard": (0.0, 0.0, 2.0 * 16.0 / 3.0),
    # int t cos t / 3 pi = [t sin + cos] / 3 pi = 6 pi / 3 pi; int t sin t / 3 pi = [sin - t cos] / 3 pi = 2 / 3 pi
    "swiss_roll": (0.4, 0.4 / (3.0 * math.pi), (9.75 * math.pi**2 + 2.0) / 25.0),
    "circles": (0.0, 0.0, 9.0 * (0.625 + 2.0 * 0.0064)),
    "rings": (0.0, 0.0, 9.0 * (1.0 + 0.5625 + 0.25 + 0.0625) / 4.0 + 2.0 * 0.0064),
    "cosine": (0.0, 0.0, 25.0 / 12.0 + 3.125 * (1.0 - math.sin(5.0) / 5.0)),
    "line": (0.0, 0.0, 25.0 / 6.0),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_moments(name: str) -> None:
    x = draw(name)
    first, second, square = MOMENTS[name]
    assert_mean(x[:, 0], first)
    assert_mean(x[:, 1], second)
    assert_mean((x**2).sum(1), square)


def test_printed_anchors() -> None:
    assert MOMENTS["eight_gaussians"][2] == pytest.approx(8.252, abs=5e-4)
    assert MOMENTS["two_moons"][2] == pytest.approx(4.147, abs=5e-4)


# -- the laws that have no density here, each undone to its independent parts -----


def test_pinwheel_unwound_is_five_gaussians() -> None:
    """x / 2 turned back by a is y, which has the angle arg y; with y_1 = |y| cos(arg y) that is a fixed point for y_1.

    Only y_1 > 1 is looked at: there |arg y| < pi / 5 up to 5.9 standard deviations, so the label can be folded away.
    """
    w = draw("pinwheel") @ [0.5, 0.5j]
    along = np.abs(w)
    for _ in range(60):
        angle = np.angle((w * np.exp(0.25j * np.exp(along))) ** 5) / 5.0
        along = np.abs(w) * np.cos(angle)
    outer = along > 1.0
    across = (np.abs(w) * np.sin(angle))[outer]
    assert_mean(outer.astype(float), 0.5)
    assert stats.kstest(along[outer], stats.halfnorm(1.0, 0.3).cdf).pvalue > 1e-4
    assert stats.kstest(across, stats.norm(0.0, 0.1).cdf).pvalue > 1e-4
    label = (np.angle(w * np.exp(0.25j * np.exp(along))) - angle)[outer] * 5.0 / (2.0 * np.pi)
    assert np.allclose(label, np.rint(label), rtol=0, atol=1e-5)
    assert stats.chisquare(np.bincount(np.rint(label).astype(int) % 5)).pvalue > 1e-4


def test_spirals_turn_clockwise_on_two_arms() -> None:
    """A noiseless w = +-r e^{i (pi - r)} / 3 has w e^{3 i |w|} real. A displacement D adds e = 3 D_1 + D_2 / |w| to the
    angle, to first order, and E cos 2 e >= 1 - 2 E e^2 with E D^2 = 0.01 + 1 / 108 along any axis. Of another spiral
    the mean is 0.
    """
    w = draw("two_spirals") @ [1.0, 1.0j]
    w = w[np.abs(w) > 5.0 / 3.0]
    unwound = w * np.exp(3j * np.abs(w))
    least = 1.0 - 2.0 * (9.0 + 0.36) * (0.01 + 1.0 / 108.0)
    assert np.cos(2.0 * np.angle(unwound)).mean() > least - 0.05 > 0.5
    assert_mean((unwound.real > 0.0).astype(float), 0.5)


@pytest.mark.parametrize("name", ["cosine", "line"])
def test_curves(name: str) -> None:
    x = draw(name)
    height = 2.5 * np.sin(x[:, 0]) if name == "cosine" else x[:, 0]
    assert np.allclose(x[:, 1], height, rtol=0, atol=1e-6)
    assert stats.kstest(x[:, 0], stats.uniform(-2.5, 5.0).cdf).pvalue > 1e-4


# -- log-densities ---------------------------------------------------------------


@pytest.mark.parametrize("name", SMOOTH)
def test_a_density_has_integral_one(name: str) -> None:
    middle, area = grid(name)
    assert np.exp(log_density(name, middle)).sum() * area == pytest.approx(1.0, abs=1e-8)  # 5.9 std: 4e-9 outside


@pytest.mark.parametrize("name", SMOOTH)
def test_samples_have_the_density(name: str) -> None:
    """Counts in squares of the plane against the density summed over them; and -E log p against the entropy."""
    middle, area = grid(name)
    log_p = log_density(name, middle)
    mass = np.exp(log_p) * area
    x = draw(name)
    edges = np.linspace(-0.5, 0.5, 21) * GRID[name][0]  # 20 divides the cells of every grid
    expected = np.histogram2d(*middle.T, bins=edges, weights=mass)[0].ravel() * N
    found = np.histogram2d(*x.T, bins=edges)[0].ravel()
    often = expected > 10.0
    rest = N - found[often].sum(), N - expected[often].sum()
    statistic = ((found - expected)[often] ** 2 / expected[often]).sum() + (rest[0] - rest[1]) ** 2 / max(rest[1], 1.0)
    assert often.sum() > 40
    assert stats.chi2(often.sum()).sf(statistic) > 1e-4
    assert_mean(-log_density(name, x), -(mass * log_p).sum())


def test_entropy_of_eight_gaussians() -> None:
    """Below 2.838, that of components without overlap, by E log(sum_k p_k / p_0): the neighbours are 6.1 standard
    deviations away, and each takes 0.003."""
    middle, area = grid("eight_gaussians")
    log_p = log_density("eight_gaussians", middle)
    entropy = -(np.exp(log_p) * log_p).sum() * area
    separated = math.log(8.0) + math.log(2.0 * math.pi * math.e) + 2.0 * math.log(0.5 / 1.414)
    assert separated == pytest.approx(2.838, abs=5e-4)
    apart = 2.0 * (4.0 / 0.5) * math.sin(math.pi / 8.0)  # L, in standard deviations
    along = np.linspace(-12.0, 12.0, 4001)  # log(1 + p_1 / p_0) = log(1 + exp(L s - L^2 / 2)), s ~ N(0, 1)
    overlap = np.logaddexp(0.0, apart * along - apart**2 / 2.0) * stats.norm.pdf(along)
    assert separated - entropy == pytest.approx(2.0 * overlap.sum() * (along[1] - along[0]), abs=1e-5)


def test_checkerboard() -> None:
    x = draw("checkerboard")
    assert np.abs(x).max() <= 4.0
    assert np.array_equal(log_density("checkerboard", x), np.full(N, -math.log(32.0)))
    cells = np.floor(x / 2.0).astype(int) + 2
    counts = np.bincount(4 * cells[:, 0] + cells[:, 1], minlength=16)
    assert (counts > 0).sum() == 8 and stats.chisquare(counts[counts > 0]).pvalue > 1e-4
    for part in (x / 2.0 % 1.0).T:
        assert stats.kstest(part, "uniform").pvalue > 1e-4
    corner, white, outside = log_density("checkerboard", [[0.0, 0.0], [-1.0, 1.0], [5.0, 1.0]])
    assert corner == -math.log(32.0) and white == outside == -np.inf
