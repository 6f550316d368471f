"""CP-Flow against released weights, quadrature, automatic differentiation and its own inverse."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.conftest import shared_path
from third_party.cpflow import (
    ACTIVATIONS,
    ACTNORMS,
    ICNN,
    ActNorm,
    ConvexBlock,
    CPFlow,
    InverseFailed,
    invert_gradient,
)
from third_party.cpflow.log_det import (
    conjugate_gradient,
    exact_log_det,
    gradient_surrogate,
    lanczos_log_det,
    stochastic_log_det,
)

EPS = torch.finfo(torch.float64).eps


def large(module: torch.nn.Module) -> torch.nn.Module:
    """Random large weights, float64; of the positive matrices and scales the raw values. w1 makes the network count."""
    module = module.double()
    with torch.no_grad():
        for name, p in module.named_parameters():
            p.copy_(torch.randn_like(p) * (1.5 if p.ndim == 2 else 0.7))
            if name.endswith("w1"):
                p.fill_(15.0)
    return module


def flow(dim: int = 2, n_blocks: int = 1, **arguments: object) -> CPFlow:
    return large(CPFlow(dim, **({"width": 8, "depth": 3} | arguments), n_blocks=n_blocks))


def points(n: int = 6, dim: int = 2) -> Tensor:
    return torch.randn(n, dim, dtype=torch.float64)


def jacobian_of(fn: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Of a map of rows, (n, d) -> (n, d'), by backward passes; itself differentiable."""
    x = x.detach().requires_grad_()
    out = fn(x)
    rows = [torch.autograd.grad(out[:, i].sum(), x, create_graph=True)[0] for i in range(out.shape[1])]
    return torch.stack(rows, 1)


def positive_definite(n: int, dim: int) -> Tensor:
    """Eigenvalues in [0.3, 3]: condition 10."""
    q = torch.linalg.qr(torch.randn(n, dim, dim, dtype=torch.float64))[0]
    return q @ torch.diag_embed(0.3 * 10 ** torch.rand(n, dim, dtype=torch.float64)) @ q.mT


# ---------------------------------------------------------------------------------------------------------- released


def test_released_model() -> None:
    """The potential, map and log-determinant to rounding; the inverse to the released one's own error, 5e-7."""
    golden = load_file(shared_path("reference/golden/cpflow_block1_depth3.safetensors"))
    model = CPFlow(2, actnorm="before").double().requires_grad_(False)
    model.load_state_dict({name: value for name, value in golden.items() if name.startswith("flows.")})
    z, log_det = model(golden["x"])
    torch.testing.assert_close(z, golden["z"], rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det, golden["logdet"], rtol=0, atol=1e-12)
    torch.testing.assert_close(model.flows[1].potential(golden["x"]), golden["potential_at_x"][0], rtol=0, atol=1e-12)
    inverse = model.inverse(golden["z"], tolerance=1e-12)
    torch.testing.assert_close(inverse, golden["x"], rtol=0, atol=1e-10)
    torch.testing.assert_close(inverse, golden["x_inverse"], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("arguments", "total", "trainable"),
    [((2, 32, 3, 5), 7_254, 7_244), ((10, 128, 10, 1), 89_698, 89_697), ((2, 32, 20, 1), 12_602, 12_601)],
)
def test_parameter_counts_are_the_released_ones(arguments: tuple[int, ...], total: int, trainable: int) -> None:
    model = CPFlow(*arguments)
    assert sum(p.numel() for p in model.parameters()) == total
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable


# ------------------------------------------------------------------------------------------------------- activations


