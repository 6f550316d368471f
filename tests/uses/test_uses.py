"""Uses of a Monge map between Gaussians, where geodesics, contours and paths are known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gpot import GaussianPreservingFlow, MongeMap, RidgeVelocity
from gpot.between import MongeBetween
from gpot.errors import BadInput
from gpot.flows.identity import IdentityFlow
from gpot.maths.charts import Chart
from gpot.maths.transport import gaussian_log_density, jacobian
from gpot.uses import (
    calibrate,
    coverage,
    depth,
    displace,
    displaced_log_density,
    inside,
    interpolate_points,
    law_preserving_path,
    map_path,
    quantile_contour,
    radius,
    ranks,
    signs,
)
from gpot.uses.interpolation import Path
from gpot.uses.ranks import distribution
from tests.between.flows import DTYPE, Affine, affine


def gp(dim: int, scale: float = 0.5, chart: Chart = Chart.direct, n_steps: int = 30) -> GaussianPreservingFlow:
    flow = GaussianPreservingFlow(RidgeVelocity(dim, 8), chart, n_steps).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.copy_(scale * torch.randn_like(p))
    return flow.requires_grad_(False)


def still(dim: int) -> GaussianPreservingFlow:
    return gp(dim, 0.0, n_steps=1)


def stretch() -> Affine:
    """x = diag(2, 1/2) z + (1, 0): its inverse is the Monge map to N(0, I)."""
    return Affine(torch.diag(torch.tensor([2.0, 0.5], dtype=DTYPE)), torch.tensor([1.0, 0.0], dtype=DTYPE))


# -- interpolation -----------------------------------------------------------


def test_the_law_between_two_gaussians_is_the_gaussian_of_mccann() -> None:
    map_ = MongeBetween(IdentityFlow(2), stretch(), still(2))  # diag(2, 1/2) z + (1, 0) is the gradient of a convex u
    x = torch.randn(400, 2, dtype=DTYPE)
    y, slopes = map_.transport(x), map_.jacobian(x)
    for t, point in zip((0.0, 0.3, 1.0), displace(x, y, (0.0, 0.3, 1.0)), strict=True):
        scale = torch.tensor([1 - t + 2 * t, 1 - t + t / 2], dtype=DTYPE)
        torch.testing.assert_close(point, x * scale + t * torch.tensor([1.0, 0.0], dtype=DTYPE))
        expected = gaussian_log_density(x) - scale.log().sum()
        torch.testing.assert_close(displaced_log_density(gaussian_log_density(x), slopes, t), expected)


def test_the_jacobian_of_a_map_between_two_flows() -> None:
    map_ = MongeBetween(affine(3, 1), affine(3, 2), gp(3))
    x = torch.randn(4, 3, dtype=DTYPE)
    torch.testing.assert_close(map_.jacobian(x), jacobian(lambda rows: map_.transport(rows), x))
    torch.testing.assert_close(torch.linalg.slogdet(map_.jacobian(x)).logabsdet, map_(x)[1], rtol=0, atol=1e-4)


def test_paths_that_cross_have_no_density() -> None:
    flip = torch.diag(torch.tensor([-1.0, -1.0], dtype=DTYPE)).expand(5, 2, 2)
    with pytest.raises(BadInput, match="at 5 of 5 points"):
        displaced_log_density(torch.zeros(5, dtype=DTYPE), flip, 0.5)


@pytest.mark.parametrize("path", list(Path))
def test_points_between_points(path: Path) -> None:
    monge = MongeMap(stretch(), gp(2))
    start, end = torch.randn(2, 6, 2, dtype=DTYPE)
    between = interpolate_points(monge, start, end, (0.0, 0.5, 1.0), path)
    torch.testing.assert_close(between[0], start, rtol=0, atol=1e-8)
    torch.testing.assert_close(between[2], end, rtol=0, atol=1e-8)
    a, b, half = (monge.transport(points) for points in (start, end, between[1]))
    if path is Path.line:
        torch.testing.assert_close(half, (a + b) / 2, rtol=0, atol=1e-7)
    else:
        torch.testing.assert_close(half.norm(dim=1), (a.norm(dim=1) + b.norm(dim=1)) / 2, rtol=0, atol=1e-7)
        cosines = [torch.nn.functional.cosine_similarity(end_, half) for end_ in (a, b)]
        torch.testing.assert_close(*cosines, rtol=0, atol=1e-7)


def test_along_a_line_the_gradient_of_a_convex_function_does_not_turn_back() -> None:
    monge = MongeMap(stretch(), still(2))
    start, end = torch.randn(2, 50, 2, dtype=DTYPE)
    way = interpolate_points(monge, start, end, torch.linspace(0, 1, 11))
    ahead = ((monge.transport(end) - monge.transport(start)) * way.diff(dim=0)).sum(-1)
    assert (ahead > 0).all()


# -- ranks -------------------------------------------------------------------


@pytest.mark.parametrize("dim", [2, 5])
def test_ranks_and_signs_are_uniform_and_independent(dim: int) -> None:
    z = torch.randn(20_000, dim, dtype=DTYPE)
    rank = ranks(z).sort().values
    grid = (torch.arange(20_000) + 0.5) / 20_000
    assert (rank - grid).abs().max() < 1.63 / math.sqrt(20_000)  # Kolmogorov, 1 %
    assert signs(z).mean(0).abs().max() < 5 / math.sqrt(20_000)
    spherical = distribution(z)
    torch.testing.assert_close(spherical.norm(dim=1), 1 - depth(z))
    assert abs(torch.corrcoef(torch.stack([ranks(z), signs(z)[:, 0]]))[0, 1]) < 5 / math.sqrt(20_000)


def test_in_the_plane_the_rank_is_rayleighs() -> None:
    z = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=DTYPE)
    torch.testing.assert_close(ranks(z), torch.tensor([0.0, 1 - math.exp(-12.5)], dtype=DTYPE))
    assert radius(0.5, 2) == pytest.approx(math.sqrt(2 * math.log(2)))
    with pytest.raises(BadInput, match="between 0 and 1"):
        radius(1.0, 2)


def test_contours_of_a_gaussian_are_ellipses_of_its_covariance() -> None:
    contour = quantile_contour(MongeMap(stretch(), still(2)), 0.8, 100)
    scaled = (contour - torch.tensor([1.0, 0.0], dtype=DTYPE)) / torch.tensor([2.0, 0.5], dtype=DTYPE)
    torch.testing.assert_close(scaled.norm(dim=1), torch.full((100,), radius(0.8, 2)).to(scaled), rtol=1e-5, atol=0)
    assert quantile_contour(IdentityFlow(4), 0.5, 10).shape == (10, 4)


def test_the_contents_are_those_of_any_s() -> None:
    flow = affine(3, 4)
    x = flow.inverse(torch.randn(5000, 3, dtype=DTYPE)).detach()
    for map_ in (MongeMap(flow, still(3)), MongeMap(flow, gp(3))):
        for region in coverage(map_.transport(x).detach()):
            assert region.p_value > 1e-3 and abs(region.share - region.content) < 4 * region.error
            assert region.inside == int(inside(map_.transport(x), region.content).sum())


def test_coverage_that_is_wrong_is_seen() -> None:
    assert coverage(1.3 * torch.randn(2000, 2, dtype=DTYPE))[1].p_value < 1e-6
    with pytest.raises(BadInput, match="finite points"):
        coverage(torch.full((3, 2), torch.nan))


@pytest.mark.parametrize("content", [0.5, 0.8, 0.95])
def test_calibrated_regions_have_their_content_whatever_the_law(content: float) -> None:
    torch.manual_seed(0)
    shares = []
    for _ in range(400):
        z = 1.3 * torch.randn(100, 2, dtype=DTYPE).abs() ** 1.5  # far from Gaussian
        (ball,) = calibrate(z[:59], (content,))
        assert int(inside(z[:59], ball).sum()) == ball.rank == math.ceil(60 * content)
        shares.append(coverage(z[59:], (ball,))[0])
    expected = math.ceil(60 * content) / 60
    measured = torch.tensor([region.share for region in shares])
    assert abs(measured.mean().item() - expected) < 4 * shares[0].error / math.sqrt(400)
    assert measured.std().item() == pytest.approx(shares[0].error, rel=0.15)  # that of the beta-binomial law
    assert 0.01 < sum(region.p_value < 0.1 for region in shares) / 400 < 0.15


def test_calibration_that_fails_is_refused() -> None:
    with pytest.raises(BadInput, match="takes at least 19 points to calibrate, and got 18"):
        calibrate(torch.randn(18, 2))
    assert len(calibrate(torch.randn(19, 2))) == 3
    monge = MongeMap(stretch(), still(2))
    (ball,) = calibrate(torch.randn(50, 2, dtype=DTYPE), (0.5,))
    z = monge.transport(quantile_contour(monge, ball, 20))
    torch.testing.assert_close(z.norm(dim=1), torch.full((20,), ball.radius, dtype=DTYPE))


# -- paths of maps -----------------------------------------------------------


@pytest.mark.parametrize("chart", list(Chart))
def test_a_path_starts_at_the_rotation_and_ends_at_s(chart: Chart) -> None:
    flow = gp(2, chart=chart)
    z = torch.randn(300, 2, dtype=DTYPE)
    path = map_path(flow, z)
    torch.testing.assert_close(path.points[0], z @ flow.rotation.T, rtol=0, atol=1e-6)
    torch.testing.assert_close(path.points[-1], flow.transport(z), rtol=0, atol=1e-6)
    assert 0.0 < path.evenness <= 1.0 and path.length**2 <= path.energy * (1 + 1e-9)


def test_a_steady_turn_is_a_geodesic() -> None:
    """psi without a dependence on time or place turns the plane evenly: a Euler solution, at constant speed."""
    flow = gp(2)
    with torch.no_grad():
        flow.velocity.w.zero_()
        flow.velocity.o.zero_()
    path = map_path(flow, torch.randn(500, 2, dtype=DTYPE))
    assert path.evenness == pytest.approx(1.0, abs=1e-6)
    norms = path.points.norm(dim=-1)
    torch.testing.assert_close(norms, norms[0].expand_as(norms), rtol=1e-5, atol=0)


def test_the_law_of_the_data_is_kept_at_every_time() -> None:
    flow, s = affine(2, 5), gp(2)
    x = flow.inverse(torch.randn(20_000, 2, dtype=DTYPE)).detach()
    path = law_preserving_path(flow, s, x)
    assert (path[-1] - x).norm(dim=1).mean() > 0.1
    for points in path[:: len(path) // 3]:
        torch.testing.assert_close(points.mean(0), x.mean(0), rtol=0, atol=0.05)
        torch.testing.assert_close(_spread(points), _spread(x), rtol=0.05, atol=0.05)
    with pytest.raises(BadInput, match="fitted to this flow"):
        law_preserving_path(affine(3, 0), s, x)


def _spread(x: Tensor) -> Tensor:
    return torch.cov(x.T)
