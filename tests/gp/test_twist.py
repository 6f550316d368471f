"""The twist flow: its law and log-determinant, its inverse, its start, its gradients, and what its state carries."""

from __future__ import annotations

import copy
import io
import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from gpot.errors import BadConfig, BadInput
from gpot.gp.twist import TwistFlow
from gpot.maths.costs import squared_euclidean
from gpot.maths.transport import jacobian

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps
DIMS = [3, 4, 5, 10, 33]
every_dim = pytest.mark.parametrize("dim", DIMS)


def make_flow(dim: int, n_layers: int = 3, width: int = 16, scale: float = 0.3, seed: int = 0) -> TwistFlow:
    """Random weights of every parameter. 0.3 with 16 units makes angles of about 1; 1.0 makes a wild map."""
    draws = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(dim, dim, dtype=DTYPE, generator=draws)).Q
    flow = TwistFlow(dim, n_layers, width).double()
    flow.set_rotation(rotation)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, dtype=DTYPE, generator=draws))
    return flow


# -- the law ---------------------------------------------------------------


@every_dim
def test_log_det_is_that_of_the_autograd_jacobian(dim: int) -> None:
    flow = make_flow(dim)
    z = torch.randn(4, dim, dtype=DTYPE)
    jac = torch.stack([torch.autograd.functional.jacobian(lambda row: flow.transport(row[None])[0], row) for row in z])
    assert (jac[0] - jac[1]).norm() > 0.3 * math.sqrt(dim)  # far from any linear map
    zero = torch.zeros(4, dtype=DTYPE)
    for log_det in (torch.linalg.slogdet(jac).logabsdet, flow.exact_log_det(z, chunk=3), flow.log_det_error(z)):
        torch.testing.assert_close(log_det, zero, rtol=0.0, atol=1e-12)
        assert not log_det.requires_grad
    assert torch.equal(flow(z)[1], zero)


@every_dim
def test_wild_weights_keep_the_law_where_the_whole_jacobian_cannot_show_it(dim: int) -> None:
    """12 layers, with condition numbers of the whole from 1e6 (d = 3) to beyond 1 / eps: each layer has |det| = 1."""
    flow = make_flow(dim, n_layers=12, scale=1.0)
    z = torch.randn(8, dim, dtype=DTYPE)
    with torch.no_grad():
        assert torch.linalg.cond(jacobian(flow.transport, z)).max() > 1e6
    assert flow.log_det_error(z).abs().max() < 1e-11


@every_dim
@torch.no_grad()
def test_the_norm_is_kept(dim: int) -> None:
    z = torch.randn(100, dim, dtype=DTYPE)
    for scale in (0.3, 3.0):
        s = make_flow(dim, n_layers=12, scale=scale).transport(z)
        assert (s - z).norm(dim=1).mean() > 0.5
        # 13 products with matrices that are orthogonal to eps times the norm of their generators
        rounding = 13 * EPS * (16.0 + 4.0 * scale * dim)
        torch.testing.assert_close(s.norm(dim=1), z.norm(dim=1), rtol=rounding, atol=0.0)


def test_log_det_error_sees_a_rotation_that_is_none() -> None:
    """Of a scaling by k: log|det| = d log k, and (|s|^2 - |z|^2) / 2 = (k^2 - 1) |z|^2 / 2."""
    flow = make_flow(4)
    flow.rotation = 1.1 * flow.rotation
    z = torch.randn(10, 4, dtype=DTYPE)
    expected = 4.0 * math.log(1.1) - 0.5 * (1.1**2 - 1.0) * (z**2).sum(1)
    torch.testing.assert_close(flow.log_det_error(z), expected, rtol=0.0, atol=1e-12)


def least_p_value(sample: Tensor) -> float:
    """Of Kolmogorov-Smirnov tests against N(0, I): coordinates and 10 projections, with Bonferroni."""
    directions = torch.nn.functional.normalize(torch.randn(10, sample.shape[1], dtype=DTYPE), dim=1)
    lines = torch.cat((sample, sample @ directions.T), 1).T
    return min(stats.kstest(line.numpy(), "norm").pvalue for line in lines) * len(lines)


