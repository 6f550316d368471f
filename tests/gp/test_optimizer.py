"""Muon's steps: spectral norm, the parameters it takes, and a state that is what it was when read back."""

from __future__ import annotations

import copy

import pytest
import torch

from gpot.errors import BadConfig
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.optimizer import optimizer_of
from gpot.gp.twist import TwistFlow
from gpot.gp.velocity import MLPVelocity

MAPS = {
    "ridge": lambda: GaussianPreservingFlow("ridge", dim=4, n_steps=2),
    "deep_ridge": lambda: GaussianPreservingFlow("deep_ridge", dim=4, n_steps=2),
    "mlp": lambda: GaussianPreservingFlow(MLPVelocity(4, (8, 8)), n_steps=2),
    "twist": lambda: TwistFlow(4, n_layers=2, width=8),
}


def train(gp: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> float:
    draw = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        z = torch.randn(128, 4, generator=draw)
        loss = ((z.sin() - gp.transport(z @ torch.eye(4).roll(1, 0))) ** 2).sum(1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("name", MAPS)
def test_every_parameter_moves_and_the_cost_falls(name: str) -> None:
    torch.manual_seed(0)
    gp = MAPS[name]()
    before, optimizer = copy.deepcopy(gp.state_dict()), optimizer_of(gp, "muon", 2e-2)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(gp.parameters()))
    first = train(gp, optimizer, 1)
    last = train(gp, optimizer, 15)
    assert last < first
    assert all(not torch.equal(p, before[key]) for key, p in gp.named_parameters())


def test_a_step_of_a_matrix_has_one_singular_value() -> None:
    torch.manual_seed(0)
    gp = MAPS["ridge"]()
    start = gp.velocity.w.detach().clone()
    train(gp, optimizer_of(gp, "muon", 1e-2), 1)
    values = torch.linalg.svdvals(gp.velocity.w.detach() - start)
    torch.testing.assert_close(values, torch.full_like(values, 0.2 * 1e-2 * len(start) ** 0.5), rtol=1e-2, atol=0.0)


@pytest.mark.parametrize("name", MAPS)
def test_weight_decay_is_a_part_of_the_gradient(name: str) -> None:
    torch.manual_seed(0)
    decayed = MAPS[name]()
    other = copy.deepcopy(decayed)
    with_decay, plain = optimizer_of(decayed, "muon", 1e-2, weight_decay=0.5), optimizer_of(other, "muon", 1e-2)
    for _ in range(2):
        for gp in (decayed, other):
            for parameter in gp.parameters():
                parameter.grad = parameter.detach().cos()
        for parameter in other.parameters():
            assert parameter.grad is not None
            parameter.grad += 0.5 * parameter.detach()
        with_decay.step()
        plain.step()
    for found, expected in zip(decayed.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(found, expected)


def test_training_goes_on_from_its_state() -> None:
    torch.manual_seed(0)
    gp = MAPS["ridge"]()
    optimizer = optimizer_of(gp, "muon", 1e-2)
    train(gp, optimizer, 2)
    other = copy.deepcopy(gp)
    resumed = optimizer_of(other, "muon", 1e-2)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert train(gp, optimizer, 2, seed=1) == train(other, resumed, 2, seed=1)


def test_only_known_names() -> None:
    with pytest.raises(BadConfig, match="'adam', 'muon'"):
        optimizer_of(MAPS["ridge"](), "sgd", 1e-2)
