"""Fields with tangents carried forward: the values and derivatives are those of the formulas, by forward mode."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gpot.maths import ridge_tangents
from gpot.maths.field_formulas import ridge_formula, stream_formula, tangent_formula
from gpot.maths.field_tangents import ridge_along, stream_along, tangent_along
from gpot.maths.ridge_path import packed, packed_field
from gpot.maths.ridge_tangents import ridge_along_path, ridge_jacobian

N, K = 5, 3  # particles, directions


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def layers(dim: int, *widths: int) -> list[Tensor]:
    sizes = (dim, *widths)
    return [x for k, width in enumerate(widths) for x in (randn(width, sizes[k]), randn(width))]


def cases() -> dict[str, tuple[Callable[..., Tensor], Callable[..., tuple[Tensor, Tensor]], int, list[Tensor]]]:
    torch.manual_seed(0)
    in_time = layers(3, 4)
    in_time[1] = randn(N, 4)  # one time per particle
    return {
        "stream": (stream_formula, stream_along, 2, [randn(4), randn(), *layers(2, 5, 3, 4)]),
        "stream of one layer": (stream_formula, stream_along, 2, [randn(4), randn(), *layers(2, 4)]),
        "tangent": (tangent_formula, tangent_along, 3, [randn(3, 4 * 3), randn(3, 3), *layers(3, 5, 6, 4)]),
        "tangent with times": (tangent_formula, tangent_along, 3, [randn(3, 4 * 3), randn(3, 3), *in_time]),
        "ridge": (ridge_formula, ridge_along, 3, [*layers(3, 7), randn(14, 3), randn(14, 3), randn(14, 3)]),
    }


@pytest.mark.parametrize("name", cases())
def test_values_and_tangents_are_those_of_forward_mode(name: str) -> None:
    formula, along, dim, weights = cases()[name]
    points, tangents = [randn(N, dim) for _ in range(3)], [randn(K, N, dim) for _ in range(3)]
    w, w_along = along(*points, *tangents, *weights)
    torch.testing.assert_close(w, formula(*points, *weights))
    for k in range(K):
        expected = torch.func.jvp(lambda *at: formula(*at, *weights), tuple(points), tuple(u[k] for u in tangents))[1]
        torch.testing.assert_close(w_along[k], expected)


@pytest.mark.parametrize("name", cases())
def test_reverse_mode_through_the_tangents(name: str) -> None:
    _, along, dim, weights = cases()[name]
    inputs = [randn(2, dim) for _ in range(3)] + [randn(2, 2, dim) for _ in range(3)]
    weights = [weight[:2] if name.endswith("times") and weight.shape == (N, 4) else weight for weight in weights]
    assert torch.autograd.gradcheck(along, [value.requires_grad_() for value in (*inputs, *weights)])


def ridge_inputs(n: int, dim: int, width: int, directions: int) -> list[Tensor]:
    torch.manual_seed(1)
    neurons = randn(width, dim), randn(width), randn(width), randn(width, dim), randn(width, dim)
    return [randn(n, dim), torch.rand(n, dtype=torch.float64), randn(directions, n, dim), *packed(*neurons)]


@pytest.mark.parametrize(("n", "dim", "directions"), [(3, 2, 2), (150, 3, 4), (131, 10, 1)])
def test_ridge_in_the_direct_chart(n: int, dim: int, directions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge_tangents, "_CELLS", 7 * 64)  # chunks that divide n, and that do not
    inputs = ridge_inputs(n, dim, 7, directions)
    y, t, u, *matrices = inputs
    field = packed_field(*matrices)
    moved = [inputs[k].requires_grad_() for k in (0, 2, 3, 4, 5)]
    found = ridge_along_path(*inputs)
    jvp = [torch.func.jvp(lambda at: field(t, at), (y,), (direction,))[1] for direction in u]
    expected = field(t, y), torch.stack(jvp)
    torch.testing.assert_close(found, expected)
    probes = [randn(*value.shape) for value in expected]
    for first in (0, 1):  # of values and tangents, and of the tangents alone
        gradients = [torch.autograd.grad(outputs[first:], moved, probes[first:], retain_graph=True, allow_unused=True)
                     for outputs in (found, expected)]  # fmt: skip
        for one, other, at in zip(*gradients, moved, strict=True):
            torch.testing.assert_close(one if one is not None else torch.zeros_like(at),
                                       other if other is not None else torch.zeros_like(at))  # fmt: skip


def test_ridge_differentiated_twice() -> None:
    y, t, u, *matrices = ridge_inputs(2, 2, 3, 1)
    inputs = [value.requires_grad_() for value in (y, u, *matrices)]
    assert torch.autograd.gradgradcheck(lambda y, u, *rest: ridge_along_path(y, t, u, *rest), inputs)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_jacobian_of_ridge_is_its_derivatives_along_the_axes(dim: int) -> None:
    y, times, _, *matrices = ridge_inputs(4, dim, 7, 1)
    axes = torch.eye(dim, dtype=y.dtype)[:, None].expand(-1, 4, -1)
    values = ridge_jacobian(*matrices)
    for t in (times, times[0]):
        velocity, jacobian = values(t, y)
        expected, columns = ridge_along_path(y, t.expand(4), axes, *matrices)
        torch.testing.assert_close(velocity, expected)
        torch.testing.assert_close(jacobian, columns.permute(1, 2, 0))
