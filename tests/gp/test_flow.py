"""The Gaussian-preserving flow: its law, its log-determinant, its inverse, the cube, and what its state carries."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from gpot.errors import BadConfig, BadInput, OutsideCube
from gpot.gp.deep_ridge import DeepRidgeVelocity
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
from gpot.maths.charts import Chart, to_cube
from gpot.maths.euler import euler_penalty
from gpot.maths.integrate import Method
from gpot.maths.transport import exact_log_det
from tests.gp.linear import Linear

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps
CHARTS = list(Chart)
KINDS = ["mlp", "ridge"]


def make_velocity(kind: str, dim: int = 3, scale: float = 0.7, seed: int = 0) -> Velocity:
    """Random weights that move particles by about their own size."""
    velocity = MLPVelocity(dim, (10, 10)) if kind == "mlp" else RidgeVelocity(dim, 12)
    draws = torch.Generator().manual_seed(seed)
    velocity = velocity.double()
    with torch.no_grad():
        for parameter in velocity.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, dtype=DTYPE, generator=draws))
    return velocity


def make_flow(kind: str, chart: Chart, n_steps: int = 20, dim: int = 3, **options: object) -> GaussianPreservingFlow:
    rotation = torch.linalg.qr(torch.randn(dim, dim, dtype=DTYPE, generator=torch.Generator().manual_seed(3))).Q
    velocity = make_velocity(kind, dim)
    return GaussianPreservingFlow(velocity, chart, n_steps, rotation=rotation, **options)  # type: ignore[arg-type]


every_flow = pytest.mark.parametrize(("kind", "chart"), [(kind, chart) for kind in KINDS for chart in CHARTS])


# -- the law ---------------------------------------------------------------


def least_p_value(sample: Tensor) -> float:
    """Of Kolmogorov-Smirnov tests against N(0, I): coordinates, 10 projections, the squared radius; with Bonferroni."""
    dim = sample.shape[1]
    directions = torch.nn.functional.normalize(torch.randn(10, dim, dtype=DTYPE), dim=1)
    lines = torch.cat((sample, sample @ directions.T), 1).T
    p_values = [stats.kstest(line.numpy(), "norm").pvalue for line in lines]
    p_values.append(stats.kstest((sample**2).sum(1).numpy(), "chi2", args=(dim,)).pvalue)
    return min(p_values) * len(p_values)


@every_flow
@torch.no_grad()
def test_pushed_samples_are_gaussian(kind: str, chart: Chart) -> None:
    z = torch.randn(5000, 3, dtype=DTYPE)
    s = make_flow(kind, chart).transport(z)
    assert (s - z).norm(dim=1).mean() > 0.5  # it moves
    assert least_p_value(s) > 0.01
    deviation = torch.cov(s.T) - torch.eye(3, dtype=DTYPE)
    assert deviation.abs().max() < 5.0 * math.sqrt(2.0 / len(z))


@torch.no_grad()
def test_the_two_sample_test_sees_a_map_that_changes_the_law() -> None:
    z = torch.randn(5000, 3, dtype=DTYPE)
    shear = torch.zeros(3, 3, dtype=DTYPE)
    shear[0, 1] = 0.5
    assert least_p_value(GaussianPreservingFlow(Linear(shear), Chart.direct, 10).transport(z)) < 1e-6


@every_flow
def test_log_det_error_falls_at_the_order_of_the_integrator(kind: str, chart: Chart) -> None:
    z = torch.randn(20, 3, dtype=DTYPE)
    gp = make_flow(kind, chart, 15)
    coarse = gp.log_det_error(z).abs().mean().item()
    gp.refine(30)
    fine = gp.log_det_error(z).abs().mean().item()
    assert fine > 1e3 * EPS
    assert 3.6 < math.log2(coarse / fine) < 5.5  # 4; a field that is not quite resolved falls faster


@pytest.mark.parametrize("chart", CHARTS)
def test_log_det_error_of_the_midpoint_rule(chart: Chart) -> None:
    z = torch.randn(20, 3, dtype=DTYPE)
    gp = make_flow("ridge", chart, 15, method=Method.midpoint)
    coarse = gp.log_det_error(z).abs().mean().item()
    gp.refine(30)
    assert 1.7 < math.log2(coarse / gp.log_det_error(z).abs().mean().item()) < 3.5


@every_flow
def test_log_det_error_is_slogdet_of_the_autograd_jacobian(kind: str, chart: Chart) -> None:
    z = torch.randn(5, 3, dtype=DTYPE)
    gp = make_flow(kind, chart, 6)
    s, log_det = gp(z)
    torch.testing.assert_close(log_det, 0.5 * ((s**2).sum(1) - (z**2).sum(1)))
    jac = torch.stack([torch.autograd.functional.jacobian(lambda row: gp.transport(row[None])[0], row) for row in z])
    exact = torch.linalg.slogdet(jac).logabsdet
    torch.testing.assert_close(gp.log_det_error(z, chunk=2), (exact - log_det).detach(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", list(Method))
@pytest.mark.parametrize("dim", [2, 5])
def test_the_written_log_det_is_that_of_automatic_differentiation(dim: int, method: Method) -> None:
    charts = [chart for chart in CHARTS if (chart, method) != (Chart.cube, Method.euler)]  # whose steps leave the cube
    flows = [make_flow(kind, chart, 8, dim, method=method) for kind in KINDS for chart in charts]
    flows.append(GaussianPreservingFlow(DeepRidgeVelocity(dim, 6, 5).double(), Chart.direct, 6, method))
    with torch.no_grad():
        for parameter in [parameter for gp in flows for parameter in gp.velocity.parameters()]:
            parameter.copy_(0.3 * torch.randn(parameter.shape, dtype=DTYPE))
    for gp in flows:
        z = torch.randn(7, dim, dtype=DTYPE)
        assert gp.velocity.along(gp.chart) is not None
        exact = exact_log_det(lambda rows, gp=gp: gp._leave_chart(gp._map(gp._enter_chart(gp._rotate(rows)))), z)
        assert (exact - gp(z)[1]).abs().max() > 1e-9  # the steps err
        torch.testing.assert_close(gp.exact_log_det(z, chunk=3), exact, rtol=1e-10, atol=1e-11)


def test_log_det_error_sees_a_field_that_changes_the_law() -> None:
    matrix = torch.diag(torch.tensor([0.5, -0.2], dtype=DTYPE))
    z = torch.randn(10, 2, dtype=DTYPE)
    gp = GaussianPreservingFlow(Linear(matrix), Chart.direct, 10)
    s = z @ torch.matrix_exp(matrix).T
    expected = 0.3 - 0.5 * ((s**2).sum(1) - (z**2).sum(1))
    torch.testing.assert_close(gp.log_det_error(z), expected, rtol=0.0, atol=1e-5)


def test_rigid_rotation_after_a_rotation() -> None:
    skew = torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=DTYPE)
    first = torch.matrix_exp(0.4 * skew)
    z = torch.randn(10, 2, dtype=DTYPE)
    gp = GaussianPreservingFlow(Linear(skew), Chart.direct, 100, rotation=first)
    s, log_det = gp(z)
    torch.testing.assert_close(s, z @ torch.matrix_exp(1.4 * skew).T, rtol=0.0, atol=1e-7)
    torch.testing.assert_close(log_det, torch.zeros_like(log_det), rtol=0.0, atol=1e-7)


# -- charts and the cube ---------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_cube_and_gaussian_are_one_flow(kind: str) -> None:
    z = torch.randn(50, 3, dtype=DTYPE).clamp(-3.0, 3.0)
    gaps = []
    for n_steps in (40, 80):
        cube, gaussian = (make_flow(kind, chart, n_steps).transport(z) for chart in (Chart.cube, Chart.gaussian))
        gaps.append((cube - gaussian).abs().max().item())
    assert gaps[1] < 1e-3 and gaps[1] < gaps[0] / 10.0
    assert (make_flow(kind, Chart.direct, 80).transport(z) - gaussian).abs().max() > 0.1


@torch.no_grad()
def test_unresolved_steps_raise_with_the_count_and_resolved_ones_stay() -> None:
    z = 1.5 * torch.randn(200, 3, dtype=DTYPE)
    gp = GaussianPreservingFlow(make_velocity("mlp", scale=1.0), Chart.cube, 4)
    count = gp.escaped(z)
    assert 0 < count < len(z)
    message = rf"200 particles .* 4 rk4 steps, and {count} did not.*n_steps=8.*chart=\"gaussian\""
    for attempt in (gp, gp.transport, gp.flow_trajectory, gp.forward_with_path, gp.log_det_error):
        with pytest.raises(OutsideCube, match=message):
            attempt(z)
    with pytest.raises(OutsideCube):
        gp.inverse(z)
    counting = GaussianPreservingFlow(gp.velocity, Chart.cube, 4, on_escape="count")
    lost = (~counting.transport(z).isfinite().all(1)).sum()
    assert 0 < lost <= counting.escaped(z) == count  # nothing is replaced; a particle may have come back
    kept = counting.transport(z).isfinite().all(1)
    torch.testing.assert_close(counting.transport(z)[kept], counting.transport(z[kept]), rtol=0.0, atol=1e-9)

    gp.refine(100)
    assert gp.escaped(z) == 0
    assert gp.flow_trajectory(z).points.abs().max() < 1.0 and gp(z)[0].isfinite().all()
    for chart in (Chart.gaussian, Chart.direct):
        no_wall = GaussianPreservingFlow(gp.velocity, chart, 4)
        assert no_wall.escaped(z) == 0 and no_wall.transport(z).isfinite().all()


@torch.no_grad()
def test_a_particle_that_starts_on_the_wall_is_named() -> None:
    z = torch.tensor([[0.0, 1.0], [9.0, 0.0]], dtype=DTYPE)  # erf(9 / sqrt 2) rounds to 1
    gp = GaussianPreservingFlow(make_velocity("ridge", 2), Chart.cube, 50)
    with pytest.raises(OutsideCube, match="1 did not, 1 of them at the start"):
        gp(z)
    assert GaussianPreservingFlow(gp.velocity, Chart.gaussian, 50)(z)[0].isfinite().all()


@torch.no_grad()
def test_escaped_counts_what_is_not_finite_without_a_wall() -> None:
    gp = GaussianPreservingFlow(Linear(1e200 * torch.eye(2, dtype=DTYPE)), Chart.direct, 4)
    assert gp.escaped(torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=DTYPE)) == 1


# -- inverse ---------------------------------------------------------------


@every_flow
@torch.no_grad()
def test_inverse_is_of_the_order_of_the_integrator_and_corrections_improve_it(kind: str, chart: Chart) -> None:
    z = torch.randn(40, 3, dtype=DTYPE).clamp(-2.5, 2.5)

    def gap(n_steps: int, refine: int) -> float:
        gp = make_flow(kind, chart, n_steps)
        return (gp.inverse(gp.transport(z), refine) - z).abs().max().item()

    coarse, plain, corrected = gap(15, 0), gap(30, 0), gap(30, 2)
    assert 1e-9 < plain < coarse / 10.0
    assert corrected < 0.01 * plain


@torch.no_grad()
def test_corrections_work_far_from_the_identity() -> None:
    """A turn by 2 radians: y - (Phi(y) - target) would diverge."""
    gp = GaussianPreservingFlow(Linear(torch.tensor([[0.0, -2.0], [2.0, 0.0]], dtype=DTYPE)), Chart.direct, 3)
    z = torch.randn(10, 2, dtype=DTYPE)
    assert (gp.inverse(gp.transport(z)) - z).abs().max() > 1e-3
    torch.testing.assert_close(gp.inverse(gp.transport(z), refine=10), z, rtol=0.0, atol=1e3 * EPS)


# -- the path ---------------------------------------------------------------


@every_flow
def test_forward_with_path(kind: str, chart: Chart) -> None:
    z = torch.randn(6, 3, dtype=DTYPE)
    gp = make_flow(kind, chart, 5)
    s, path = gp.forward_with_path(z)
    torch.testing.assert_close(s, gp.transport(z), rtol=0.0, atol=0.0)
    rotated = z @ gp.rotation.T
    start = to_cube(rotated) if chart is Chart.cube else rotated
    torch.testing.assert_close(path.points[0], start)
    assert path.n_steps == 5 and path.points.shape == (6, 6, 3)
    for t, point, velocity in zip(path.times, path.points, path.velocities, strict=True):
        torch.testing.assert_close(velocity, gp.velocity(t, point, chart))


@every_flow
def test_cube_velocities_are_those_of_the_path_in_the_cube(kind: str, chart: Chart) -> None:
    path = make_flow(kind, chart, 60).flow_trajectory(torch.randn(6, 3, dtype=DTYPE))
    velocities = make_flow(kind, chart).cube_velocities(path)
    points = path.points if chart is Chart.cube else to_cube(path.points)
    central = (points[2:] - points[:-2]) / (2.0 * path.dt)
    scale = ((velocities[2:] - 2.0 * velocities[1:-1] + velocities[:-2]) / path.dt**2).abs().max()
    assert (central - velocities[1:-1]).abs().max() < 1.5 * scale * path.dt**2 / 6.0 + 1e-9
    assert velocities.abs().max() > 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_penalty_is_the_same_in_cube_and_gaussian(kind: str) -> None:
    z = torch.randn(20, 3, dtype=DTYPE).clamp(-2.5, 2.5)
    values = {}
    for chart in CHARTS:
        gp = make_flow(kind, chart, 60)
        path = gp.flow_trajectory(z)
        points = gp.penalty_points(path.points)
        draws = torch.Generator().manual_seed(1)
        penalty = euler_penalty(gp.penalty_field(), path.times[:-1:20], points[:-1:20], exact=True, generator=draws)
        values[chart] = penalty.item()
    assert values[Chart.cube] == pytest.approx(values[Chart.gaussian], rel=1e-3)
    assert values[Chart.direct] != pytest.approx(values[Chart.gaussian], rel=1e-1)


@pytest.mark.parametrize("dim", [2, 3])
@every_flow
def test_penalty_with_probes_carried_forward(kind: str, chart: Chart, dim: int) -> None:
    """The number of the penalty that differentiates twice, with its gradient in the weights and in the particles."""
    gp, results = make_flow(kind, chart, 6, dim), []
    z = (0.5 * torch.randn(4, dim, dtype=DTYPE)).requires_grad_()
    for along in (None, gp.penalty_along()):
        _, times, points = gp.forward_with_points(z)
        draws = torch.Generator().manual_seed(1)
        penalty = euler_penalty(gp.penalty_field(), times[:-1], gp.penalty_points(points[:-1, :3]), 2, generator=draws,
                                step=1e-2, at_once=True, along=along)  # fmt: skip
        results.append((penalty, *torch.autograd.grad(penalty, (z, *gp.parameters()))))
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-9 * results[0][0].item())


@every_flow
def test_forward_with_points(kind: str, chart: Chart) -> None:
    gp, z = make_flow(kind, chart), torch.randn(5, 3, dtype=DTYPE)
    s, path = gp.forward_with_path(z)
    for found, expected in zip(gp.forward_with_points(z), (s, path.times, path.points), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("at_once", [False, True])
@pytest.mark.parametrize("exact", [False, True])
@every_flow
def test_one_pass_trains_on_cost_and_penalty(kind: str, chart: Chart, exact: bool, at_once: bool) -> None:
    """The gradient of the whole loss along a random direction of the parameters is that of a central difference."""
    gp = make_flow(kind, chart, 4)
    z = 0.5 * torch.randn(4, 3, dtype=DTYPE)

    def loss() -> Tensor:
        s, path = gp.forward_with_path(z)
        times, points = path.times[:-1:2], gp.penalty_points(path.points)[:-1:2]
        draws = torch.Generator().manual_seed(1)
        field = gp.penalty_field()
        penalty = euler_penalty(field, times, points, exact=exact, generator=draws, step=1e-2, at_once=at_once)
        return (s**2).sum() + 1e-2 * penalty

    loss().backward()
    parameters = list(gp.parameters())
    direction = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum(float((p.grad * u).sum()) for p, u in zip(parameters, direction, strict=True))  # type: ignore[operator]
    step, sides = 1e-5, []
    for sign in (1.0, -1.0):
        with torch.no_grad():
            for parameter, u in zip(parameters, direction, strict=True):
                parameter += (step if sign > 0.0 else -2.0 * step) * u
        sides.append(loss().item())
    assert abs(slope) > 1e-2
    assert slope == pytest.approx((sides[0] - sides[1]) / (2.0 * step), rel=1e-4)


# -- state ---------------------------------------------------------------


@every_flow
def test_state_dict_carries_the_whole_map(kind: str, chart: Chart) -> None:
    gp = make_flow(kind, chart, 17)
    state = gp.state_dict()
    assert {"rotation", "steps"} <= set(state) and int(state["steps"]) == 17
    other = GaussianPreservingFlow(make_velocity(kind, seed=8), chart, 5)
    z = torch.randn(10, 3, dtype=DTYPE)
    assert not torch.equal(other.transport(z), gp.transport(z))
    other.load_state_dict(state)
    assert other.n_steps == 17
    assert torch.equal(other.transport(z), gp.transport(z))


def test_a_state_dict_with_no_rotation_is_refused() -> None:
    gp = make_flow("ridge", Chart.direct)
    state = gp.state_dict()
    state["rotation"] = 1.1 * state["rotation"]
    with pytest.raises(BadInput, match="must be orthogonal"):
        make_flow("ridge", Chart.direct).load_state_dict(state)


def test_a_state_dict_of_another_chart_is_refused_and_one_without_the_record_is_taken() -> None:
    state = make_flow("ridge", Chart.direct).state_dict()
    with pytest.raises(BadConfig, match="chart='direct'"):
        make_flow("ridge", Chart.gaussian).load_state_dict(state)
    del state["made_in"]
    make_flow("ridge", Chart.direct).load_state_dict(state)


def test_copies_and_pickles() -> None:
    gp = make_flow("mlp", Chart.gaussian, 7)
    gp.refine(9)
    z = torch.randn(4, 3, dtype=DTYPE)
    stored = io.BytesIO()
    torch.save(gp, stored)
    stored.seek(0)
    for twin in (copy.deepcopy(gp), torch.load(stored, weights_only=False)):
        assert twin.n_steps == 9 and torch.equal(twin.transport(z), gp.transport(z))
        twin.refine(2)
        assert gp.n_steps == int(gp.steps) == 9


def test_default_rotation_follows_the_velocity_and_float32_works() -> None:
    gp = GaussianPreservingFlow(make_velocity("mlp"), Chart.gaussian, 10)
    assert gp.rotation.dtype == DTYPE and torch.equal(gp.rotation, torch.eye(3, dtype=DTYPE))
    single = copy.deepcopy(gp).float()
    z = torch.randn(10, 3)
    s, log_det = single(z)
    assert s.dtype == log_det.dtype == torch.float32 and single.steps.dtype == torch.int64
    torch.testing.assert_close(s.double(), gp(z.double())[0], rtol=0.0, atol=1e-3)


def test_bad_arguments_are_refused() -> None:
    velocity = make_velocity("ridge")
    with pytest.raises(BadConfig, match="at least one time step, and got n_steps=0"):
        GaussianPreservingFlow(velocity, Chart.cube, 0)
    with pytest.raises(BadConfig, match=r"\(3, 3\), and got \(2, 2\)"):
        GaussianPreservingFlow(velocity, Chart.cube, 5, rotation=torch.eye(2))
    with pytest.raises(BadInput, match="orthogonal"):
        GaussianPreservingFlow(velocity, Chart.cube, 5, rotation=2.0 * torch.eye(3))
    with pytest.raises(BadConfig, match="'clip'"):
        GaussianPreservingFlow(velocity, Chart.cube, 5, on_escape="clip")  # type: ignore[arg-type]


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod."])
def test_the_state_of_a_wrapped_flow_is_that_of_the_flow(wrapper: str) -> None:
    made, fresh = make_flow("ridge", Chart.direct), make_flow("ridge", Chart.direct, n_steps=3)
    with torch.no_grad():
        fresh.velocity.alpha.zero_()  # type: ignore[attr-defined]
    fresh.load_state_dict({wrapper + name: tensor for name, tensor in made.state_dict().items()})
    z = torch.randn(5, 3, dtype=DTYPE)
    assert torch.equal(fresh.transport(z), made.transport(z)) and fresh.n_steps == made.n_steps
    with pytest.raises(RuntimeError, match="Unexpected"):
        fresh.load_state_dict({f"other.{name}": tensor for name, tensor in made.state_dict().items()})


def test_points_as_people_have_them_are_taken_or_refused_in_a_sentence() -> None:
    flow = make_flow("ridge", Chart.direct)
    z = torch.randn(5, 3, dtype=DTYPE)
    attempts = (flow, flow.transport, flow.inverse, flow.exact_log_det, flow.log_det_error, flow.escaped)
    for attempt in (*attempts, flow.flow_trajectory):
        with pytest.raises(BadInput, match=r"float64, and got points of torch.float32; type z\.to\(torch\.float64\)"):
            attempt(z.float())
        with pytest.raises(BadInput, match=r"type z\.to\(torch\.float64\)$"):  # no flow computes in integers
            attempt(z.int())
        with pytest.raises(BadInput, match=r"shape \(n, 3\), and got \(5, 2\)"):
            attempt(z[:, :2])
    assert torch.equal(flow.transport(z.numpy()), flow.transport(z))  # type: ignore[arg-type]
    assert torch.equal(flow(z.tolist())[1], flow(z)[1])
    assert torch.equal(flow.inverse(z.numpy()), flow.inverse(z))  # type: ignore[arg-type]