def test_gaussian_softplus_is_the_mean_of_a_noisy_ramp() -> None:
    """E max(u + N(0,1), 0), by the trapezoid rule, less its value at 0. The integrand's kink costs h^2/8 at most."""
    u = torch.linspace(-4, 4, 9, dtype=torch.float64)
    h = 2e-4
    noise = torch.arange(-9, 9, h, dtype=torch.float64)
    weight = h * torch.exp(-0.5 * noise**2) / math.sqrt(2 * math.pi)
    mean = ((u[:, None] + noise).clamp(min=0) * weight).sum(1)
    value = ACTIVATIONS["gaussian_softplus"](u)[0]
    torch.testing.assert_close(value, mean - 1 / math.sqrt(2 * math.pi), rtol=0, atol=h**2)


def test_softplus_is_the_logarithm() -> None:
    u = torch.linspace(-30, 30, 61, dtype=torch.float64)
    expected = torch.logaddexp(u, torch.zeros_like(u)) - math.log(2)
    torch.testing.assert_close(ACTIVATIONS["softplus"](u)[0], expected, rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_convex_increasing_and_zero_at_zero(name: str) -> None:
    """Slopes in [0, 1], so those of the symmetrized one in [-1/2, 1/2]; derivatives are those of autograd."""
    curve = ACTIVATIONS[name]
    u = torch.linspace(-12, 12, 241, dtype=torch.float64, requires_grad=True)
    value, slope, second = curve(u)
    by_value = torch.autograd.grad(value.sum(), u, create_graph=True)[0]
    by_slope = torch.autograd.grad(slope.sum(), u)[0]
    torch.testing.assert_close(slope, by_value, rtol=0, atol=1e-14)
    torch.testing.assert_close(second, by_slope, rtol=0, atol=1e-14)
    assert (second >= 0).all() and second.max() > 0.2
    assert (slope >= 0).all() and (slope <= 1).all()
    assert curve(torch.zeros((), dtype=torch.float64))[0].abs() < EPS
    symmetric = value - 0.5 * u
    torch.testing.assert_close(symmetric, symmetric.flip(0), rtol=0, atol=1e-13)


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(ValueError, match="gaussian_softplus, softplus, got 'relu'"):
        CPFlow(2, activation="relu")
    with pytest.raises(ValueError, match="around, before, got 'after'"):
        CPFlow(2, actnorm="after")
    with pytest.raises(ValueError, match="exact, conjugate_gradient, got 'lanczos'"):
        flow()(points(), log_det="lanczos")


@pytest.mark.parametrize("arguments", [{"width": 7}, {"width": 0}, {"depth": 0}, {"n_blocks": 0}, {"dim": 0}])
def test_impossible_sizes_are_refused(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        CPFlow(**({"dim": 2} | arguments))


# --------------------------------------------------------------------------------------------------- network and block


def network_as_written(icnn: ICNN, x: Tensor) -> Tensor:
    """Section 3.2 of the facts, layer by layer, in the released parameters."""
    sigma = ACTIVATIONS[icnn.activation]
    symmetric = lambda u: sigma(u)[0] - u / 2  # noqa: E731
    z = symmetric(icnn.Wzs[0](x))
    for k, norm in enumerate(icnn.actnorms):
        layer = icnn.Wzs[k + 1]
        a = z @ torch.log1p(layer.weight.exp()).T
        a = (a if layer.bias is None else a + layer.bias) / layer.weight.shape[1] + icnn.Wxs[k](x)
        a = (a + norm.b[0, :, 0]) * (norm.logs[0, :, 0].exp() + 0.001)
        if k + 1 < len(icnn.actnorms):
            z = torch.cat([sigma(a)[0], symmetric(icnn.Wx2s[k](x))], 1)
    return a[:, 0]


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("dim", "width", "depth"), [(1, 2, 1), (2, 8, 1), (3, 6, 2), (5, 8, 4)])
def test_closed_forms_equal_automatic_differentiation(activation: str, dim: int, width: int, depth: int) -> None:
    """Value, gradient, Hessian and product of a network, and the gradients of the Hessian in the parameters."""
    icnn, x, v = large(ICNN(dim, width, depth, activation)), points(5, dim), points(5, dim)
    torch.testing.assert_close(icnn(x), network_as_written(icnn, x), rtol=1e-12, atol=1e-12)
    gradient = lambda y: jacobian_of(lambda u: network_as_written(icnn, u)[:, None], y)[:, 0]  # noqa: E731
    hessian = jacobian_of(lambda y: torch.autograd.grad(icnn(y).sum(), y, create_graph=True)[0], x)
    expansion = icnn.expand(x)
    torch.testing.assert_close(expansion.gradient, gradient(x), rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(expansion.hessian(), hessian, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(expansion.product(v), (hessian @ v[:, :, None])[:, :, 0], rtol=1e-11, atol=1e-11)
    parameters, mix = [p for p in icnn.parameters() if p.requires_grad], torch.randn_like(hessian)
    options = {"allow_unused": True, "materialize_grads": True, "retain_graph": True}
    twice = torch.autograd.grad((hessian * mix).sum(), parameters, **options)
    closed = torch.autograd.grad((expansion.hessian() * mix).sum(), parameters, **options)
    for a, b in zip(closed, twice, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", [2, 3, 5])
def test_jacobian_is_symmetric_and_at_least_the_quadratic_term(dim: int) -> None:
    """Of the map around its ActNorm, by automatic differentiation: eigenvalues at least softplus(w0) min D^2 > 0."""
    model, x = flow(dim), points(20, dim)
    jacobian = jacobian_of(model.transform, x)
    size = jacobian.abs().amax()
    torch.testing.assert_close(jacobian, jacobian.mT, rtol=0, atol=1e3 * EPS * size.item())
    floor = torch.nn.functional.softplus(model.flows[1].w0) * model.flows[0].affine(x.dtype)[1].min() ** 2
    assert torch.linalg.eigvalsh(jacobian).min() > floor * (1 - 1e-9)
    assert size > 3 * floor


def test_jacobian_with_the_actnorm_before_is_not_symmetric() -> None:
    """Hess G D: the released form is no gradient map, unless D is a multiple of the identity."""
    model, x = flow(actnorm="before"), points(20)
    asymmetry = lambda: (lambda j: (j - j.mT).abs().max())(jacobian_of(model.transform, x))  # noqa: E731
    assert asymmetry() > 1e-2
    with torch.no_grad():
        model.flows[0].logs.fill_(0.3)
    assert asymmetry() < 1e-12


# ------------------------------------------------------------------------------------------------------------ the flow


@pytest.mark.parametrize("actnorm", ACTNORMS)
@pytest.mark.parametrize(("dim", "n_blocks"), [(1, 1), (2, 1), (3, 3), (5, 1)])
def test_log_det_equals_automatic_differentiation(actnorm: str, dim: int, n_blocks: int) -> None:
    """By backward and by forward mode, and without a graph."""
    model, x = flow(dim, n_blocks, actnorm=actnorm), points(6, dim)
    z, log_det = model(x)
    jacobian = jacobian_of(model.transform, x)
    torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobian)[1], rtol=0, atol=1e-9)
    torch.testing.assert_close(model.transform(x), z, rtol=1e-13, atol=1e-13)
    v = points(6, dim)
    tangent = torch.func.jvp(model.transform, (x,), (v,))[1]
    torch.testing.assert_close(tangent, (jacobian @ v[:, :, None])[:, :, 0], rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        again = model(x)
    assert torch.equal(again[0], z) and torch.equal(again[1], log_det)


@pytest.mark.parametrize("n_blocks", [1, 2])
def test_estimated_log_det_has_the_exact_mean_and_gradient(n_blocks: int) -> None:
    """Over all 2^d signs of each block the estimates have mean log det exactly, and so has their gradient."""
    model, x = flow(2, n_blocks), points(3)
    signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0], dtype=torch.float64)] * (2 * n_blocks))
    probes = [row.reshape(n_blocks, 1, 2).expand(n_blocks, 3, 2) for row in signs]
    exact = model(x)[1]
    estimates = [model(x, log_det="conjugate_gradient", probes=p)[1] for p in probes]
    assert torch.stack(estimates).std(0).min() > 1e-4
    torch.testing.assert_close(sum(estimates) / len(probes), exact, rtol=1e-9, atol=1e-9)
    parameters = [p for p in model.parameters() if p.requires_grad]
    mix = torch.randn(3, dtype=torch.float64)
    options = {"allow_unused": True, "materialize_grads": True}
    ours = torch.autograd.grad(sum(estimates) @ mix / len(probes), parameters, **options)
    theirs = torch.autograd.grad(exact @ mix, parameters, **options)
    largest = max(g.abs().max() for g in theirs)
    for a, b in zip(ours, theirs, strict=True):
        # the tolerance of conjugate gradients is 1e-3 in |H u - v|, 0 after d steps but for rounding
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3 * largest.item())


