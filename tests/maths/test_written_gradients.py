"""Gradients written by hand against differences and against the plain formulas; the size of what they allocate; and the
paper's formulas as printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
from gpot.maths.charts import Chart
from gpot.maths.divergence_free import antisymmetric_weights, mlp_field, ridge_field, sigmoid_layers
from gpot.maths.field_formulas import ridge_formula, stream_formula, tangent_formula
from gpot.maths.written_gradients import ridge_sum, stream_field, tangent_field
from tests.maths.dense_field import dense_field

Formula = Callable[..., Tensor]
N = 4
PLANE, SPACE = 3 * ((N, 2),), 3 * ((N, 3),)
WRITTEN: dict[str, tuple[Formula, Formula, tuple[tuple[int, ...], ...]]] = {
    "stream, one layer": (stream_field, stream_formula, (*PLANE, (3,), (), (3, 2), (3,))),
    "stream, times": (stream_field, stream_formula, (*PLANE, (5,), (), (3, 2), (N, 3), (4, 3), (4,), (5, 4), (5,))),
    "tangents, one layer, times": (tangent_field, tangent_formula, (*SPACE, (3, 15), (3, 3), (5, 3), (N, 5))),
    "tangents": (tangent_field, tangent_formula, (*SPACE, (3, 15), (3, 3), (2, 3), (2,), (4, 2), (4,), (5, 4), (5,))),
    "ridge": (ridge_sum, ridge_formula, (*SPACE, (4, 3), (4,), *(3 * ((8, 3),)))),
    "ridge, p for all, times": (ridge_sum, ridge_formula, ((N, 3), (1, 3), (N, 3), (4, 3), (N, 4), *(3 * ((8, 3),)))),
}


def variables(*shapes: tuple[int, ...]) -> tuple[Tensor, ...]:
    return tuple(torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes)


def network(dim: int, hidden: tuple[int, ...]) -> tuple[list[Tensor], list[Tensor]]:
    """Layers of a tanh network with d - 1 blocks and large weights."""
    widths = [dim + 1, *hidden, dim * (dim - 1)]
    shapes = list(zip(widths[1:], widths[:-1], strict=True))
    return (
        [torch.randn(shape, dtype=torch.float64) for shape in shapes],
        [torch.randn(out, dtype=torch.float64) for out, _ in shapes],
    )


@pytest.mark.parametrize("name", WRITTEN)
def test_reverse_derivatives(name: str) -> None:
    """In every input: the first against differences and the plain formula, the second against differences."""
    fast, plain, shapes = WRITTEN[name]
    inputs = variables(*shapes)
    assert gradcheck(fast, inputs, fast_mode=True)
    assert gradgradcheck(fast, inputs, fast_mode=True)
    torch.testing.assert_close(fast(*inputs), plain(*inputs), rtol=0.0, atol=1e-13)
    probe = torch.randn_like(inputs[0])
    found, expected = (torch.autograd.grad((f(*inputs) * probe).sum(), inputs) for f in (fast, plain))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", WRITTEN)
def test_forward_derivatives(name: str) -> None:
    """A forward-mode product and its reverse derivative, as Euler's penalty takes them: those of the plain formula."""
    fast, plain, shapes = WRITTEN[name]
    y, *rest = variables(*shapes)
    tangent = torch.randn_like(y)

    def product(f: Formula) -> Tensor:
        return torch.func.jvp(lambda x: f(x, *rest), (y,), (tangent,))[1]

    torch.testing.assert_close(product(fast), product(plain), rtol=0.0, atol=1e-13)
    found, expected = (torch.autograd.grad(product(f).square().sum(), (y, rest[-1])) for f in (fast, plain))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("name", WRITTEN)
