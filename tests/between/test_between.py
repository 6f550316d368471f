"""T = g^-1 o s o f: gradients of inverses, densities of both kept, and the known optimum between two Gaussians."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gpot import GaussianPreservingFlow, RidgeVelocity
from gpot.between import MongeBetween, measured, monge_between
from gpot.errors import BadConfig, BadInput, FidelityLost, InverseNotAvailable
from gpot.flows import FFJORDFlow, FrozenFlow
from gpot.flows.implicit import differentiable_inverse, implicit_inverse, orientation
from gpot.maths.charts import Chart
from gpot.maths.costs import Cost, Euclidean, Lp, Mahalanobis
from gpot.maths.transport import gelbrich, jacobian
from tests.between.flows import DTYPE, Affine, affine, bnaf, moments
from third_party.ffjord import FFJORD


def ffjord(seed: int = 0) -> FFJORDFlow:
    torch.manual_seed(seed)
    return FFJORDFlow(FFJORD(2, hidden=(8,), n_blocks=1, solver="rk4", n_steps=20).double())


def large_gp(dim: int, n_steps: int = 30) -> GaussianPreservingFlow:
    gp = GaussianPreservingFlow(RidgeVelocity(dim, 8), Chart.direct, n_steps).double()
    with torch.no_grad():
        for p in gp.parameters():
            p.copy_(0.5 * torch.randn_like(p))
    return gp


# -- the gradient of an inverse ----------------------------------------------


@pytest.mark.parametrize("flow", [affine(3, 0), ffjord()], ids=["affine", "ffjord"])
def test_the_implicit_gradient_is_that_of_the_flows_own_graph(flow: nn.Module) -> None:
    z = torch.randn(6, flow.dim, dtype=DTYPE, requires_grad=True)
    weights = torch.randn(6, flow.dim, dtype=DTYPE)
    own = flow.inverse(z)
    ours = implicit_inverse(FrozenFlow(flow), z)
    assert torch.equal(own, ours)
    gradients = [torch.autograd.grad((y * weights).sum(), z)[0] for y in (own, ours)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-5)


def test_the_gradient_of_a_root_finding() -> None:
    flow = FrozenFlow(bnaf())
    z = torch.randn(5, 2, dtype=DTYPE).requires_grad_()
    back = differentiable_inverse(flow, z)
    assert torch.equal(back(z), flow.inverse(z))
    assert torch.autograd.gradcheck(back, (z,), eps=1e-5, atol=1e-4)


def test_a_flow_with_a_graph_keeps_its_own() -> None:
    flow = affine(2, 0)
    assert differentiable_inverse(FrozenFlow(flow), torch.randn(3, 2, dtype=DTYPE)) == flow.inverse


def test_points_without_an_inverse_are_rows_of_nan_without_a_gradient() -> None:
    z = torch.tensor([[0.0, 0.0], [1e4, 0.0]], dtype=DTYPE, requires_grad=True)
    y = implicit_inverse(bnaf(), z)
    assert y[0].isfinite().all() and y[1].isnan().all()
    (gradient,) = torch.autograd.grad(y[0].sum(), z)
    assert gradient[0].abs().sum() > 0 and (gradient[1] == 0).all()


def test_orientation() -> None:
    x = torch.randn(10, 3, dtype=DTYPE)
    assert [orientation(affine(3, 0, det), x) for det in (1.0, -1.0)] == [1, -1]


# -- the map -----------------------------------------------------------------


@pytest.mark.parametrize("target", [ffjord(1), bnaf()], ids=["ffjord", "bnaf"])
def test_both_densities_are_kept_for_any_s(target: nn.Module) -> None:
    map_ = MongeBetween(ffjord(), target, large_gp(2))
    x, y = map_.sample(6, torch.Generator().manual_seed(0))
    again, log_det = map_(x)
    torch.testing.assert_close(again, y, rtol=0, atol=1e-4)  # FFJORD there and back, at 20 steps
    exact = torch.linalg.slogdet(
        jacobian(lambda rows: map_.gp.transport(map_.source.flow.transform(rows)), x)
    ).logabsdet
    exact = exact - torch.linalg.slogdet(jacobian(map_.target.flow.transform, again)).logabsdet
    torch.testing.assert_close(log_det, exact, rtol=0, atol=1e-4)
    kept = map_.source_log_density(x) - map_.target_log_density(again) - log_det
    torch.testing.assert_close(kept, torch.zeros_like(kept), rtol=0, atol=1e-4)
    torch.testing.assert_close(map_.inverse(again, refine=3), x, rtol=0, atol=1e-4)


def test_the_map_the_other_way_is_its_inverse() -> None:
    map_ = MongeBetween(affine(2, 1), bnaf(), large_gp(2))
    other = map_.reversed()
    x, y = map_.sample(6, torch.Generator().manual_seed(0))
    again, log_det = other(y)
    torch.testing.assert_close(again, x, rtol=0, atol=1e-6)
    torch.testing.assert_close(log_det, -map_(x)[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(other.inverse(x), y, rtol=0, atol=1e-6)
    z = other.source.transform(y)
    torch.testing.assert_close(other.gp.exact_log_det(z), other.gp(z)[1], rtol=0, atol=1e-4)
    assert other.reversed().gp is map_.gp
    report, back = measured(map_, 512), measured(other, 512)
    assert back.cost.mean == pytest.approx(report.cost.mean, abs=5 * (report.cost.stderr + back.cost.stderr))
    assert back.logdet_error.mean < 1e-3 and back.round_trip < 1e-6 and back.optimum <= back.cost.mean


def test_what_does_not_fit_together() -> None:
    with pytest.raises(BadConfig, match="one dimension, and they have 2, 3"):
        MongeBetween(affine(2, 0), affine(3, 0), large_gp(2))


# -- fits with a known optimum -----------------------------------------------


def short(source: nn.Module, target: nn.Module, cost: Cost | None = None, **options: object) -> MongeBetween:
    gp = GaussianPreservingFlow(RidgeVelocity(source.dim, 16), Chart.direct, 4).double()
    settings: dict[str, object] = {"n": 2000, "n_held_out": 512, "steps": 10, "lr": 1e-3}
    return monge_between(source, target, cost=cost, gp=gp, **(settings | options))  # type: ignore[arg-type]


@pytest.mark.parametrize("det", [1.0, -1.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_between_two_gaussians_the_map_is_that_of_bures(dim: int, det: float) -> None:
    source, target = affine(dim, 1), affine(dim, 2, det)
    map_ = short(source, target)
    x = source.inverse(torch.randn(20_000, dim, dtype=DTYPE)).detach()
    y = map_.transport(x)
    found, least = Euclidean()(x, y).mean().item(), gelbrich(*moments(source), *moments(target)).item()
    spread = Euclidean()(x, y).std().item() / len(x) ** 0.5
    assert found < least + 0.02 * least + 4 * spread
    assert found > least - 4 * spread
    assert map_.report is not None
    assert map_.report.gap.mean < 0.01 and map_.report.cost.mean < 1.01 * map_.report.cost_start
    assert map_.report.logdet_error.mean < 1e-3 and map_.report.round_trip < 1e-6 and map_.report.lost == 0
    # the Monge map's Jacobian is symmetric and positive, whatever the orientation of g
    both = torch.linalg.lstsq(torch.cat([x, torch.ones_like(x[:, :1])], 1), y).solution[:dim]
    assert (both - both.T).abs().max() < 0.15 * both.abs().max()
    assert torch.linalg.eigvalsh((both + both.T) / 2).min() > 0


def test_another_cost_has_another_map() -> None:
    source, target = affine(2, 1), affine(2, 2)
    metric = torch.diag(torch.tensor([9.0, 0.25], dtype=DTYPE))
    cost = Mahalanobis(metric)
    map_ = short(source, target, cost)
    root = metric.sqrt()
    (mean_a, cov_a), (mean_b, cov_b) = moments(source), moments(target)
    least = gelbrich(root @ mean_a, root @ cov_a @ root, root @ mean_b, root @ cov_b @ root).item()
    x = source.inverse(torch.randn(20_000, 2, dtype=DTYPE)).detach()
    y = map_.transport(x)
    spread = cost(x, y).std().item() / len(x) ** 0.5
    assert least - 4 * spread < cost(x, y).mean().item() < least * 1.02 + 4 * spread
    more = cost(x, short(source, target).transport(x)) - cost(x, y)
    assert more.mean() > 4 * more.std() / len(x) ** 0.5


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_descent_lowers_what_the_rotation_left(optimizer: str) -> None:
    map_ = short(affine(2, 1), bnaf(), Lp(4.0), steps=60, lr=1e-2, optimizer=optimizer)
    report = map_.report
    assert report is not None
    assert report.cost.mean < report.cost_rotation < report.cost_start
    assert report.optimum <= report.cost.mean
    assert "gap by exchange" in str(report)


def test_the_seed_decides() -> None:
    x = torch.randn(5, 2, dtype=DTYPE)
    first, again, other = (_plain(seed).transport(x.float()) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def _plain(seed: int) -> MongeBetween:
    return monge_between(affine(2, 1).float(), affine(2, 2).float(), n=600, n_held_out=512, steps=2, seed=seed)


def test_what_cannot_be_fitted() -> None:
    with pytest.raises(BadConfig, match="'adam', 'muon'"):
        short(affine(2, 1), affine(2, 2), optimizer="sgd")
    with pytest.raises(BadInput, match=r"shape \(100,\) here"):
        short(affine(2, 1), affine(2, 2), lambda x, y: (x - y) ** 2)
    with pytest.raises(FidelityLost, match="Raise max_steps"):
        short(affine(2, 1), affine(2, 2), tolerance=0.0, max_steps=4)

    class OneWay(Affine):
        def inverse(self, z: Tensor) -> Tensor:
            raise InverseNotAvailable("none")

    one_way = OneWay(*(p.detach() for p in affine(2, 2).parameters()))
    with pytest.raises(InverseNotAvailable):
        short(affine(2, 1), one_way)
    narrow = bnaf()
    with torch.no_grad():
        narrow.model.flow[-1].layers()[-1]._diag_weight.sub_(6.0)
    with pytest.raises(BadInput, match="points have no image"):
        short(affine(2, 1), narrow)
