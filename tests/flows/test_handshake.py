"""Broken flows, one per failure of the handshake: one sentence each, that names what was found and what to type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gpot
from gpot.errors import FlowRefused
from gpot.flows.base import FrozenFlow
from gpot.flows.codes import law_of
from gpot.flows.handshake import handshake, jacobian_of
from gpot.gp.monge import MongeMap
from gpot.maths.transport import gaussian_log_density

DIM = 3


class Good(nn.Module):
    """z = x A^T + b, with the conventions kept."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.dim = DIM
        matrix = torch.eye(DIM) + 0.3 * torch.randn(DIM, DIM, generator=torch.Generator().manual_seed(3))
        matrix[0] *= sign * torch.linalg.det(matrix).sign()
        self.matrix, self.shift = nn.Parameter(matrix), nn.Parameter(torch.ones(DIM))

    def log_det(self, x: Tensor) -> Tensor:
        return torch.linalg.slogdet(self.matrix)[1].expand(len(x))

    def forward(self, x: Tensor) -> Any:
        return x @ self.matrix.T + self.shift, self.log_det(x)

    def inverse(self, z: Tensor) -> Any:
        return torch.linalg.solve(self.matrix, (z - self.shift).T).T


def broken(**methods: Callable[..., Any]) -> nn.Module:
    return type("Broken", (Good,), methods)()


def z_and(log_det: Callable[[Good, Tensor, Tensor], Any]) -> Callable[..., Any]:
    """A forward whose z is right and whose second value is another."""

    def forward(self: Good, x: Tensor) -> Any:
        z, _ = Good.forward(self, x)
        return z, log_det(self, x, z)

    return forward


def per_row(self: Good, x: Tensor, z: Tensor) -> Tensor:
    return Good.log_det(self, x)


# failure -> (the flow, words of its sentence: what was found, what to type)
BROKEN: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "z of another shape": (
        lambda: broken(forward=lambda s, x: (torch.cat([x, x], 1), s.log_det(x))), ("(8, 6)", "shape of x")),
    "no log_det": (
        lambda: broken(forward=lambda s, x: Good.forward(s, x)[0]), ("one tensor", 'log_det="exact"')),
    "log_det of another shape": (
        lambda: broken(forward=z_and(lambda s, x, z: torch.ones_like(z))), ("(8, 3)", "log_det.sum(1)")),
    "log_det of the inverse": (
        lambda: broken(forward=z_and(lambda s, x, z: -per_row(s, x, z))),
        ("of the inverse", "negative")),
    "the density": (
        lambda: broken(forward=z_and(
            lambda s, x, z: per_row(s, x, z) + gaussian_log_density(z))),
        ("log p(x)", "subtract")),
    "a wrong value": (
        lambda: broken(forward=z_and(lambda s, x, z: per_row(s, x, z) + x[:, 0])), ("off by", 'log_det="exact"')),
    "inverse of another kind": (
        lambda: broken(inverse=lambda s, z: {"x": z}), ("dict", "return x alone")),
    "inverse that does not invert": (
        lambda: broken(inverse=lambda s, z: 3.0 * z), ("misses x", "InverseNotAvailable")),
    "noise": (
        lambda: broken(forward=lambda s, x: (Good.forward(s, x)[0] + torch.randn_like(x), s.log_det(x))),
        ("differ", "dropout")),
    "a trace estimator": (
        lambda: broken(forward=z_and(lambda s, x, z: per_row(s, x, z) + torch.randn(len(x)))), ("trace", "exact")),
    "rows that see one another": (
        lambda: broken(forward=lambda s, x: (Good.forward(s, x - x.mean(0))[0], s.log_det(x)),
                       inverse=lambda s, z: Good.inverse(s, z)), ("other rows", "eval()")),
    "another dtype": (
        lambda: broken(forward=z_and(lambda s, x, z: per_row(s, x, z).half())), ("float16", "keep the dtype")),
    "not finite": (
        lambda: broken(forward=lambda s, x: (Good.forward(s, x)[0] / (x > 0), s.log_det(x))), ("not finite", "NaN")),
    "a fold": (
        lambda: broken(
            forward=lambda s, x: (torch.cat([x[:, :1] ** 2, x[:, 1:]], 1), (2 * x[:, 0]).abs().log()),
            inverse=lambda s, z: z), ("folds", "branch")),
    "a context that is missing": (
        lambda: broken(forward=lambda s, x, context: None), ("context", "context=c")),
}  # fmt: skip


