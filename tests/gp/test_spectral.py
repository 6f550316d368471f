"""The spectral velocity inside a Gaussian-preserving flow. Its mathematics: tests/maths/test_spectral.py."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gpot.errors import BadConfig, BadInput
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.spectral import SpectralVelocity
from gpot.maths.charts import Chart, cube_density, to_cube
from gpot.maths.euler import euler_penalty, kinetic_energy
from gpot.maths.spectral import energy, wavenumbers

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps
CHARTS = [Chart.cube, Chart.gaussian]
every_chart = pytest.mark.parametrize("chart", CHARTS)


def make_velocity(modes: int = 6, level: float = 0.2, n_steps: int = 20, seed: int = 0) -> SpectralVelocity:
    """Random coefficients, larger for larger scales, with the given energy."""
    velocity = SpectralVelocity(2, modes, n_steps).double()
    b = torch.randn(modes, modes, dtype=DTYPE, generator=torch.Generator().manual_seed(seed))
    b = b / wavenumbers(b)
    with torch.no_grad():
        velocity.initial.copy_(b * (level / energy(b)).sqrt())
    return velocity


def make_flow(chart: Chart, n_steps: int = 20, **options: float) -> GaussianPreservingFlow:
    return GaussianPreservingFlow(make_velocity(**options), chart, n_steps)  # type: ignore[arg-type]


# -- the velocity ---------------------------------------------------------------


def test_start() -> None:
    velocity = SpectralVelocity()
    assert [(name, tuple(p.shape)) for name, p in velocity.named_parameters()] == [("initial", (8, 8))]
    assert 0.0 < velocity.initial.abs().max() <= 0.01
    assert velocity(0.3, torch.zeros(1, 2), Chart.cube).dtype == torch.float32
    assert velocity.double()(0.3, torch.zeros(1, 2, dtype=DTYPE), Chart.gaussian).dtype == DTYPE


def test_charts_and_times_agree() -> None:
    velocity = make_velocity()
    z = torch.randn(20, 2, dtype=DTYPE).clamp(-2.5, 2.5)
    times = torch.rand(20, dtype=DTYPE)
    in_cube, in_z = (velocity.field(chart) for chart in CHARTS)
    torch.testing.assert_close(in_z(0.3, z) * cube_density(z), in_cube(0.3, to_cube(z)), rtol=0.0, atol=1e-12)
    for field, y in ((in_cube, to_cube(z)), (in_z, z)):
        each = torch.cat([field(t, row[None]) for t, row in zip(times, y, strict=True)])
        torch.testing.assert_close(field(times, y), each, rtol=0.0, atol=1e-12)
        assert (field(1.0, y) - field(0.0, y)).abs().max() > 0.05


def test_errors_say_what_to_type() -> None:
    with pytest.raises(BadConfig, match=r"dim=2 is needed, found dim=3.*MLPVelocity"):
        SpectralVelocity(3)
    for options in ({"modes": 0}, {"n_steps": 0}):
        with pytest.raises(BadConfig, match=r"try modes=8, n_steps=15"):
            SpectralVelocity(2, **options)
    velocity = SpectralVelocity()
    with pytest.raises(BadConfig, match='take chart="gaussian"'):
        velocity.field(Chart.direct)
    with pytest.raises(BadConfig, match=r"call field\(chart\)"):
        velocity.weighted_field()
    with pytest.raises(BadInput, match=r"\(n, 2\)"):
        velocity(0.0, torch.zeros(2, 3), Chart.cube)


# -- the flow ---------------------------------------------------------------


@every_chart
def test_log_det_error_falls_at_order_four(chart: Chart) -> None:
    z = torch.randn(40, 2, dtype=DTYPE).clamp(-2.5, 2.5)
    gp = make_flow(chart, 15)
    assert (gp.transport(z) - z).norm(dim=1).mean() > 0.3
    coarse = gp.log_det_error(z).abs().mean().item()
    gp.refine(30)
    fine = gp.log_det_error(z).abs().mean().item()
    assert fine > 1e4 * EPS
    assert 3.5 < math.log2(coarse / fine) < 5.5


@torch.no_grad()
def test_both_charts_give_one_map_to_order_four() -> None:
    z = torch.randn(50, 2, dtype=DTYPE).clamp(-2.5, 2.5)
    gaps = []
    for n_steps in (20, 40, 80):
        cube, gaussian = (make_flow(chart, n_steps).transport(z) for chart in CHARTS)
        gaps.append((cube - gaussian).abs().max().item())
    assert gaps[-1] < 1e-3 and all(math.log2(a / b) > 3.5 for a, b in pairwise(gaps))


@every_chart
@torch.no_grad()
def test_inverse(chart: Chart) -> None:
    z = torch.randn(50, 2, dtype=DTYPE).clamp(-2.5, 2.5)
    gaps = []
    for n_steps in (20, 40):
        gp = make_flow(chart, n_steps)
        gaps.append((gp.inverse(gp.transport(z)) - z).abs().max().item())
    assert 1e-10 < gaps[1] < gaps[0] / 10.0
    assert (gp.inverse(gp.transport(z), refine=2) - z).abs().max() < 0.01 * gaps[1]


@torch.no_grad()
def test_tails_stay_finite_in_float32() -> None:
    gp = make_flow(Chart.gaussian).float()
    z = torch.tensor([[12.0, -3.0], [-9.0, 9.0], [0.0, 0.0], [30.0, 1.0]])
    assert gp.transport(z).isfinite().all()
    assert gp.log_det_error(z).isfinite().all()


@every_chart
@torch.no_grad()
def test_energy_of_the_particles_is_that_of_the_coefficients(chart: Chart) -> None:
    """Uniform particles stay uniform, so the energy (9) is a Monte-Carlo mean of a constant of the motion."""
    gp = make_flow(chart)
    path = gp.flow_trajectory(torch.randn(8000, 2, dtype=DTYPE).clamp(-4.0, 4.0))
    speeds = gp.cube_velocities(path)[:-1]
    spread = float((0.5 * speeds.square().sum(-1)).mean(0).std()) / math.sqrt(8000)
    expected = float(energy(gp.velocity.initial))  # type: ignore[arg-type]
    assert abs(float(kinetic_energy(speeds, path.dt)) - expected) < 4.0 * spread < 0.05 * expected


@every_chart
def test_gradient_of_cost_and_penalty(chart: Chart) -> None:
    gp = make_flow(chart, 6, modes=4)
    z, x = torch.randn(2, 8, 2, dtype=DTYPE)

    def loss() -> Tensor:
        s, path = gp.forward_with_path(z)
        draws = torch.Generator().manual_seed(1)
        points = gp.penalty_points(path.points)[1:-1:2]
        penalty = euler_penalty(gp.penalty_field(), path.times[1:-1:2], points, exact=True, generator=draws)
        return ((x - s) ** 2).sum() + penalty

    loss().backward()
    (initial,) = gp.parameters()
    direction = torch.randn_like(initial)
    slope, step, sides = float((initial.grad * direction).sum()), 1e-5, []  # type: ignore[operator]
    for sign in (1.0, -1.0):
        with torch.no_grad():
            initial += (step if sign > 0.0 else -2.0 * step) * direction
        sides.append(loss().item())
    assert abs(slope) > 1e-2
    assert slope == pytest.approx((sides[0] - sides[1]) / (2.0 * step), rel=1e-5)


def penalty_of(modes: int, frozen: bool = False) -> float:
    """Euler's penalty of one smooth initial state, three sines per coordinate, solved with `modes` of them."""
    start = make_velocity(3, 0.05).initial.detach()
    velocity = SpectralVelocity(2, modes, 60).double()
    with torch.no_grad():
        velocity.initial.zero_()[:3, :3] = start
    solved = velocity.field(Chart.cube)
    draws = torch.Generator().manual_seed(1)
    points = 2.0 * torch.rand(3, 100, 2, dtype=DTYPE, generator=draws) - 1.0
    times = torch.tensor([0.0, 0.5, 0.9], dtype=DTYPE)
    field = (lambda t, y: solved(0.0 * t, y)) if frozen else solved
    return euler_penalty(field, times, points, exact=True, generator=draws, reduction="integral").item()


