"""The Monge map s o f: its log-determinant, its likelihood, its inverse, its samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from gpot.errors import BadConfig, BadInput, FlowRefused, GpotWarning, InverseNotAvailable
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.monge import MongeMap
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from gpot.maths.transport import exact_log_det, gaussian_log_density

DTYPE = torch.float64


class CubicFlow(nn.Module):
    """z = y + y^3 / 10 with y = x A^T: a known log-determinant; its inverse by Newton's method, if it has one."""

    def __init__(self, dim: int = 3, invertible: bool = True) -> None:
        super().__init__()
        self.dim = dim
        self.invertible = invertible
        self.matrix = nn.Parameter(0.3 * torch.randn(dim, dim, dtype=DTYPE) + torch.eye(dim, dtype=DTYPE))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x @ self.matrix.T
        log_det = torch.linalg.slogdet(self.matrix).logabsdet + (1.0 + 0.3 * y**2).log().sum(1)
        return y + 0.1 * y**3, log_det

    def inverse(self, z: Tensor) -> Tensor:
        if not self.invertible:
            raise InverseNotAvailable("this flow has no inverse")
        y = z
        for _ in range(30):
            y = y - (y + 0.1 * y**3 - z) / (1.0 + 0.3 * y**2)
        return torch.linalg.solve(self.matrix, y.T).T


class TransformingFlow(CubicFlow):
    """Has a shorter way to z."""

    built = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert not self.built, "the log-determinant is not needed"
        return super().forward(x)

    def transform(self, x: Tensor) -> Tensor:
        return CubicFlow.forward(self, x)[0]


def make_gp(dim: int = 3, n_steps: int = 20) -> GaussianPreservingFlow:
    velocity = RidgeVelocity(dim, 8).double()
    with torch.no_grad():
        for parameter in velocity.parameters():
            parameter.copy_(0.6 * torch.randn_like(parameter))
    rotation = torch.linalg.qr(torch.randn(dim, dim, dtype=DTYPE)).Q
    return GaussianPreservingFlow(velocity, Chart.direct, n_steps, rotation=rotation)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(12, 3, dtype=DTYPE)


def test_forward_is_the_composition_and_its_log_det_that_of_autograd(x: Tensor) -> None:
    flow, gp = CubicFlow(), make_gp()
    monge = MongeMap(flow, gp)
    z, log_det = flow(x)
    s, total = monge(x)
    assert (s - z).norm(dim=1).mean() > 0.3
    torch.testing.assert_close(s, gp.transport(z))
    torch.testing.assert_close(monge.transport(x), s)
    exact = exact_log_det(lambda rows: monge(rows)[0], x)
    # what the analytic log-determinant misses is the error of the discretized s, and nothing else
    torch.testing.assert_close(total.detach() + gp.log_det_error(z.detach()), exact, rtol=1e-10, atol=1e-10)
    assert gp.log_det_error(z.detach()).abs().max() < 1e-3
    assert total.shape == (12,) and (total - log_det).abs().max() > 0.1


def test_density_is_that_of_f(x: Tensor) -> None:
    flow = CubicFlow()
    monge = MongeMap(flow, make_gp())
    likelihoods = [gaussian_log_density(z) + log_det for z, log_det in (flow(x), monge(x))]
    torch.testing.assert_close(likelihoods[1], likelihoods[0], rtol=1e-12, atol=1e-12)


def test_inverse(x: Tensor) -> None:
    monge = MongeMap(CubicFlow(), make_gp(n_steps=10))
    s = monge.transport(x)
    assert 1e-6 < (monge.inverse(s) - x).abs().max() < 0.1
    torch.testing.assert_close(monge.inverse(s, refine=8), x, rtol=0.0, atol=1e-9)


def test_a_flow_without_inverse_says_so(x: Tensor) -> None:
    monge = MongeMap(CubicFlow(invertible=False), make_gp())
    with pytest.raises(InverseNotAvailable):
        monge.inverse(x)
    with pytest.raises(InverseNotAvailable):
        monge.sample(3)


def test_samples_follow_the_density_of_f() -> None:
    flow, gp = CubicFlow(), make_gp()
    monge = MongeMap(flow, gp)
    draws = [monge.sample(4000, torch.Generator().manual_seed(1)) for _ in range(2)]
    assert torch.equal(*draws) and draws[0].shape == (4000, 3) and draws[0].dtype == DTYPE
    assert not draws[0].requires_grad
    z = flow(draws[0])[0].detach()
    assert z.mean(0).abs().max() < 5.0 / 4000**0.5
    assert (torch.cov(z.T) - torch.eye(3, dtype=DTYPE)).abs().max() < 5.0 * (2.0 / 4000) ** 0.5


def test_transport_takes_the_shorter_way(x: Tensor) -> None:
    flow = TransformingFlow()
    gp = make_gp()
    monge = MongeMap(flow, gp)
    flow.built = True
    torch.testing.assert_close(monge.transport(x), gp.transport(flow.transform(x)))


def test_dimensions_must_agree() -> None:
    with pytest.raises(BadConfig, match="f has the dimension 2, and s has 3"):
        MongeMap(CubicFlow(2), make_gp(3))


def test_points_of_another_dtype_are_refused_by_the_inverse_too(x: Tensor) -> None:
    monge = MongeMap(CubicFlow(), make_gp())
    with pytest.raises(BadInput, match=r"type z\.to\(torch\.float64\)"):
        monge.inverse(x.float())
    assert monge.inverse(x.numpy()).dtype == DTYPE  # type: ignore[arg-type]


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "module._orig_mod."])
def test_the_state_of_a_wrapped_map_is_that_of_the_map(x: Tensor, wrapper: str) -> None:
    made = MongeMap(CubicFlow(), make_gp())
    for part in ("flow", "gp", None):
        fresh = MongeMap(CubicFlow(), make_gp())
        assert not torch.equal(fresh.transport(x), made.transport(x))
        saved = (made if part is None else made.get_submodule(part)).state_dict()
        (fresh if part is None else fresh.get_submodule(part)).load_state_dict(
            {wrapper + name: tensor for name, tensor in saved.items()}
        )
        compared = (fresh, made) if part is None else (fresh.get_submodule(part), made.get_submodule(part))
        assert torch.equal(compared[0](x)[0], compared[1](x)[0])


class NarrowFlow(CubicFlow):
    """Its image leaves out the codes whose first coordinate is beyond `edge`."""

    onto = False
    edge = 0.0

    def inverse(self, z: Tensor) -> Tensor:
        return super().inverse(z).where(z[:, :1] < self.edge, torch.nan)


def test_samples_without_a_preimage_are_counted_and_never_returned() -> None:
    flow = NarrowFlow()
    monge = MongeMap(flow, make_gp())
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(FlowRefused, match=r"2000 samples were asked for, and \d+ Gaussian draws \(\d\d%\) have no x"):
        monge.sample(2000, generator)
    flow.edge = 2.8  # beyond which lies 0.3 % of a normal law
    with pytest.warns(GpotWarning, match=r"\d+ of 2000 draws lay outside the image of f and were drawn again"):
        x = monge.sample(2000, generator)
    assert len(x) == 2000 and x.isfinite().all()