def test_probes_are_signs_of_the_generator() -> None:
    model, x = flow(3), points(4, 3)
    draws = [model(x, "conjugate_gradient", generator=torch.Generator().manual_seed(k))[1] for k in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("actnorm", ACTNORMS)
def test_initialize_gives_every_actnorm_mean_zero_and_deviation_one(actnorm: str) -> None:
    model = CPFlow(2, 8, 3, 2, actnorm=actnorm).double()
    x = points(200) * torch.tensor([3.0, 0.02], dtype=torch.float64) + 5.0
    seen: list[tuple[ActNorm, Tensor, float]] = []
    original = ActNorm.initialize

    def recorded(norm: ActNorm, u: Tensor, power: float = 1.0) -> None:
        original(norm, u, power)
        seen.append((norm, u, power))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ActNorm, "initialize", recorded)
        model.initialize(x)
    assert len(seen) == 3 + 2 * 3
    for norm, u, power in seen:
        b, scale = norm.affine(u.dtype)
        out = (u + b) * scale ** (1 / power)
        torch.testing.assert_close(out.mean(0), torch.zeros_like(b), rtol=0, atol=1e-11)
        torch.testing.assert_close(out.std(0, correction=0), torch.ones_like(b), rtol=0, atol=1e-11)


def test_initialized_network_gives_units_of_deviation_one() -> None:
    icnn, x = ICNN(2, 8, 4, "gaussian_softplus").double(), points(100)
    icnn.initialize(x)
    for chain in icnn._units(x)[1]:
        torch.testing.assert_close(chain.std(0, correction=0), torch.ones_like(chain[0]), rtol=0, atol=1e-11)
        torch.testing.assert_close(chain.mean(0), torch.zeros_like(chain[0]), rtol=0, atol=1e-11)