def test_eulers_penalty_is_that_of_the_truncation_alone() -> None:
    values = [penalty_of(modes) for modes in (4, 6, 8, 12, 16)]
    assert all(fine < 0.5 * coarse for coarse, fine in pairwise(values))
    assert values[-1] < 1e-3 * penalty_of(16, frozen=True)  # the same fields with time standing still


def test_state_dict_carries_the_map() -> None:
    gp = make_flow(Chart.gaussian, 17)
    other = make_flow(Chart.gaussian, 5, seed=1)
    z = torch.randn(10, 2, dtype=DTYPE)
    assert not torch.equal(other.transport(z), gp.transport(z))
    assert set(gp.state_dict()) == {"rotation", "steps", "made_in", "velocity.initial"}
    other.load_state_dict(gp.state_dict())
    assert torch.equal(other.transport(z), gp.transport(z))


def test_training_recovers_an_initial_velocity() -> None:
    """Gradient descent on the displacement finds the coefficients that made it."""
    true = make_flow(Chart.gaussian, 6, modes=2, level=0.05)
    z = torch.randn(100, 2, dtype=DTYPE)
    with torch.no_grad():
        target = true.transport(z)
    gp = GaussianPreservingFlow(SpectralVelocity(2, 2, 6).double(), Chart.gaussian, 6)
    optimizer = torch.optim.LBFGS(gp.parameters(), max_iter=30, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = ((gp.transport(z) - target) ** 2).sum()
        value.backward()
        return value

    optimizer.step(loss)
    (found,), (expected,) = gp.parameters(), true.parameters()
    torch.testing.assert_close(found.detach(), expected.detach(), rtol=0.0, atol=1e-5)