@pytest.mark.parametrize("failure", BROKEN)
def test_a_broken_flow_is_one_sentence_and_nothing_is_fitted(failure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make, words = BROKEN[failure]
    flow = make()
    monkeypatch.setattr("gpot.library.fitting.descend", lambda *a, **k: pytest.fail("something was trained"))
    x = torch.randn(64, DIM, generator=torch.Generator().manual_seed(0))
    with pytest.raises(FlowRefused) as caught:
        gpot.fit(flow, x, progress=False)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 400
    for word in words:
        assert word in message, message
    for build in (FrozenFlow, lambda f: MongeMap(f, gpot.GaussianPreservingFlow("ridge", dim=DIM))):
        with pytest.raises(FlowRefused):
            build(flow)


def test_a_good_flow_is_accepted_and_measured() -> None:
    found = handshake(Good(), torch.randn(20, DIM))
    assert found.log_det_error < 1e-5 and found.orientation == 1 and found.round_trip < 1e-5 and found.notes == ()


def test_a_column_of_log_dets_is_squeezed() -> None:
    flow, x = broken(forward=z_and(lambda s, x, z: per_row(s, x, z)[:, None])), torch.randn(7, DIM)
    assert FrozenFlow(flow)(x)[1].shape == (7,)
    monge = MongeMap(flow, gpot.GaussianPreservingFlow("ridge", dim=DIM))
    assert monge(x)[1].shape == (7,)


def test_an_inverse_that_returns_a_pair_is_taken_at_its_first() -> None:
    flow, x = broken(inverse=lambda s, z: (Good.inverse(s, z), -s.log_det(z))), torch.randn(7, DIM)
    frozen = FrozenFlow(flow)
    torch.testing.assert_close(frozen.inverse(frozen(x)[0]), x, rtol=1e-4, atol=1e-4)


def test_points_of_another_dtype_say_what_to_type_and_arrays_work() -> None:
    frozen, x = FrozenFlow(Good()), torch.randn(7, DIM, dtype=torch.float64)
    with pytest.raises(FlowRefused, match=r"x\.to\(torch\.float32\)"):
        frozen(x)
    with pytest.raises(FlowRefused, match=r"int32; type x\.to\(torch\.float32\)$"):
        frozen(x.int())
    assert frozen(x.numpy())[0].dtype == torch.float32
    assert FrozenFlow(Good().double())(x)[0].dtype == torch.float64


def test_a_flow_in_training_mode_is_frozen_by_the_map() -> None:
    class Dropped(Good):
        def __init__(self) -> None:
            super().__init__()
            self.dropout = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Any:
            return super().forward(self.dropout(x))

    flow = Dropped().train()
    monge, x = MongeMap(flow, gpot.GaussianPreservingFlow("ridge", dim=DIM)), torch.randn(50, DIM)
    monge.train()
    assert torch.equal(monge.transport(x), monge.transport(x))
    before = flow.matrix.clone()
    optimizer = torch.optim.Adam(monge.parameters(), lr=1.0)
    monge.transport(x).square().sum().backward()
    optimizer.step()
    assert torch.equal(flow.matrix, before)


def test_a_reversed_orientation_is_spoken_of() -> None:
    flow, x = Good(sign=-1.0), torch.randn(64, DIM)
    assert handshake(flow, x).orientation == -1
    with pytest.raises(FlowRefused, match="reflection"):
        handshake(flow, x, orientation=1)
    with pytest.warns(gpot.errors.GpotWarning, match="reverses orientation"):
        MongeMap(flow, gpot.GaussianPreservingFlow("ridge", dim=DIM))


def test_codes_that_are_not_gaussian_are_spoken_of_and_a_swapped_pair_is_refused() -> None:
    flow = Good()
    with torch.no_grad():
        x = flow.inverse(torch.randn(400, DIM))
        square = flow.inverse(2 * torch.rand(400, DIM) - 1)
    assert handshake(flow, x, data=True).notes == ()
    (note,) = handshake(flow, square, data=True).notes
    assert "not Gaussian" in note and "transports to what they are" in note
    swapped = broken(
        forward=lambda s, z: (Good.inverse(s, z), -s.log_det(z)), inverse=lambda s, x: Good.forward(s, x)[0]
    )
    with pytest.raises(FlowRefused, match="z -> x"):
        handshake(swapped, x, data=True)


def test_the_law_of_normal_codes_is_normal() -> None:
    accepted = [law_of(torch.randn(300, 2)).gaussian for _ in range(10)]
    assert sum(accepted) >= 9 and not law_of(torch.randn(300, 2) + 0.5).gaussian


def test_a_jacobian_that_autograd_does_not_see_is_taken_by_differences() -> None:
    flow, x = Good().double(), torch.randn(5, DIM, dtype=torch.float64)

    def detached(points: Tensor) -> Any:
        z, log_det = flow(points)
        return z.detach(), log_det.detach()

    matrices, exact = jacobian_of(detached, x)
    assert not exact
    torch.testing.assert_close(matrices, flow.matrix.detach().expand(5, DIM, DIM), rtol=1e-5, atol=1e-5)