def test_constant_or_huge_columns_are_refused() -> None:
    x = points(10)
    for broken in (torch.ones_like(x), x * torch.tensor([1.0, 1e8], dtype=torch.float64), x * torch.nan):
        with pytest.raises(ValueError, match="standardize"):
            CPFlow(2).double().initialize(broken)


def test_a_state_dict_is_all_there_is() -> None:
    """No flag is left out: loaded weights give the same map without initialization."""
    first, second, x = CPFlow(2).double(), CPFlow(2).double(), points(50)
    first.initialize(x)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.transform(x), second.transform(x))
    assert not torch.equal(first.transform(x), CPFlow(2).double().transform(x))


# ------------------------------------------------------------------------------------------------------------- inverse


@pytest.mark.parametrize("actnorm", ACTNORMS)
@pytest.mark.parametrize(("dim", "n_blocks"), [(1, 1), (2, 1), (2, 3), (5, 1)])
def test_inverse_round_trip(actnorm: str, dim: int, n_blocks: int) -> None:
    model, x = flow(dim, n_blocks, actnorm=actnorm), 2 * points(30, dim)
    with torch.no_grad():
        z = model.transform(x)
        assert (z - x).abs().max() > 0.5
        torch.testing.assert_close(model.inverse(z, tolerance=1e-11), x, rtol=0, atol=1e-8)
        y = model.inverse(3 * points(30, dim), tolerance=1e-11)  # points that no x was chosen for
        assert y.isfinite().all()


