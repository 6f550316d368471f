"""CP-Flow as a flow of gpot: the protocol, its errors, and that one block is a Monge map."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.evaluation.certificate import certificate
from gpot.flows.base import Flow, FrozenFlow
from gpot.flows.cpflow import CPFlowFlow
from gpot.maths.transport import exact_log_det
from third_party.cpflow import CPFlow


def adapted(dim: int = 2, **arguments: object) -> CPFlowFlow:
    """Random large weights, float64; w1 makes the network count against the quadratic term."""
    flow = CPFlowFlow(CPFlow(dim, **({"width": 8} | arguments))).double()
    with torch.no_grad():
        for name, p in flow.named_parameters():
            p.copy_(torch.randn_like(p) * (1.5 if p.ndim == 2 else 0.7))
            if name.endswith("w1"):
                p.fill_(15.0)
    return flow


def points(n: int = 6, dim: int = 2) -> Tensor:
    return torch.randn(n, dim, dtype=torch.float64)


def gap(flow: CPFlowFlow) -> float:
    """Of the map followed by a shift and one scale: the best assignment stays, and no large mean cost hides the gap."""
    with torch.no_grad():
        x = points(512)
        z = flow.transform(x)
        z = (z - z.mean(0)) / z.std()
        return certificate(x, z, batch_size=256, n_batches=2, generator=torch.Generator().manual_seed(0)).mean


def test_it_is_a_flow_and_freezes() -> None:
    flow, x = adapted(3), points(5, 3)
    assert isinstance(flow, Flow)
    frozen = FrozenFlow(flow)
    z, log_det = frozen(x)
    assert z.shape == (5, 3) and log_det.shape == (5,) and not z.requires_grad
    torch.testing.assert_close(frozen.transform(x), z, rtol=1e-13, atol=1e-13)
    torch.testing.assert_close(frozen.inverse(z), x, rtol=0, atol=1e-6)
    torch.testing.assert_close(exact_log_det(frozen.flow.transform, x), log_det, rtol=0, atol=1e-9)


@pytest.mark.parametrize("unit_actnorm", [False, True])
def test_one_block_is_a_monge_map(unit_actnorm: bool) -> None:
    """The gap is 0, around an ActNorm whose scales differ by a factor of 4, and with one that does nothing."""
    flow = adapted()
    with torch.no_grad():
        flow.model.flows[0].logs.copy_(torch.tensor([1.0, -0.4]).reshape(1, 2, 1))
        if unit_actnorm:
            flow.model.flows[0].logs.fill_(0.0)
            flow.model.flows[0].b.fill_(0.0)
    assert gap(flow) < 1e-9


def test_the_released_form_is_not_a_monge_map() -> None:
    """The same weights with the ActNorm before the block; nor are several blocks."""
    flow = adapted(actnorm="before")
    with torch.no_grad():
        flow.model.flows[0].logs.copy_(torch.tensor([1.0, -0.4]).reshape(1, 2, 1))
    assert gap(flow) > 1e-6
    assert gap(adapted(n_blocks=3)) > 1e-6


def test_errors_are_of_gpot() -> None:
    flow, z = adapted(), points()
    with pytest.raises(BadInput, match="shape"):
        flow.forward(points(3, 5))
    with pytest.raises(BadInput, match=r"torch\.float32"):
        flow.transform(z.float())
    z[0, 0] = torch.inf
    with pytest.raises(BadInput, match="1 of them"):
        flow.inverse(z)


def test_tolerance_is_kept_by_the_inverse() -> None:
    flow, z = adapted(), points(200)
    errors = []
    for tolerance in (1e-1, 1e-6):
        flow.tolerance = tolerance
        with torch.no_grad():
            errors.append((flow.transform(flow.inverse(z)) - z).norm(dim=1).max().item())
        assert errors[-1] <= tolerance * (1 + 1e-9)
    assert errors[0] > 1e-6