@pytest.mark.parametrize("dim", [3, 4, 5, 10])
@torch.no_grad()
def test_pushed_samples_are_gaussian(dim: int) -> None:
    z = torch.randn(5000, dim, dtype=DTYPE)
    s = make_flow(dim).transport(z)
    assert least_p_value(s) > 0.01
    eye = torch.eye(dim, dtype=DTYPE)
    assert s.mean(0).abs().max() < 5.0 / math.sqrt(len(z))
    assert (torch.cov(s.T) - eye).abs().max() < 5.0 * math.sqrt(2.0 / len(z))
    squares = torch.cov((s**2).T) - 2.0 * eye  # of independent squares: 2 I; the variance of (z^2 - 1)^2 is 56
    assert squares.abs().max() < 5.0 * math.sqrt(56.0 / len(z))
    # the same twist of other samples is seen: s keeps this law and no other
    assert least_p_value(make_flow(dim).transport(z * torch.linspace(0.5, 1.5, dim, dtype=DTYPE))) < 1e-6


# -- inverse ---------------------------------------------------------------


@every_dim
@torch.no_grad()
def test_inverse_is_exact(dim: int) -> None:
    flow = make_flow(dim)
    z = torch.randn(50, dim, dtype=DTYPE)
    s = flow.transport(z)
    torch.testing.assert_close(flow.inverse(s), z, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(flow.transport(flow.inverse(z)), z, rtol=0.0, atol=1e-12)
    assert torch.equal(flow.inverse(s, refine=3), flow.inverse(s))


@torch.no_grad()
def test_inverse_of_a_wild_flow_is_exact_to_its_condition() -> None:
    flow = make_flow(5, scale=1.0)
    z = torch.randn(50, 5, dtype=DTYPE)
    gap = (flow.inverse(flow.transport(z)) - z).norm(dim=1)
    condition = torch.linalg.cond(jacobian(flow.transport, z))
    assert condition.max() > 1e3
    assert (gap / (EPS * condition)).max() < 100.0


# -- the start and the gradients ---------------------------------------------------------------


@every_dim
def test_a_fresh_flow_is_its_rotation(dim: int) -> None:
    rotation = torch.linalg.qr(torch.randn(dim, dim, dtype=DTYPE)).Q
    z = torch.randn(20, dim, dtype=DTYPE)
    flow = TwistFlow(dim, width=8).double()
    rounding = 13 * 4 * dim * EPS
    torch.testing.assert_close(flow.transport(z), z, rtol=0.0, atol=rounding)
    flow.set_rotation(rotation)
    torch.testing.assert_close(flow.transport(z), z @ rotation.T, rtol=0.0, atol=rounding)
    torch.testing.assert_close(flow.inverse(z), z @ rotation, rtol=0.0, atol=rounding)
    frames = flow.frames - flow.frames.mT
    eigenvalues = torch.linalg.eigvalsh(1j * frames)
    assert eigenvalues.abs().amax(1).min() > 0.3  # no frame is near I: a layer mixes what the one before kept


@pytest.mark.parametrize("dim", [3, 4, 5])
def test_gradients_of_parameters_and_points(dim: int) -> None:
    flow = make_flow(dim, n_layers=2, width=3, scale=0.6)
    names = [name for name, _ in flow.named_parameters()]

    def image(z: Tensor, *parameters: Tensor) -> Tensor:
        return torch.func.functional_call(flow, dict(zip(names, parameters, strict=True)), z)[0]

    inputs = (torch.randn(2, dim, dtype=DTYPE, requires_grad=True), *flow.parameters())
    assert torch.autograd.gradcheck(image, inputs)
    flow.transport(inputs[0]).pow(3).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0.0 for p in flow.parameters())
    assert flow.rotation.grad is None


