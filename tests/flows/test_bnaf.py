"""BNAF as a flow of gpot: released weights, its inverse, and what it says where there is none."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gpot.errors import BadConfig, BadInput, InverseNotAvailable
from gpot.flows.base import Flow, FrozenFlow, pull_back
from gpot.flows.bnaf import BNAFFlow
from gpot.flows.weights import load_released
from gpot.maths.transport import exact_log_det
from tests.conftest import shared_path
from third_party.bnaf import BNAF

DTYPE = torch.float64


def small(**options: object) -> BNAFFlow:
    """Random weights of order 1, float64."""
    flow = BNAFFlow(BNAF(2, 8, 2), **options).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for p in flow.parameters():
            p.copy_(0.5 * torch.randn_like(p))
    return flow


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_released_checkpoint(dtype: torch.dtype, tolerance: float) -> None:
    """Through FrozenFlow, as the stages have it."""
    flow = FrozenFlow(BNAFFlow(BNAF(2, 32, 3)).to(dtype))
    load_released(flow, shared_path("reference/weights/gpflow_moons_bnaf.safetensors"))
    golden = load_file(shared_path("reference/golden/moons_bnaf.safetensors"))
    x = golden["x"].to(dtype)
    z, log_det = flow(x)
    for found, expected in ((z, golden["z"]), (log_det, golden["logdet"]), (flow.transform(x), golden["z"])):
        torch.testing.assert_close(found, expected.to(dtype), rtol=0, atol=tolerance)
    back = flow.inverse(z)
    assert back.isfinite().all()
    torch.testing.assert_close(flow.transform(back), z, rtol=0, atol=max(tolerance, 2e-5))


def test_it_is_a_flow_whose_log_det_is_exact() -> None:
    flow, x = FrozenFlow(small()), torch.randn(20, 2, dtype=DTYPE)
    assert isinstance(flow, Flow) and isinstance(flow.flow, Flow) and flow.dim == 2
    torch.testing.assert_close(flow(x)[1], exact_log_det(flow.flow.transform, x), rtol=0, atol=1e-11)
    torch.testing.assert_close(flow(x)[1], exact_log_det(lambda y: flow.flow(y)[0], x), rtol=0, atol=1e-11)


def outside_and_inside(flow: BNAFFlow) -> Tensor:
    z = flow.transform(torch.randn(5, 2, dtype=DTYPE)).detach()
    z[1, 0], z[3, 1] = 1e3, -1e3
    return z


def test_outside_the_image_is_nan_and_counted() -> None:
    flow = small()
    z = outside_and_inside(flow)
    found, x = flow.invert(z), flow.inverse(z)
    assert found.converged.tolist() == [True, False, True, False, True]
    assert torch.equal(x.isnan().all(1), ~found.converged) and torch.equal(x.isnan().any(1), ~found.converged)
    assert not x.requires_grad and found.residual[found.converged].max() < 1e-5
    torch.testing.assert_close(pull_back(flow, z, chunk=2, allow_lost=True), x, rtol=0, atol=1e-6, equal_nan=True)
    with pytest.raises(BadInput, match="2 of 5"):
        pull_back(flow, z)


def test_without_inverse_it_says_what_to_type() -> None:
    flow = small(inverse="none")
    z = flow.transform(torch.randn(5, 2, dtype=DTYPE))
    for attempt in (flow.inverse, flow.invert, FrozenFlow(flow).inverse):
        with pytest.raises(InverseNotAvailable, match='Build it with inverse="bisection"'):
            attempt(z)


def test_tolerance_and_iterations_reach_the_root_finding() -> None:
    flow = small()
    z = flow.transform(torch.randn(50, 2, dtype=DTYPE)).detach()
    loose, tight = (BNAFFlow(flow.model, tolerance=t).invert(z) for t in (1e-1, 1e-12))
    assert loose.iterations < tight.iterations and loose.residual.max() > tight.residual.max()
    assert BNAFFlow(flow.model, max_iterations=1).invert(z).iterations == 1


@pytest.mark.parametrize(
    "options", [{"inverse": "newton"}, {"tolerance": 0.0}, {"tolerance": -1.0}, {"max_iterations": 0}], ids=str
)
def test_bad_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(BadConfig, match=r"Type one of them|Take tolerance"):
        small(**options)


def test_other_shapes_and_types_are_refused() -> None:
    flow = small()
    wrong = ((torch.zeros(4, 3, dtype=DTYPE), "shape"), (torch.zeros(2, dtype=DTYPE), "shape"))
    for x, word in (*wrong, (torch.zeros(4, 2), "float32")):
        for method in (flow.forward, flow.transform, flow.inverse, flow.invert):
            with pytest.raises(BadInput, match=word):
                method(x)
