"""FFJORD against released weights, automatic differentiation and its own inverse."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import shared_path
from third_party.ffjord import FFJORD
from third_party.ffjord.model import _estimate_formula, _estimate_written, grid
from third_party.ffjord.network import Snapshot

HIDDEN = [(7,), (8, 6), (7, 5, 6), (6, 5, 4, 5)]


def random_flow(dim: int = 3, hidden: tuple[int, ...] = (8, 6), n_blocks: int = 2, **solver: object) -> FFJORD:
    """Random large weights, float64."""
    flow = FFJORD(dim, hidden, n_blocks, **({"solver": "rk4", "n_steps": 8} | solver)).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.copy_(torch.randn_like(p) * (1.0 if p.ndim == 1 else 1.5 * p.shape[1] ** -0.5))
    return flow


def snapshot(flow: FFJORD, t: float) -> Snapshot:
    return flow.chain[0].odefunc.diffeq.at(torch.tensor([t], dtype=torch.float64))[0]


def jacobian_of(fn: Callable[[Tensor], Tensor], y: Tensor) -> Tensor:
    """Of a map of rows, (n, d) -> (n, d), by d backward passes; itself differentiable."""
    y = y.detach().requires_grad_()
    out = fn(y)
    rows = [torch.autograd.grad(out[:, i].sum(), y, create_graph=True)[0] for i in range(out.shape[1])]
    return torch.stack(rows, 1)


def released() -> tuple[FFJORD, dict[str, Tensor]]:
    weights = load_file(shared_path("reference/weights/gpflow_dsprites_ffjord.safetensors"))
    flow = FFJORD(10).double().requires_grad_(False)
    flow.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
    return flow, load_file(shared_path("reference/golden/dsprites_ffjord.safetensors"))


def test_parameter_counts_are_the_papers() -> None:
    """Tables 3 and 4."""
    assert sum(p.numel() for p in FFJORD(10).parameters()) == 17_784
    assert sum(p.numel() for p in FFJORD(10, (128, 128, 128), 1).parameters()) == 36_904


def test_released_right_hand_side_and_divergence() -> None:
    flow, golden = released()
    for b in range(3):
        for j in range(3):
            net = flow.chain[b].odefunc.diffeq.at(golden["ode_t"][j : j + 1])[0]
            velocity, slopes = net.velocity(golden["ode_y"])
            torch.testing.assert_close(velocity, golden["ode_dy"][b, j], rtol=0, atol=1e-10)
            torch.testing.assert_close(net.trace(slopes), golden["ode_div"][b, j], rtol=0, atol=1e-10)


def test_released_flow_solved_tightly() -> None:
    """The reference columns come from tolerances 1e-11."""
    flow, golden = released()
    flow.atol = flow.rtol = 1e-11
    z, log_det = flow(golden["x"])
    torch.testing.assert_close(z, golden["z"], rtol=0, atol=1e-8)
    torch.testing.assert_close(log_det, golden["logdet"], rtol=0, atol=1e-8)
    torch.testing.assert_close(flow.inverse(golden["z_in"]), golden["x_from_z_in"], rtol=0, atol=1e-8)


def test_released_flow_block_by_block_on_a_fine_grid() -> None:
    """Each CNF in turn; 100 steps are within 5e-7 by the order of the method (64 steps: 4e-6, fourth order)."""
    flow, golden = released()
    flow.solver, flow.n_steps = "rk4", 100
    state = golden["x"][:16], torch.zeros(16, dtype=torch.float64)
    for k, cnf in enumerate(flow.chain):
        one = FFJORD(10, n_blocks=1, solver="rk4", n_steps=100).double()
        one.chain[0].load_state_dict(cnf.state_dict())
        z, log_det = one(state[0])
        state = z, state[1] + log_det
        torch.testing.assert_close(state[0], golden["block_z"][k, :16], rtol=0, atol=2e-6)
        torch.testing.assert_close(state[1], golden["block_logdet_cumulative"][k, :16], rtol=0, atol=1e-5)


def test_released_flow_at_its_own_tolerance() -> None:
    """Forward: the same step control, so the same steps. Inverse: other steps, within the tolerance's real error."""
    flow, golden = released()
    z, log_det = flow(golden["x"])
    torch.testing.assert_close(z, golden["z_tol1e-5"], rtol=0, atol=1e-10)
    torch.testing.assert_close(log_det, golden["logdet_tol1e-5"], rtol=0, atol=1e-10)
    torch.testing.assert_close(flow.inverse(golden["z_in"]), golden["x_from_z_in_tol1e-5"], rtol=0, atol=4e-3)