def test_inverse_of_a_float32_flow_is_limited_by_rounding_alone() -> None:
    """One unit of rounding of x is stretched by |Jacobian|; the forward map adds its own rounding."""
    model = flow().float()
    x = points(50).float()
    with torch.no_grad():
        z = model.transform(x)
        again = model.inverse(z, tolerance=1e-6)
        assert again.dtype == torch.float32
        size = model.flows[1].derivatives(x)[1].norm(dim=(1, 2)).max() * model.flows[0].affine(x.dtype)[1].max() ** 2
        assert (model.transform(again) - z).abs().max() < 100 * torch.finfo(torch.float32).eps * (1 + size)


def test_newton_inverts_a_stiff_gradient_from_far_away() -> None:
    """Slope 1e-3 outside a band of width 1e-2 in which it is 100: full steps overshoot, halved ones arrive."""

    def derivatives(x: Tensor) -> tuple[Tensor, Tensor]:
        t = torch.tanh(100 * x)
        return t + 1e-3 * x, torch.diag_embed(100 * (1 - t**2) + 1e-3)

    x = torch.tensor([[0.003, -0.02], [4.0, 0.5], [-0.01, -30.0]], dtype=torch.float64)
    solution = invert_gradient(derivatives, derivatives(x)[0], torch.full_like(x, 0.05), tolerance=1e-13)
    torch.testing.assert_close(solution.x, x, rtol=1e-9, atol=1e-9)
    assert solution.residual.shape == (3,) and solution.residual.max() <= 1e-13


def test_failures_of_the_inverse_are_counted() -> None:
    model, z = flow().requires_grad_(False), 3 * points(10)
    z[3] = torch.nan
    with pytest.raises(InverseFailed, match=r"10 points .* 1 of them"):
        model.inverse(z)
    with pytest.raises(InverseFailed, match=r"9 points .* after 1 Newton steps"):
        model.inverse(torch.cat([z[:3], z[4:]]), tolerance=1e-14, max_steps=1)


# ---------------------------------------------------------------------------------------------------- log-determinants


def test_exact_log_det_marks_what_is_not_positive() -> None:
    matrices = torch.diag_embed(torch.tensor([[2.0, 3.0], [2.0, -3.0], [0.0, 1.0]], dtype=torch.float64))
    result = exact_log_det(matrices)
    assert abs(result[0] - math.log(6)) < 1e-15 and result[1].isnan() and result[2] == -math.inf


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_conjugate_gradient_solves(dim: int) -> None:
    """Exact after d steps, rows that are solved at the start among them; each row stops at its tolerance."""
    h, v = positive_definite(7, dim), points(7, dim)
    v[0] = 0.0
    product = lambda u: (h @ u[:, :, None])[:, :, 0]  # noqa: E731
    u = conjugate_gradient(product, v, tolerance=0.0)
    torch.testing.assert_close(product(u), v, rtol=0, atol=1e-10)
    assert u[0].abs().max() == 0
    rough = conjugate_gradient(product, v, tolerance=0.1)
    assert ((product(rough) - v).norm(dim=1) <= 0.1).all()