@pytest.mark.parametrize("moving", [(0,), (1,), (0, 2), (0, 1, 2), (3,), (0, 4), None], ids=str)
def test_forward_derivatives_in_some_inputs(name: str, moving: tuple[int, ...] | None) -> None:
    """Also many at once, as a Jacobian takes them."""
    fast, plain, shapes = WRITTEN[name]
    inputs = [x.detach() for x in variables(*shapes)]
    moving = tuple(range(len(inputs))) if moving is None else moving
    at = tuple(inputs[k] for k in moving)
    tangents = tuple(torch.randn(5, *x.shape, dtype=x.dtype) for x in at)

    def products(f: Formula) -> Tensor:
        def of_moving(*values: Tensor) -> Tensor:
            return f(*(values[moving.index(k)] if k in moving else x for k, x in enumerate(inputs)))

        return torch.func.vmap(lambda *along: torch.func.jvp(of_moving, at, along)[1])(*tangents)

    torch.testing.assert_close(products(fast), products(plain), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("chart", list(Chart))
@pytest.mark.parametrize("velocity", [MLPVelocity(2, (5, 4)), MLPVelocity(4, (5, 4)), RidgeVelocity(3, 5)])
def test_batches_of_times_and_of_gradients(velocity: Velocity, chart: Chart) -> None:
    """`vmap` over times, and several gradients at once, equal one after the other."""
    velocity = velocity.double()
    with torch.no_grad():
        for parameter in velocity.parameters():
            parameter.normal_()
    y = torch.rand(6, velocity.dim, dtype=torch.float64, requires_grad=True)
    times = torch.rand(3, dtype=torch.float64)
    together = torch.func.vmap(lambda t: velocity(t, y, chart))(times)
    torch.testing.assert_close(together, torch.stack([velocity(t, y, chart) for t in times]), rtol=0.0, atol=1e-12)
    value, probes = velocity(times[0], y, chart), torch.randn(5, *y.shape, dtype=torch.float64)
    (batched,) = torch.autograd.grad(value, y, probes, is_grads_batched=True, retain_graph=True)
    each = [torch.autograd.grad(value, y, probe, retain_graph=True)[0] for probe in probes]
    torch.testing.assert_close(batched, torch.stack(each), rtol=0.0, atol=1e-12)


class LargestArray(TorchDispatchMode):
    """Remembers the number of elements of the largest tensor that any operation returns."""

    elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


def test_no_array_of_blocks_of_matrices() -> None:
    """Per particle d H numbers for the network, 2 K for the ridges, forward and backward: never d - 1 matrices, nor K
    vectors."""
    n, dim, hidden, width = 512, 10, 8, 30
    y = torch.rand(n, dim, dtype=torch.float64, requires_grad=True)
    w, alpha, beta = torch.randn(3, width, dim, dtype=torch.float64)
    o, b = torch.randn(2, width, dtype=torch.float64)
    for field, per_particle in (
        (mlp_field(*network(dim, (hidden, hidden)), dim), dim * hidden),
        (ridge_field(w, o, b, alpha, beta), 2 * width),
    ):
        with LargestArray() as largest:
            field(y, 0.3, 1.0 - y**2, 2.0 * y).sum().backward()
        assert n * dim < largest.elements <= n * per_particle


def test_sigmoid_layers_are_the_same_network() -> None:
    weights, biases = network(3, (6, 5, 4))
    tanh = sigmoid = torch.randn(8, 4, dtype=torch.float64)
    new_weights, new_biases = sigmoid_layers(weights, biases)
    for k in range(4):
        tanh, sigmoid = tanh @ weights[k].T + biases[k], sigmoid @ new_weights[k].T + new_biases[k]
        if k < 3:
            tanh, sigmoid = torch.tanh(tanh), torch.sigmoid(sigmoid)
            torch.testing.assert_close(2.0 * sigmoid - 1.0, tanh, rtol=0.0, atol=1e-13)
    torch.testing.assert_close(sigmoid, tanh, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("dim", (2, 3, 5, 10))
def test_equation_17_as_printed(dim: int) -> None:
    """v of eq. (17), block by block, with the Jacobian J_ij = d_j u_i (eq. 15 prints its indices exchanged)."""
    weights, biases = network(dim, (7, 6))
    c = 2.0 * torch.rand(3, dim, dtype=torch.float64) - 1.0

    def u(x: Tensor) -> Tensor:
        layer = torch.cat((x, x.new_tensor([0.37])))
        for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
            layer = torch.tanh(weight @ layer + bias)
        return (weights[-1] @ layer + biases[-1]).view(dim, dim - 1)

    rows = []
    for x in c:
        q, values, jacobian, total = x**2 - 1.0, u(x), torch.func.jacrev(u)(x), torch.zeros_like(x)
        for block in range(dim - 1):
            ones = (torch.arange(dim) >= block).double()
            gradient = torch.outer(ones, ones) * jacobian[:, block]
            difference = torch.outer(ones, ones) * (values[:, None, block] - values[None, :, block])
            total = total + 2.0 * difference @ x + gradient @ q - (q @ gradient.diagonal()) * ones
        rows.append(q * total)
    found = (1.0 - c**2) * mlp_field(weights, biases, dim)(c, 0.37, 1.0 - c**2, 2.0 * c)
    torch.testing.assert_close(found, torch.stack(rows), rtol=1e-10, atol=1e-10)


def blocks_of(psi: Tensor) -> Tensor:
    """Proposition 3, pointwise: values a[i, n] of d - 1 blocks whose psi is a given antisymmetric matrix (d, d).

    Block n makes row n of what the blocks before it left: a_n = 0, a_j = -psi_nj.
    """
    dim, left, columns = len(psi), psi, []
    for n in range(dim - 1):
        beyond = torch.arange(dim) > n
        columns.append(torch.where(beyond, -left[n], torch.zeros_like(left[n])))
        reach = torch.outer(torch.arange(dim) >= n, torch.arange(dim) >= n)
        left = left - reach * (columns[n][:, None] - columns[n][None, :])
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize("dim", (2, 3, 5, 10))
def test_blocks_of_a_given_matrix(dim: int) -> None:
    psi = torch.randn(dim, dim, dtype=torch.float64)
    psi = psi - psi.T
    blocks = blocks_of(psi).reshape(-1, 1)
    found, constant = antisymmetric_weights(blocks, 2.0 * blocks[:, 0], dim)
    torch.testing.assert_close(found[:, :, 0], psi, rtol=0.0, atol=1e-12)
    torch.testing.assert_close(constant, 2.0 * psi, rtol=0.0, atol=1e-12)


def test_a_given_field_is_recovered() -> None:
    """Proposition 3: the curl of a polynomial potential in three dimensions, from the two blocks of its psi."""

    def psi(x: Tensor) -> Tensor:
        upper = torch.stack((x[0] * x[1] + x[2] ** 2, x[0] ** 2 * x[2] - x[1], x[1] * x[2] ** 2 + x[0] ** 3))
        zero = torch.zeros_like(upper[0])
        half = torch.stack((zero, upper[0], upper[1], zero, zero, upper[2], zero, zero, zero)).view(3, 3)
        return half - half.T

    def psi_of_blocks(x: Tensor) -> Tensor:
        a, total = blocks_of(psi(x)), torch.zeros(3, 3, dtype=x.dtype)
        for n in range(2):
            reach = torch.outer(torch.arange(3) >= n, torch.arange(3) >= n)
            total = total + reach * (a[:, None, n] - a[None, :, n])
        return total

    x = torch.randn(5, 3, dtype=torch.float64)
    ones, zeros = torch.ones_like(x), torch.zeros_like(x)
    x1, x2, x3 = x.T
    # d_2 psi_12 + d_3 psi_13, -d_1 psi_12 + d_3 psi_23, -d_1 psi_13 - d_2 psi_23
    curl = torch.stack((x1 + x1**2, 2.0 * x2 * x3 - x2, -2.0 * x1 * x3 - x3**2), dim=1)
    torch.testing.assert_close(dense_field(psi_of_blocks, x, ones, zeros), curl, rtol=0.0, atol=1e-12)
