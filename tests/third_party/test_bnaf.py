"""BNAF against released weights, automatic differentiation and its own inverse."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from scipy import stats
from torch import Tensor

from tests.conftest import shared_path
from third_party.bnaf import BNAF, Block, MaskedLinear
from third_party.bnaf.inverse import find_roots, invert_block

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps
WEIGHTS = "reference/weights/gpflow_moons_bnaf.safetensors"
ARCHITECTURES = [(2, 12, 2, 1), (2, 8, 1, 1), (3, 12, 3, 1), (5, 20, 2, 1), (2, 12, 2, 3), (3, 9, 2, 3), (5, 20, 1, 3)]
every_architecture = pytest.mark.parametrize("arguments", ARCHITECTURES, ids=str)


def random_flow(dim: int, width: int, n_layers: int, n_blocks: int = 1) -> BNAF:
    """Random large weights, float64: rows of norm about 1.5, blocks whose entries differ by e^5."""
    flow = BNAF(dim, width, n_layers, n_blocks).double()
    with torch.no_grad():
        for name, p in flow.named_parameters():
            p.copy_(0.4 + 0.3 * torch.randn_like(p) if name.endswith("_diag_weight") else torch.randn_like(p))
            for layer in (m for m in flow.modules() if isinstance(m, MaskedLinear)):
                layer._weight.mul_(layer.mask_d + layer.mask_o)
    return flow


def jacobian(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """(n, d, d), by d backward passes."""
    x = x.detach().requires_grad_()
    y = fn(x)
    return torch.stack([torch.autograd.grad(y[:, i].sum(), x, retain_graph=True)[0] for i in range(y.shape[1])], 1)


def released(dtype: torch.dtype = DTYPE) -> tuple[BNAF, dict[str, Tensor]]:
    flow = BNAF(2, 32, 3).to(dtype).requires_grad_(False)
    flow.load_state_dict(load_file(shared_path(WEIGHTS)))
    return flow, load_file(shared_path("reference/golden/moons_bnaf.safetensors"))


# -- shape and start ---------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "count"), [((2, 32, 3), 2_372), ((2, 120, 2), 15_364), ((10, 60, 3, 3), 26_342)])
def test_parameter_counts(arguments: tuple[int, ...], count: int) -> None:
    """The released checkpoints, the 15.4K of Table 3, and the default of the released code for latents."""
    assert sum(p.numel() for p in BNAF(*arguments).parameters()) == count


def test_state_dict_is_that_of_the_released_models() -> None:
    ours, theirs = BNAF(2, 32, 3).state_dict(), load_file(shared_path(WEIGHTS))
    assert {name: value.shape for name, value in ours.items()} == {name: v.shape for name, v in theirs.items()}
    for name, value in ours.items():
        assert "mask" not in name or torch.equal(value, theirs[name])


def test_blocks_but_the_last_are_gated_and_flipped() -> None:
    names = set(BNAF(4, 8, 1, 3).state_dict())
    parts = ("_weight", "_diag_weight", "bias", "mask_d", "mask_o")
    assert names == {f"flow.{b}.{k}.{p}" for b in (0, 2, 4) for k in (0, 2) for p in parts} | {
        "flow.0.gate",
        "flow.2.gate",
    }
    flow = BNAF(2, 4, 1, 2).double()
    with torch.no_grad():
        flow.flow[0].gate.fill_(-800.0)  # the gated block is then the identity
        x = torch.randn(5, 2, dtype=DTYPE)
        torch.testing.assert_close(flow.transform(x), flow.flow[2].transform(x.flip(1).T).T, rtol=0, atol=8 * EPS)


def test_start() -> None:
    """Xavier-uniform per row block, gains log U(0, 1), biases uniform within 1/sqrt(out)."""
    layer = MaskedLinear(3, 60, 90)
    for i in range(3):
        seen, unseen = layer._weight[30 * i : 30 * (i + 1)].detach().split([20 * (i + 1), 20 * (2 - i)], dim=1)
        bound = math.sqrt(6 / (30 + 20 * (i + 1)))
        assert seen.abs().max() <= bound and unseen.abs().sum() == 0
        assert stats.kstest(seen.flatten().numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-4
    bound = 90**-0.5
    assert layer.bias.abs().max() <= bound and layer._diag_weight.max() <= 0
    assert stats.kstest(layer.bias.detach().numpy(), "uniform", (-bound, 2 * bound)).pvalue > 1e-4
    assert stats.kstest(layer._diag_weight.detach().exp().flatten().numpy(), "uniform").pvalue > 1e-4
    gates = torch.cat([BNAF(1, 1, 1, 41).flow[2 * k].gate.detach() for k in range(40)])
    assert stats.kstest(gates.numpy(), "norm").pvalue > 1e-4


@pytest.mark.parametrize("wrong", [(0, 8, 1), (2, 0, 1), (2, 8, 0), (2, 8, 1, 0)])
def test_impossible_shapes_are_refused(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="BNAF needs"):
        BNAF(*wrong)
    with pytest.raises(ValueError, match=r"width=32\. Try width=33"):
        BNAF(3, 32, 2)


# -- the map ---------------------------------------------------------------


def test_released_weights_and_values() -> None:
    flow, golden = released()
    for k, layer in enumerate(flow.flow[0].layers()):
        torch.testing.assert_close(layer.matrix(), golden[f"layer{k}.effective_weight"], rtol=0, atol=1e-13)
        torch.testing.assert_close(layer.log_blocks().mT, golden[f"layer{k}.log_diag_blocks"], rtol=0, atol=1e-13)
    z, log_det = flow(golden["x"])
    torch.testing.assert_close(z, golden["z"], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det, golden["logdet"], rtol=0, atol=1e-12)
    torch.testing.assert_close(flow.transform(golden["x"]), golden["z"], rtol=0, atol=1e-12)
    torch.testing.assert_close(jacobian(flow.transform, golden["x"]), golden["jacobian"], rtol=1e-11, atol=1e-12)


def test_released_values_in_single_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """By products alone, the fast form."""
    flow, golden = released(torch.float32)
    monkeypatch.delattr(Block, "log_slope")
    x = golden["x"].float()
    z, log_det = flow(x)
    assert z.dtype == log_det.dtype == torch.float32
    for found, name in ((z, "z"), (flow.transform(x), "z"), (log_det, "logdet")):
        torch.testing.assert_close(found, golden[name].float(), rtol=0, atol=1e-5)
        torch.testing.assert_close(found, golden[f"{name}_float32"], rtol=0, atol=1e-5)


@every_architecture
def test_log_det_is_slogdet_of_the_autograd_jacobian(arguments: tuple[int, ...]) -> None:
    flow, x = random_flow(*arguments), torch.randn(20, arguments[0], dtype=DTYPE)
    z, log_det = flow(x)
    jac = jacobian(flow.transform, x)
    sign, expected = torch.linalg.slogdet(jac)
    flips = (arguments[3] - 1) * (arguments[0] // 2)  # transpositions: of a chain the map alone may reverse orientation
    assert log_det.shape == (20,) and (sign == (-1) ** flips).all()
    # the first term is that of the elimination in slogdet
    tolerance = 4 * EPS * torch.linalg.cond(jac).max().item() + 1e-12
    assert tolerance < 1e-7
    torch.testing.assert_close(log_det, expected, rtol=0, atol=tolerance)
    torch.testing.assert_close(flow.transform(x), z, rtol=0, atol=1e-13)


def chain_rule(block: Block, x: Tensor) -> Tensor:
    """Jacobian (n, d, d) of a block without gate, with 1 / cosh^2 u for the slopes: precise also where they are small,
    which the automatic differentiation of a sigmoid is not."""
    first, *others = block.layers()
    u = x @ first.matrix().T + first.bias
    jac = first.matrix().expand(len(x), -1, -1)
    for layer in others:
        jac = layer.matrix() @ (jac / torch.cosh(u)[..., None] ** 2)
        u = torch.tanh(u) @ layer.matrix().T + layer.bias
    return jac


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_one_block_is_triangular_and_increasing(dim: int) -> None:
    flow, x = random_flow(dim, 4 * dim, 2), 2 * torch.randn(50, dim, dtype=DTYPE)
    jac = chain_rule(flow.flow[0], x)
    torch.testing.assert_close(jac, jacobian(flow.transform, x), rtol=0, atol=1e-12)
    assert (jac.triu(1) == 0).all() and (jac.diagonal(dim1=1, dim2=2) > 0).all() and (jac.tril(-1) != 0).any()
    torch.testing.assert_close(flow(x)[1], jac.diagonal(dim1=1, dim2=2).log().sum(1), rtol=0, atol=1e-12)


@every_architecture
def test_both_forms_of_the_log_det_agree(arguments: tuple[int, ...]) -> None:
    """Products, and logsumexp: values and gradients."""
    block, x = random_flow(*arguments).flow[0], torch.randn(arguments[0], 20, dtype=DTYPE)
    fast, exact = block(x)[1], block.log_slope(x)
    torch.testing.assert_close(fast, exact, rtol=0, atol=1e-12)
    learned = [p for name, p in block.named_parameters() if not name.startswith(f"{len(block) - 1}.bias")]
    for a, b in zip(*(torch.autograd.grad(form.sum(), learned) for form in (fast, exact)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("gate", [None, 0.5, -200.0])
def test_the_log_det_does_not_underflow(gate: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far out the derivative is below 1e-38 in single precision, and its logarithm is as good as elsewhere."""
    block = random_flow(2, 12, 2, 2).flow[0 if gate is not None else 2].float()
    if gate is not None:
        block.gate.data.fill_(gate)
    x = torch.tensor([[0.3, 400.0, -0.2, -3e4], [0.1, -900.0, 0.4, 2e3]])
    done_again: list[Tensor] = []
    plain = Block.log_slope
    monkeypatch.setattr(Block, "log_slope", lambda self, x: done_again.append(x) or plain(self, x))
    found = block(x)[1]
    assert len(done_again) == (1 if gate is None else 0)  # with a gate open to x the slope cannot fall below 1 - s
    assert gate is not None or torch.equal(done_again[0], x[:, [1, 3]])
    expected = plain(block.double(), x.double())
    assert gate is not None or expected.min() < -1000
    torch.testing.assert_close(found, expected.float(), rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad(found.sum(), [p for p in block.float().parameters()], allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in gradients)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_log_det_on_the_way_to_underflow(dtype: torch.dtype) -> None:
    """Past the smallest normal number a product loses its digits before it is 0. Three saturated layers together."""
    block, x = random_flow(2, 12, 3).flow[0].requires_grad_(False), 0.1 * torch.randn(2, 5, dtype=dtype)
    smallest, seen = math.log(torch.finfo(dtype).tiny), []
    for level in torch.linspace(-smallest / 12, -smallest / 4, 120).tolist():
        for layer in block.layers()[:-1]:
            layer.bias.fill_(level)
        expected = block.double().log_slope(x.double())
        # the rounding of a saturated u is a relative error of its slope, in each of three layers
        torch.testing.assert_close(block.to(dtype)(x)[1], expected.to(dtype), rtol=16 * torch.finfo(dtype).eps, atol=0)
        seen.append(expected.min() - smallest)
    assert min(seen) < -20.0 and max(seen) > 20.0 and any(-15.0 < s < -5.0 for s in seen)


def test_the_log_det_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    block, x = random_flow(2, 12, 2).flow[0], torch.randn(2, 20, dtype=DTYPE)
    whole = block.log_slope(x)
    monkeypatch.setattr("third_party.bnaf.model._PIECE", 3 * 2 * 6 * 6)
    torch.testing.assert_close(block.log_slope(x), whole, rtol=0, atol=1e-13)


def test_forward_mode_and_training_gradients() -> None:
    flow, x = random_flow(2, 12, 2), torch.randn(5, 2, dtype=DTYPE)
    direction = torch.randn_like(x)
    product = torch.func.jvp(flow, (x,), (direction,))[1][0]
    expected = (jacobian(flow.transform, x) @ direction[..., None]).squeeze(2)
    torch.testing.assert_close(product, expected, rtol=1e-11, atol=1e-12)
    assert torch.autograd.gradcheck(lambda y: flow(y), x.requires_grad_())


# -- the inverse ---------------------------------------------------------------


@pytest.mark.parametrize("arguments", [a for a in ARCHITECTURES if a[0] < 5], ids=str)
def test_inverse_round_trip(arguments: tuple[int, ...]) -> None:
    """Residual within the tolerance times the slopes, error within that times those of the inverse; a chain amplifies
    the tolerance of its later blocks, for which there is a factor of 100."""
    tolerance = 1e-9
    flow, x = random_flow(*arguments), torch.randn(100, arguments[0], dtype=DTYPE)
    with torch.no_grad():
        z = flow.transform(x)
    found = flow.invert(z, tolerance=tolerance)
    assert found.converged.all() and found.iterations < 50
    jac = jacobian(flow.transform, x)
    forward, backward = (torch.linalg.matrix_norm(m, ord=math.inf) for m in (jac, torch.linalg.inv(jac)))
    size = x.abs().amax(1).clamp(min=1) * (1 if arguments[3] == 1 else 100)
    assert (found.residual <= tolerance * forward * size).all()
    assert ((found.x - x).abs().amax(1) <= 1.1 * backward * (found.residual + 1e-13)).all()
    torch.testing.assert_close((flow.transform(found.x) - z).abs().amax(1), found.residual, rtol=0, atol=0)


def test_released_image_and_inverse() -> None:
    """Its limits are known: z_1 in (-4.145, 4.224)."""
    flow, golden = released()
    ends = flow.transform(torch.tensor([[-1e9, 0.0], [1e9, 0.0]], dtype=DTYPE))[:, 0]
    torch.testing.assert_close(ends, torch.tensor([-4.145, 4.224], dtype=DTYPE), rtol=0, atol=1e-3)
    found = flow.invert(golden["z"], tolerance=1e-10)
    assert found.converged.all()
    slopes = torch.linalg.matrix_norm(torch.linalg.inv(golden["jacobian"]), ord=math.inf)
    assert ((found.x - golden["x"]).abs().amax(1) <= 1e-10 * (1 + slopes)).all()

    last_step = flow.invert(golden["z"], tolerance=1e-6)  # one more of Newton's: the error is that of its square
    assert (last_step.x - golden["x"]).abs().max() < 1e-7

    margin = torch.tensor([1e-6, -1e-6], dtype=DTYPE)
    for end, converged in ((ends + margin, True), (ends - margin, False)):
        found = flow.invert(torch.stack((end, 0 * end), 1))
        assert (found.converged == converged).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_points_outside_the_image_are_rows_of_nan(dtype: torch.dtype) -> None:
    flow = random_flow(3, 12, 2).to(dtype).requires_grad_(False)
    inside = flow.transform(torch.randn(4, 3, dtype=dtype))
    outside = inside.repeat(3, 1)
    for k in range(3):
        outside[4 * k : 4 * (k + 1), k] += torch.tensor([1e3, -1e3, torch.inf, torch.nan], dtype=dtype)
    found = flow.invert(torch.cat((outside, inside)))
    assert found.x.dtype == dtype and found.converged.tolist() == [False] * 12 + [True] * 4
    assert found.x[:12].isnan().all() and found.residual[:12].isnan().all()
    assert found.x[12:].isfinite().all() and (found.residual[12:] < 1e-4).all()
    assert flow.invert(outside).iterations < 50  # each row is given up before it is searched
    assert flow.invert(inside[:0]).x.shape == (0, 3)


def test_the_ends_of_the_image_are_sharp() -> None:
    """The supremum of z_1 is not attained, though in floating point far x come to it; it is known to rounding."""
    flow = random_flow(2, 8, 1).requires_grad_(False)
    far = flow.transform(torch.tensor([[1e9, 0.0], [-1e9, 0.0]], dtype=DTYPE))
    step = torch.tensor([[1e-12, 0.0], [-1e-12, 0.0]], dtype=DTYPE)
    assert not flow.invert(far + step).converged.any()
    assert invert_first(flow, far - step).isfinite().all()


def invert_first(flow: BNAF, z: Tensor) -> Tensor:
    """x_1 of z, (n,): the second coordinate is put in the middle of its interval, which x_1 moves."""
    ends = [flow.transform(torch.tensor([[x, y] for x in (30.0, -30.0)], dtype=DTYPE)) for y in (1e9, -1e9)]
    z = torch.stack((z[:, 0], (ends[0][:, 1] + ends[1][:, 1]) / 2), 1)
    return flow.invert(z).x[:, 0]


def test_gated_blocks_are_onto() -> None:
    block = random_flow(3, 12, 2, 2).flow[0].requires_grad_(False)
    y = 10 ** torch.linspace(-3, 6, 40, dtype=DTYPE) * torch.randn(3, 40, dtype=DTYPE)
    for gate in (-3.0, 0.0, 5.0):
        block.gate.fill_(gate)
        x, iterations = invert_block(block, y, 1e-12, 100)
        assert x.isfinite().all() and iterations < 100
        rest = torch.sigmoid(torch.tensor(-gate, dtype=DTYPE)).item()
        # the slope is at least 1 - s; the tolerance is relative to |x|, which is at most about |y| / (1 - s)
        torch.testing.assert_close(block.transform(x), y, rtol=1e-11 / rest, atol=1e-11 / rest)


def test_inverse_increases_in_each_coordinate() -> None:
    flow = random_flow(3, 12, 2).requires_grad_(False)
    base = flow.transform(torch.zeros(1, 3, dtype=DTYPE))
    for k in range(3):
        z = base.repeat(200, 1)
        z[:, k] = torch.linspace(-0.3, 0.3, 200, dtype=DTYPE) + base[0, k]
        found = flow.invert(z, tolerance=1e-12)
        assert found.converged.sum() > 50
        x = found.x[found.converged]
        assert (x[1:, k] > x[:-1, k]).all()
        torch.testing.assert_close(x[1:, :k], x[:-1, :k], rtol=0, atol=2e-12)


def test_inverse_in_single_precision() -> None:
    """Below the tolerance that the type can hold, the bracket ends at a few floating-point numbers."""
    flow = random_flow(2, 12, 2).float().requires_grad_(False)
    x = torch.randn(200, 2)
    for tolerance in (1e-4, 1e-6, 1e-12):
        found = flow.invert(flow.transform(x), tolerance=tolerance)
        assert found.converged.all() and found.x.dtype == torch.float32
        slopes = jacobian(flow.transform, x).abs().sum(2).amax(1)
        rounding = 100 * torch.finfo(torch.float32).eps
        assert (found.residual <= max(tolerance, rounding) * slopes * x.abs().amax(1).clamp(min=1) + rounding).all()


def test_iterations_that_run_out_give_nan() -> None:
    flow = random_flow(2, 12, 2).requires_grad_(False)
    z = flow.transform(torch.randn(50, 2, dtype=DTYPE))
    found = flow.invert(z, tolerance=1e-12, max_iterations=2)
    assert found.iterations == 2 and not found.converged.any() and found.x.isnan().all()
    for wrong in ({"tolerance": 0.0}, {"tolerance": math.nan}, {"max_iterations": 0}):
        with pytest.raises(ValueError, match="invert needs"):
            flow.invert(z, **wrong)


HARD: dict[str, Callable[[Tensor], Tensor]] = {
    "step": lambda u: torch.tanh(1e5 * (u - 0.3)),
    "flat": lambda u: (u - 2.0) ** 9,
    "steep": lambda u: u.sign() * u.abs() ** (1 / 9),
    "stairs": lambda u: sum(torch.tanh(50 * (u - k)) for k in range(-3, 4)),
    "slow": lambda u: torch.atan(u / 1e6),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("reach", [10.0, 1e12])
def test_root_finding_is_bounded_and_within_its_tolerance(name: str, reach: float) -> None:
    """Where Newton's method alone diverges or crawls; each pair of evaluations halves something."""
    roots = torch.tensor([-2.5, -1e-3, 0.0, 0.3, 0.30001, 1.7, 2.0], dtype=DTYPE)
    y = HARD[name](roots)
    keep = y.abs() < 0.99 if name == "step" else torch.ones_like(y, dtype=torch.bool)  # its ends fix no root
    roots, y = roots[keep], y[keep]

    def function(u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        u = u.detach().requires_grad_()
        with torch.enable_grad():
            value = HARD[name](u)
            return value.detach(), torch.autograd.grad(value.sum(), u)[0]

    ends = torch.full_like(y, reach)
    x, iterations = find_roots(function, y, -ends, ends, 1e-9, 200)
    halvings = math.log2(2 * (math.asinh(reach) if reach > 10 else reach) / 1e-9)
    assert iterations <= 2 * halvings + 10
    gap = (HARD[name](x) - y).abs()
    lower, upper = (HARD[name](x + sign * 3e-9 * x.abs().clamp(min=1)) for sign in (-1, 1))
    assert (gap == 0).logical_or((lower <= y) & (y <= upper)).all()
