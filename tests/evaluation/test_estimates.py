"""Cost, likelihood, certificate and energy where their values are known."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from gpot.errors import BadInput
from gpot.evaluation.certificate import assignment_gap, certificate
from gpot.evaluation.cost import cost_summary
from gpot.evaluation.energy import cube_energy
from gpot.evaluation.estimate import Estimate
from gpot.evaluation.likelihood import log_det_error, nll, nll_exact
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from tests.gp.linear import Linear

DTYPE = torch.float64
OMEGA = 1.5


def rigid(n_steps: int = 40) -> GaussianPreservingFlow:
    skew = OMEGA * torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=DTYPE)
    return GaussianPreservingFlow(Linear(skew), Chart.direct, n_steps)


def ridge(chart: Chart, n_steps: int) -> GaussianPreservingFlow:
    velocity = RidgeVelocity(3, 8).double()
    draws = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in velocity.parameters():
            parameter.copy_(0.7 * torch.randn(parameter.shape, dtype=DTYPE, generator=draws))
    return GaussianPreservingFlow(velocity, chart, n_steps)


# -- estimates ---------------------------------------------------------------


def test_estimate_of_values() -> None:
    assert Estimate.of(torch.tensor([1.0, 2.0, 3.0, 6.0])) == Estimate(3.0, math.sqrt(14.0 / 3.0) / 2.0)
    lonely = Estimate.of(torch.tensor([2.0]))
    assert lonely.mean == 2.0 and math.isnan(lonely.stderr)
    assert math.isnan(Estimate.of(torch.tensor([2.0, math.nan])).mean)
    # float32 would lose the ones beside 2^24
    assert Estimate.of(torch.tensor([2.0**24, 1.0, 1.0, 2.0])).mean == (2.0**24 + 4.0) / 4.0
    for wrong in (torch.zeros(0), torch.zeros(3, 1), torch.tensor(1.0)):
        with pytest.raises(BadInput, match="one value per sample"):
            Estimate.of(wrong)


def test_standard_error_covers_the_mean() -> None:
    draws = torch.randn(400, 100, dtype=DTYPE)
    estimates = [Estimate.of(row) for row in draws]
    inside = sum(abs(e.mean) < 1.96 * e.stderr for e in estimates) / len(estimates)
    assert 0.90 < inside < 0.98


def test_cost_summary() -> None:
    x = torch.randn(30, 4, dtype=DTYPE, requires_grad=True)
    shift = torch.tensor([1.0, -2.0, 0.0, 2.0], dtype=DTYPE)
    summary = cost_summary(x, x + shift)
    assert summary.mean == pytest.approx(9.0) and summary.stderr == pytest.approx(0.0, abs=1e-12)


# -- likelihood ---------------------------------------------------------------


def test_nll_of_a_scaled_gaussian() -> None:
    x = 2.0 * torch.randn(50, 3, dtype=DTYPE)
    expected = -torch.distributions.Normal(0.0, torch.tensor(2.0, dtype=DTYPE)).log_prob(x).sum(1)
    estimate = nll(x / 2.0, torch.full((50,), -3.0 * math.log(2.0), dtype=DTYPE))
    assert estimate.mean == pytest.approx(expected.mean().item(), rel=1e-12)


def test_exact_nll_sees_what_the_analytic_one_cannot() -> None:
    matrix = torch.tensor([[0.3, 0.0], [0.0, 0.2]], dtype=DTYPE)
    gp = GaussianPreservingFlow(Linear(matrix), Chart.direct, 10)  # not a Gaussian-preserving map at all
    z = torch.randn(40, 2, dtype=DTYPE)
    log_det_f = torch.randn(40, dtype=DTYPE)
    s, log_det_s = gp(z)
    before = nll(z, log_det_f).mean
    assert nll(s, log_det_f + log_det_s).mean == pytest.approx(before, rel=1e-12)
    exact = nll(s, log_det_f + 0.5).mean
    assert nll_exact(gp, z, log_det_f).mean == pytest.approx(exact, rel=1e-5)
    assert abs(exact - before) > 0.05
    error = log_det_error(gp, z, chunk=20)
    gaps = (0.5 - log_det_s).abs()
    assert error.mean == pytest.approx(gaps.mean().item(), rel=1e-4)
    assert error.max == pytest.approx(gaps.max().item(), rel=1e-4)


def test_exact_nll_by_a_part_of_the_points_differs_by_the_error_alone() -> None:
    gp = ridge(Chart.direct, 6)
    z, log_det_f = torch.randn(200, 3, dtype=DTYPE), 5.0 * torch.randn(200, dtype=DTYPE)
    of_all, of_some = nll_exact(gp, z, log_det_f), nll_exact(gp, z, log_det_f, 50, gp.transport(z))
    bias = [gp.log_det_error(part).mean().item() for part in (z, z[:50])]
    assert of_some.mean - of_all.mean == pytest.approx(bias[0] - bias[1], rel=1e-6)
    assert 0.0 < abs(bias[0] - bias[1]) < 1e-2 * of_all.stderr


@pytest.mark.parametrize("chart", list(Chart))
def test_exact_nll_of_a_resolved_flow_is_that_of_f(chart: Chart) -> None:
    gp = ridge(chart, 20)
    z, log_det_f = torch.randn(20, 3, dtype=DTYPE), torch.randn(20, dtype=DTYPE)
    error = log_det_error(gp, z)
    assert 0.0 < error.mean <= error.max < 1e-2
    assert abs(nll_exact(gp, z, log_det_f).mean - nll(z, log_det_f).mean) <= error.mean * (1.0 + 1e-9)


# -- certificate ---------------------------------------------------------------


def test_gap_equals_brute_force() -> None:
    x, z = torch.randn(2, 6, 2, dtype=DTYPE)
    paired = ((x - z) ** 2).sum().item()
    least = min(((x - z[list(order)]) ** 2).sum().item() for order in itertools.permutations(range(6)))
    assert least < paired
    assert assignment_gap(x, z) == pytest.approx(1.0 - least / paired, rel=1e-12)


def test_a_monotone_map_has_gap_zero_and_a_rotation_does_not() -> None:
    x = torch.randn(300, 3, dtype=DTYPE)
    root = torch.randn(3, 3, dtype=DTYPE)
    monotone = certificate(x, x @ (root @ root.T + 0.1 * torch.eye(3, dtype=DTYPE)).T + 1.0, 64, 4)
    assert monotone == Estimate(0.0, 0.0)
    angle = math.pi / 2
    turn = torch.tensor([[0, -1.0, 0], [1.0, 0, 0], [0, 0, 1.0]], dtype=DTYPE) * math.sin(angle)
    turned = certificate(x, x @ turn.T, 64, 4)
    assert turned.mean > 0.3 and turned.mean > 5.0 * turned.stderr


def test_gap_of_an_improvable_map_grows_with_the_batch() -> None:
    x = torch.randn(256, 2, dtype=DTYPE)
    z = -x  # every pair is swapped with its neighbour across the origin, once there is one
    small, large = certificate(x, z, 8, 32), certificate(x, z, 128, 2)
    assert 0.0 < small.mean < large.mean < 1.0


def test_certificate_of_the_identity_and_of_constant_data() -> None:
    x = torch.ones(10, 2, dtype=DTYPE)
    assert certificate(x, x, 5, 2).mean == 0.0
    assert certificate(x, x + 1.0, 5, 2).mean == 0.0


def test_batches_are_disjoint_and_follow_the_generator() -> None:
    x, z = torch.randn(2, 40, 2, dtype=DTYPE)
    first, again = (certificate(x, z, 10, 4, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first == again != certificate(x, z, 10, 4, torch.Generator().manual_seed(2))
    whole = certificate(x, z, 40, 1)
    assert whole.mean == pytest.approx(assignment_gap(x, z)) and math.isnan(whole.stderr)
    assert certificate(x, z, 40, 3).stderr == pytest.approx(0.0, abs=1e-12)  # all pairs each time: no spread


def test_certificate_refuses_what_it_cannot_judge() -> None:
    x = torch.randn(10, 2)
    with pytest.raises(BadInput, match="batches of 512 pairs was asked for, with 10 pairs"):
        certificate(x, x)
    with pytest.raises(BadInput, match=r"\(10, 2\), \(9, 2\)"):
        certificate(x, x[:9], 5)
    with pytest.raises(BadInput, match="finite"):
        certificate(x, torch.full_like(x, torch.nan), 5)


# -- energy ---------------------------------------------------------------


def test_energy_of_a_rigid_rotation() -> None:
    """dc_i/dt = sqrt(2/pi) exp(-z_i^2/2) (A z)_i, E exp(-z^2) = 1/sqrt(3): the energy is 2 omega^2 / (pi sqrt(3))."""
    energy = cube_energy(rigid(), 20_000, torch.Generator().manual_seed(0))
    expected = 2.0 * OMEGA**2 / (math.pi * math.sqrt(3.0))
    assert abs(energy.mean - expected) < 4.0 * energy.stderr
    assert energy.stderr < 0.02 * expected


def test_energy_does_not_depend_on_chart_or_chunk() -> None:
    cube, gaussian = (
        cube_energy(ridge(chart, 40), 300, torch.Generator().manual_seed(0)) for chart in (Chart.cube, Chart.gaussian)
    )
    assert cube.mean == pytest.approx(gaussian.mean, rel=1e-4)
    chunked = cube_energy(ridge(Chart.gaussian, 40), 300, torch.Generator().manual_seed(0), chunk=128)
    assert chunked.mean == pytest.approx(gaussian.mean, rel=1e-12)


def test_energy_dtype_follows_the_flow_or_the_caller() -> None:
    single = ridge(Chart.gaussian, 10).float()
    assert cube_energy(single, 10).mean > 0.0
    assert cube_energy(rigid(), 10, dtype=DTYPE, device="cpu").mean > 0.0
