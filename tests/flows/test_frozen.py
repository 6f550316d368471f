"""Properties of every flow, and what freezing one guarantees."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gpot.errors import BadInput, GpotWarning, InverseNotAvailable
from gpot.flows import FFJORDFlow, Flow, FrozenFlow, pull_back
from third_party.ffjord import FFJORD

DIM = 3


class Affine(nn.Module):
    """x -> A x + b, with a layer whose behaviour depends on the mode."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = DIM
        self.linear = nn.Linear(DIM, DIM)
        self.dropout = nn.Dropout(0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.linear(self.dropout(x)), torch.linalg.slogdet(self.linear.weight)[1].expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return torch.linalg.solve(self.linear.weight, (z - self.linear.bias).T).T


class OneWay(Affine):
    """No inverse."""

    def inverse(self, z: Tensor) -> Tensor:
        raise InverseNotAvailable("OneWay has no inverse")


def ffjord(**arguments: object) -> FFJORDFlow:
    return FFJORDFlow(FFJORD(DIM, **arguments))


FLOWS: dict[str, Callable[[], nn.Module]] = {
    "affine": Affine,
    "ffjord_grid": lambda: ffjord(hidden=(8, 6), solver="rk4", n_steps=40),
    "ffjord_one_hidden": lambda: ffjord(hidden=(8,), n_blocks=2, solver="rk4", n_steps=40),
    "ffjord_three_hidden": lambda: ffjord(hidden=(8, 6, 7), n_blocks=1, solver="rk4", n_steps=40),
    "ffjord_adaptive": lambda: ffjord(hidden=(8, 6), n_blocks=1, solver="dopri5", atol=1e-7, rtol=1e-7),
}
SOLVER_ERROR = 10 * (1 / 40) ** 4  # Runge-Kutta of order 4 with 40 steps; the adaptive one has tolerance 1e-7


def large(name: str) -> nn.Module:
    """A flow with random large weights, float64, in training mode."""
    flow = FLOWS[name]().double()
    with torch.no_grad():
        for p in flow.parameters():
            p.copy_(torch.randn_like(p) * (1.0 if p.ndim == 1 else 1.5 * p.shape[1] ** -0.5))
    return flow.train()


def points(n: int = 5) -> Tensor:
    return torch.randn(n, DIM, dtype=torch.float64)


@pytest.mark.parametrize("name", FLOWS)
def test_log_det_equals_autograd(name: str) -> None:
    flow, x = large(name).eval(), points()
    x.requires_grad_()
    z, log_det = flow(x)
    assert log_det.shape == (len(x),)
    rows = [torch.autograd.grad(z[:, i].sum(), x, retain_graph=True)[0] for i in range(DIM)]
    torch.testing.assert_close(log_det, torch.linalg.slogdet(torch.stack(rows, 1))[1], rtol=0, atol=SOLVER_ERROR)


@pytest.mark.parametrize("name", FLOWS)
def test_inverse_round_trip(name: str) -> None:
    flow, x = FrozenFlow(large(name)), points()
    z, _ = flow(x)
    assert (z - x).abs().max() > 0.1
    torch.testing.assert_close(flow.inverse(z), x, rtol=0, atol=SOLVER_ERROR)
    torch.testing.assert_close(flow(flow.inverse(x))[0], x, rtol=0, atol=SOLVER_ERROR)


@pytest.mark.parametrize("name", FLOWS)
def test_transform_is_the_first_part_of_forward(name: str) -> None:
    flow, x = FrozenFlow(large(name)), points()
    torch.testing.assert_close(flow.transform(x), flow(x)[0], rtol=0, atol=SOLVER_ERROR)


@pytest.mark.parametrize("name", FLOWS)
def test_frozen_is_a_flow_and_stays_as_it_is(name: str) -> None:
    """Through .train() of a parent, an optimizer that is given everything, and inputs that ask for gradients."""
    inner = large(name)
    assert isinstance(inner, Flow)
    frozen = FrozenFlow(inner)
    assert isinstance(frozen, Flow) and frozen.dim == DIM
    parent = nn.Sequential(frozen, nn.Linear(DIM, DIM).double())
    parent.train()
    assert parent.training and not any(module.training for module in frozen.modules())
    assert not any(p.requires_grad for p in frozen.parameters())
    x = points().requires_grad_()
    before = {key: value.clone() for key, value in frozen.state_dict().items()}
    z, log_det = frozen(x)
    for result in (z, log_det, frozen.transform(x), frozen.inverse(x)):
        assert not result.requires_grad
    optimizer = torch.optim.AdamW(parent.parameters(), lr=1.0, weight_decay=1.0)
    parent[1](z).square().sum().backward()
    optimizer.step()
    for key, value in before.items():
        assert torch.equal(frozen.state_dict()[key], value)
    assert torch.equal(frozen(x)[0], z)


def test_a_flow_without_inverse_says_so() -> None:
    frozen = FrozenFlow(OneWay().double())
    with pytest.raises(InverseNotAvailable):
        frozen.inverse(points())
    with pytest.raises(InverseNotAvailable):
        pull_back(frozen, points())


@pytest.mark.parametrize("not_a_flow", [nn.Linear(2, 2), object()])
def test_what_is_not_a_flow_is_refused(not_a_flow: object) -> None:
    with pytest.raises(BadInput, match="dim"):
        FrozenFlow(not_a_flow)


def test_ffjord_refuses_other_shapes_and_types() -> None:
    flow = FLOWS["ffjord_grid"]()
    for x, word in ((torch.zeros(4, DIM + 1), "shape"), (torch.zeros(DIM), "shape"), (points(), "float64")):
        for method in (flow.forward, flow.transform, flow.inverse):
            with pytest.raises(BadInput, match=word):
                method(x)


def test_pull_back_in_pieces_equals_the_whole() -> None:
    flow, z = FrozenFlow(large("ffjord_grid")), points(7)
    torch.testing.assert_close(pull_back(flow, z, chunk=3), flow.inverse(z), rtol=0, atol=1e-12)
    assert pull_back(flow, z[:0]).shape == (0, DIM)


def test_pull_back_drops_nothing_silently() -> None:
    flow, z = FrozenFlow(large("affine")), points()
    z[1, 0] = torch.nan
    with pytest.raises(BadInput, match="1 of 5"):
        pull_back(flow, z)
    with pytest.raises(BadInput, match="chunk=0"):
        pull_back(flow, z, chunk=0)


class Squashed(nn.Module):
    """Its base is uniform on the square."""

    dim = 2

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z = torch.sigmoid(x)
        return z, (z * (1 - z)).log().sum(1)

    def inverse(self, z: Tensor) -> Tensor:
        return torch.logit(z)


def test_a_base_that_is_not_normal_is_spoken_of_where_the_inverse_shows_it(recwarn: pytest.WarningsRecorder) -> None:
    with pytest.warns(GpotWarning, match=r"of 8 normal z have no x under the inverse of Squashed: its base is not N"):
        FrozenFlow(Squashed())
    Squashed.onto = False  # type: ignore[attr-defined]
    recwarn.clear()
    FrozenFlow(Squashed())
    assert not [warning for warning in recwarn if issubclass(warning.category, GpotWarning)]