def test_surrogate_gradient_summed_over_an_orthogonal_basis_is_exact() -> None:
    """sum_i e_i^T (dH) H^-1 e_i = tr H^-1 dH; its value is d, not log det."""
    h = positive_definite(6, 5).requires_grad_()
    basis = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    product = lambda v: (h @ v[:, :, None])[:, :, 0]  # noqa: E731
    parts = [gradient_surrogate(product, row.expand(6, 5), max_steps=15, tolerance=1e-14) for row in basis]
    ours = torch.autograd.grad(sum(parts).sum(), h)[0]
    theirs = torch.autograd.grad(exact_log_det(h).sum(), h)[0]
    torch.testing.assert_close(0.5 * (ours + ours.mT), theirs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(sum(parts), torch.full_like(parts[0], 5.0), rtol=0, atol=1e-10)


@pytest.mark.parametrize("dim", [1, 2, 6])
def test_lanczos_is_exact_with_d_steps_for_each_probe(dim: int) -> None:
    """v^T (log H) v for any v, and log det when summed over an orthogonal basis."""
    h = positive_definite(6, dim)
    product = lambda v: (h @ v[:, :, None])[:, :, 0]  # noqa: E731
    values, vectors = torch.linalg.eigh(h)
    log_h = vectors @ torch.diag_embed(values.log()) @ vectors.mT
    v = points(6, dim)
    torch.testing.assert_close(lanczos_log_det(product, v), torch.einsum("ni,nij,nj->n", v, log_h, v))
    basis = torch.linalg.qr(torch.randn(dim, dim, dtype=torch.float64))[0]
    total = sum(lanczos_log_det(product, row.expand(6, dim)) for row in basis)
    torch.testing.assert_close(total, torch.logdet(h), rtol=0, atol=1e-10)


def test_lanczos_survives_a_krylov_space_that_ends_early() -> None:
    """Multiples of the identity, eigenvectors as probes, repeated eigenvalues."""
    diagonal = torch.tensor([[3.0] * 4, [2.0, 2.0, 5.0, 5.0], [1.0, 2.0, 3.0, 4.0]], dtype=torch.float64)
    product = lambda v: diagonal * v  # noqa: E731
    ones = torch.ones(3, 4, dtype=torch.float64)
    torch.testing.assert_close(lanczos_log_det(product, ones), diagonal.log().sum(1), rtol=0, atol=1e-12)
    unit = torch.eye(4, dtype=torch.float64)[2].expand(3, 4)
    torch.testing.assert_close(lanczos_log_det(product, unit), diagonal[:, 2].log(), rtol=0, atol=1e-12)


def test_fewer_lanczos_steps_converge() -> None:
    """Gauss quadrature: the error falls by ((sqrt(10) - 1) / (sqrt(10) + 1))^2 = 0.27 per step at condition 10."""
    h, v = positive_definite(5, 12), points(5, 12)
    product = lambda u: (h @ u[:, :, None])[:, :, 0]  # noqa: E731
    exact = lanczos_log_det(product, v)
    errors = [((lanczos_log_det(product, v, m) - exact).abs() / v.square().sum(1)).max() for m in (2, 5, 8)]
    assert errors[0] > 1e-4
    assert errors[1] < errors[0] / 5 and errors[2] < errors[1] / 5


def test_stochastic_log_det_without_gradients_is_the_lanczos_value() -> None:
    h, v = positive_definite(4, 3), points(4, 3)
    product = lambda u: (h @ u[:, :, None])[:, :, 0]  # noqa: E731
    with torch.no_grad():
        assert torch.equal(stochastic_log_det(product, v), lanczos_log_det(product, v))


def test_block_products_and_derivatives_agree() -> None:
    block, y, v = large(ConvexBlock(ICNN(3, 8, 3, "softplus"), True)), points(5, 3), points(5, 3)
    gradient, hessian = block.derivatives(y)
    torch.testing.assert_close(gradient, block(y), rtol=0, atol=0)
    by_potential = jacobian_of(lambda u: block.potential(u)[:, None], y)[:, 0]
    torch.testing.assert_close(gradient, by_potential, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(hessian, jacobian_of(block, y), rtol=1e-11, atol=1e-11)
    value = block.with_log_det(y, v)[1]
    logs = torch.linalg.eigh(hessian)
    log_h = logs[1] @ torch.diag_embed(logs[0].log()) @ logs[1].mT
    torch.testing.assert_close(value, torch.einsum("ni,nij,nj->n", v, log_h, v), rtol=1e-9, atol=1e-9)