def test_snapshot_is_the_concat_squash_network() -> None:
    """(A y + a) sigmoid(g t + g0) + h t with tanh between, written out."""
    flow, t, y = random_flow(), 0.37, torch.randn(5, 3, dtype=torch.float64)
    h = y
    for k, layer in enumerate(flow.chain[0].odefunc.diffeq.layers):
        gate = torch.sigmoid(layer._hyper_gate.weight[:, 0] * t + layer._hyper_gate.bias)
        h = (torch.tanh(h) if k else h) @ layer._layer.weight.T + layer._layer.bias
        h = h * gate + layer._hyper_bias.weight[:, 0] * t
    torch.testing.assert_close(snapshot(flow, t).velocity(y)[0], h, rtol=0, atol=1e-13)
    torch.testing.assert_close(flow.chain[0].odefunc.diffeq(t, y), h, rtol=0, atol=1e-13)


@pytest.mark.parametrize("hidden", HIDDEN)
@pytest.mark.parametrize("dim", [1, 4])
def test_closed_form_divergences_equal_autograd(hidden: tuple[int, ...], dim: int) -> None:
    net = snapshot(random_flow(dim, hidden), 0.6)
    y, e = torch.randn(2, 5, dim, dtype=torch.float64)
    slopes = net.velocity(y)[1]
    jacobian = jacobian_of(lambda p: net.velocity(p)[0], y)
    torch.testing.assert_close(net.trace(slopes), jacobian.diagonal(dim1=1, dim2=2).sum(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(net.tangent(slopes, e), (jacobian @ e[:, :, None])[:, :, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_gradient_of_the_exact_trace_equals_autograd(hidden: tuple[int, ...]) -> None:
    """In the parameters, against a trace made by differentiating twice."""
    flow, y = random_flow(3, hidden), torch.randn(4, 3, dtype=torch.float64)
    parameters = list(flow.chain[0].odefunc.diffeq.parameters())
    net = snapshot(flow, 0.3)
    closed = net.trace(net.velocity(y)[1])
    twice = jacobian_of(lambda p: net.velocity(p)[0], y).diagonal(dim1=1, dim2=2).sum(1)
    weights = torch.randn(4, dtype=torch.float64)
    options = {"retain_graph": True, "allow_unused": True, "materialize_grads": True}
    ours, theirs = (torch.autograd.grad(values @ weights, parameters, **options) for values in (closed, twice))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("hidden", HIDDEN)
def test_written_gradients_of_the_estimate_equal_autograd(hidden: tuple[int, ...]) -> None:
    """First derivatives in y and the layers, and second ones, which are those of the plain formula."""
    net, e = snapshot(random_flow(3, hidden).requires_grad_(False), 0.6), torch.randn(5, 3, dtype=torch.float64)
    y = torch.randn(5, 3, dtype=torch.float64)
    layers = [part for layer in zip(net.weights, net.biases, strict=True) for part in layer]
    inputs = [tensor.detach().requires_grad_() for tensor in (y, *layers)]
    weights = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    found = []
    for rate in (_estimate_written, _estimate_formula):
        velocity, estimate = rate(inputs[0], e, *inputs[1:])
        loss = (velocity * weights[0]).sum() + (estimate.square() * weights[1]).sum()
        first = torch.autograd.grad(loss, inputs, retain_graph=True)
        again = torch.autograd.grad(loss, inputs, create_graph=True)
        second = torch.autograd.grad(
            sum(g.square().sum() for g in again), inputs, allow_unused=True, materialize_grads=True
        )
        found.append([velocity, estimate, *first, *again, *second])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-11)


def test_log_det_equals_autograd_of_the_solved_map() -> None:
    """By backward and by forward mode, which users of a frozen flow need. Solver's error: below (1/40)^4 = 4e-7."""
    flow, x = random_flow(n_steps=40).requires_grad_(False), torch.randn(4, 3, dtype=torch.float64)
    z, log_det = flow(x)
    jacobian = jacobian_of(flow.transform, x)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=0, atol=1e-6)
    torch.testing.assert_close(flow.transform(x), z, rtol=0, atol=1e-12)
    e = torch.randn_like(x)
    _, tangent = torch.func.jvp(flow.transform, (x,), (e,))
    torch.testing.assert_close(tangent, (jacobian @ e[:, :, None])[:, :, 0], rtol=0, atol=1e-11)


def test_rk4_has_order_four() -> None:
    """Halving the step divides the error by 2^4, in z, the log-determinant and the inverse."""
    flow, x = random_flow().requires_grad_(False), torch.randn(6, 3, dtype=torch.float64)

    def results(n: int) -> list[Tensor]:
        flow.n_steps = n
        return [*flow(x), *flow(x, phase=0.3), flow.inverse(x)]

    exact, coarse, fine = results(320), results(20), results(40)
    for reference, a, b in zip(exact, coarse, fine, strict=True):
        ratio = (a - reference).abs().max() / (b - reference).abs().max()
        assert 3.5 < torch.log2(ratio) < 4.5


@pytest.mark.parametrize("solver", [{"n_steps": 100}, {"solver": "dopri5", "atol": 1e-8, "rtol": 1e-8}])
def test_inverse_returns(solver: dict[str, object]) -> None:
    flow, x = random_flow(**solver).requires_grad_(False), torch.randn(6, 3, dtype=torch.float64)
    z, _ = flow(x)
    assert (z - x).abs().max() > 0.5
    torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=1e-6)


def test_a_shifted_grid_has_no_favourite_times() -> None:
    """The mean over phases of the midpoint rule is the integral of what the fixed grid takes for a constant."""

    def midpoint(ends: Tensor) -> Tensor:
        return (ends.diff() * (16 * torch.pi * (ends[1:] + ends[:-1]) / 2).cos()).sum()

    assert (midpoint(grid(0.0, 1.0, 8)) + 1).abs() < 1e-12, "cos(16 pi t) is -1 at all its eight midpoints"
    phases = [(k + 0.5) / 400 for k in range(400)]
    assert torch.stack([midpoint(grid(0.0, 1.0, 8, phase)) for phase in phases]).mean().abs() < 0.1
    ends = grid(2.0, -1.0, 3, 0.25)
    torch.testing.assert_close(ends, torch.tensor([2.0, 1.75, 0.75, -0.25, -1.0], dtype=torch.float64))


def test_a_phase_belongs_to_the_grid_of_rk4() -> None:
    x = torch.randn(2, 3, dtype=torch.float64)
    with pytest.raises(ValueError, match="between 0 and 1, got 1"):
        random_flow(n_steps=2)(x, phase=1.0)
    with pytest.raises(ValueError, match="got solver 'dopri5'"):
        random_flow(solver="dopri5")(x, phase=0.5)


@pytest.mark.parametrize("divergence", ["hutchinson", "rademacher"])
def test_hutchinson_is_unbiased(divergence: str) -> None:
    """Its mean over probes is the exact log-determinant: within 4 standard errors, and the spread is not nil.

    The velocity sees no probe, so z is the same, and the estimate is a plain mean over independent probes.
    """
    flow, n = random_flow().requires_grad_(False), 20_000
    x = torch.randn(1, 3, dtype=torch.float64)
    z, exact = flow(x)
    draw = torch.Generator().manual_seed(1)
    z_many, estimates = flow(x.expand(n, 3), divergence=divergence, generator=draw)
    torch.testing.assert_close(z_many, z.expand(n, 3), rtol=0, atol=1e-12)
    error = estimates.std() / n**0.5
    assert error > 1e-3
    assert (estimates.mean() - exact).abs() < 4 * error


def test_hutchinson_with_unit_probes_sums_to_the_trace() -> None:
    """Exactly: sum_k e_k^T J e_k = tr J, probes given by hand."""
    flow, x = random_flow().requires_grad_(False), torch.randn(4, 3, dtype=torch.float64)
    units = torch.eye(3, dtype=torch.float64)
    parts = [flow(x, divergence="hutchinson", probes=unit.expand(2, 4, 3))[1] for unit in units]
    torch.testing.assert_close(sum(parts), flow(x)[1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("divergence", ["exact", "hutchinson"])
def test_adjoint_gradients_equal_those_through_the_steps(divergence: str) -> None:
    x, probes = torch.randn(5, 3, dtype=torch.float64), torch.randn(2, 5, 3, dtype=torch.float64)
    flow, gradients = random_flow(n_steps=60), []
    for solver in ("rk4", "dopri5"):
        flow.solver, flow.atol, flow.rtol = solver, 1e-8, 1e-8
        z, log_det = flow(x, divergence, probes)
        loss = (0.5 * z.square().sum(1) - log_det).mean()
        gradients.append(torch.autograd.grad(loss, list(flow.parameters())))
    for through, adjoint in zip(*gradients, strict=True):
        torch.testing.assert_close(adjoint, through, rtol=1e-5, atol=1e-6)


def test_evaluations_are_counted_outside_the_state_dict() -> None:
    flow = random_flow(n_steps=3)
    before = [value.clone() for value in flow.state_dict().values()]
    flow.transform(torch.randn(2, 3, dtype=torch.float64))
    assert all(torch.equal(a, b) for a, b in zip(before, flow.state_dict().values(), strict=True))
    assert [cnf.odefunc.evaluations for cnf in flow.chain] == [12, 12]


@pytest.mark.parametrize(
    "arguments",
    [{"solver": "rk4"}, {"solver": "rk4", "n_steps": 0}, {"solver": "euler"}, {"hidden": ()}, {"n_blocks": 0}],
)
def test_impossible_arguments_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="got"):
        FFJORD(3, **arguments)


def test_unknown_divergence_is_refused() -> None:
    with pytest.raises(ValueError, match="exact, hutchinson, rademacher"):
        random_flow()(torch.zeros(1, 3, dtype=torch.float64), divergence="trace")