def test_a_planted_map_is_learnt() -> None:
    """x = s_true(z): the cost falls well below that of the best rotation, on points that were not trained on."""
    truth = make_flow(4, n_layers=1, scale=0.2, seed=5)
    truth.set_rotation(torch.eye(4))
    flow = TwistFlow(4, n_layers=4, width=32).double()
    held_out = torch.randn(1000, 4, dtype=DTYPE)
    with torch.no_grad():
        target = truth.transport(held_out)
        start = squared_euclidean(target, flow.transport(held_out)).mean().item()
    optimizer = torch.optim.Adam(flow.parameters(), 2e-2)
    for _ in range(120):
        z = torch.randn(128, 4, dtype=DTYPE)
        optimizer.zero_grad()
        squared_euclidean(truth.transport(z).detach(), flow.transport(z)).mean().backward()
        optimizer.step()
    with torch.no_grad():
        end = squared_euclidean(target, flow.transport(held_out)).mean().item()
    assert start > 0.5 and end < start / 50.0
    assert flow.log_det_error(held_out[:50]).abs().max() < 1e-12


# -- state ---------------------------------------------------------------


@pytest.mark.parametrize("dim", [3, 4])
@torch.no_grad()
def test_state_dict_carries_the_whole_map(dim: int) -> None:
    flow = make_flow(dim)
    z = torch.randn(10, dim, dtype=DTYPE)
    other = make_flow(dim, seed=8)
    assert not torch.equal(other.transport(z), flow.transport(z))
    other.load_state_dict(flow.state_dict())
    assert torch.equal(other.transport(z), flow.transport(z))
    stored = io.BytesIO()
    torch.save(flow, stored)
    stored.seek(0)
    for twin in (copy.deepcopy(flow), torch.load(stored, weights_only=False)):
        assert torch.equal(twin.transport(z), flow.transport(z))


def test_a_state_dict_with_no_rotation_is_refused() -> None:
    state = make_flow(4).state_dict()
    state["rotation"] = 1.1 * state["rotation"]
    with pytest.raises(BadInput, match="must be orthogonal"):
        make_flow(4).load_state_dict(state)


@torch.no_grad()
def test_float32_and_the_log_det_that_a_guard_of_the_law_reads() -> None:
    flow = make_flow(10, n_layers=12)
    single = copy.deepcopy(flow).float()
    z = torch.randn(50, 10)
    s, log_det = single(z)
    assert s.dtype == log_det.dtype == torch.float32
    torch.testing.assert_close(s.double(), flow.transport(z.double()), rtol=0.0, atol=1e-2)
    torch.testing.assert_close(s.norm(dim=1), z.norm(dim=1), rtol=13 * 20 * torch.finfo(torch.float32).eps, atol=0.0)
    assert single.log_det_error(z).abs().mean() < 1e-4


@torch.no_grad()
def test_escaped_counts_what_is_not_finite() -> None:
    z = torch.randn(5, 4, dtype=DTYPE)
    flow = make_flow(4)
    assert flow.escaped(z) == 0
    z[1, 0], z[3, 2] = math.nan, math.inf
    assert flow.escaped(z) == 2
    flow.frames[0, 0, 1] = math.nan
    assert flow.escaped(z) == 5


def test_bad_arguments_are_refused() -> None:
    for dim in (1, 2):
        with pytest.raises(BadConfig, match=f"needs dim >= 3, and got dim={dim}; take a ridge field"):
            TwistFlow(dim)
    with pytest.raises(BadConfig, match="n_layers=0, width=64; try"):
        TwistFlow(4, n_layers=0)
    with pytest.raises(BadConfig, match="n_layers=12, width=0"):
        TwistFlow(4, width=0)
    with pytest.raises(BadConfig, match=r"\(3, 3\), and got \(2, 2\)"):
        TwistFlow(3, rotation=torch.eye(2))
    with pytest.raises(BadInput, match="orthogonal"):
        TwistFlow(3, rotation=2.0 * torch.eye(3))
    flow = TwistFlow(4)
    for attempt in (flow, flow.transport, flow.inverse, flow.exact_log_det, flow.log_det_error, flow.escaped):
        for shape in ((5, 3), (4,)):
            with pytest.raises(BadInput, match=r"shape \(n, 4\), and got"):
                attempt(torch.randn(shape))
