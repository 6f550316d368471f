"""Schedules: lambda is halved as appendix C says, and one cycle of the learning rate has the shape of one cycle."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
import torch

from gpot.config.choices import PenaltyKind, PenaltyTime, Schedule
from gpot.config.compose import compose
from gpot.config.schema import OptimizerConfig, PenaltyConfig
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.optimizer import Descent, Muon
from gpot.gp.twist import TwistFlow
from gpot.maths.schedule import WARM_UP, one_cycle, through_points
from gpot.training.gp import GPModule
from gpot.training.schedule import adam, penalty_weight
from gpot.training.vae import weights_at


@pytest.mark.parametrize("epochs", [6, 10, 200, 2000, 2001])
def test_five_halvings_at_equal_intervals(epochs: int) -> None:
    weights = [penalty_weight(5e-4, 5, epoch, epochs) for epoch in range(epochs)]
    # halving k (of 5, at the ends of the first five of six plateaus) has happened once epoch / epochs >= k / 6
    expected = [5e-4 * 0.5 ** sum(6 * epoch >= k * epochs for k in range(1, 6)) for epoch in range(epochs)]
    assert weights == expected  # powers of 2: exact
    lengths = Counter(weights)
    assert sorted(lengths, reverse=True) == [5e-4 * 0.5**k for k in range(6)]
    assert max(lengths.values()) - min(lengths.values()) <= 1
    if epochs % 6 == 0:
        assert set(lengths.values()) == {epochs // 6}


def test_lambda_without_halvings_is_constant_and_never_below_the_last_plateau() -> None:
    assert {penalty_weight(0.3, 0, epoch, 7) for epoch in range(7)} == {0.3}
    assert penalty_weight(1.0, 5, 6, 6) == penalty_weight(1.0, 5, 60, 6) == 2**-5
    assert [penalty_weight(1.0, 5, epoch, 2) for epoch in range(2)] == [1.0, 2**-3]  # fewer epochs than plateaus


def test_a_ceiling_caps_each_weight_of_the_divergence_and_an_empty_one_none() -> None:
    config = compose("train_vae", ["budget=smoke", "vae.pressure_start=4", "vae.pressure_steps=2"]).vae
    assert config is not None and (config.alpha, config.beta, config.gamma) == (1.0, 6.4, 1.0)
    config = dataclasses.replace(config, ceiling={})
    assert weights_at(1, config) == pytest.approx((2.0, 12.8, 2.0))  # the pressure at the first of its two steps
    assert weights_at(2, config) == (1.0, 6.4, 1.0)
    relieved = dataclasses.replace(config, ceiling={10: 6.4, 20: 0.1, 30: 0.1, 40: 6.4})
    assert weights_at(10, relieved) == weights_at(40, relieved) == weights_at(10**6, relieved) == (1.0, 6.4, 1.0)
    assert weights_at(20, relieved) == weights_at(25, relieved) == (0.1, 0.1, 0.1)
    assert weights_at(35, relieved) == pytest.approx((1.0, 3.25, 1.0))  # half-way up: only beta is above
    assert weights_at(1, relieved) == pytest.approx((2.0, 6.4, 2.0))  # after the pressure


@pytest.mark.parametrize("steps", [1, 2, 20, 100, 1777])
def test_one_cycle_rises_once_to_one_and_falls_to_zero(steps: int) -> None:
    factors = [one_cycle(step, steps) for step in range(steps)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert one_cycle(steps, steps) == one_cycle(10 * steps, steps) == pytest.approx(0, abs=1e-12)  # past the end
    if steps < 20:
        return
    peak = factors.index(max(factors))
    assert abs(peak + 1 - WARM_UP * steps) <= 1
    # neighbours of the peak are 1 / warm-up steps apart before it, and flat after it
    assert max(factors) >= 1 - 1 / (WARM_UP * steps)
    assert factors[: peak + 1] == sorted(factors[: peak + 1]) and factors[peak:] == sorted(factors[peak:], reverse=True)
    assert factors[0] == pytest.approx(1 / (WARM_UP * steps))
    assert factors[-1] == pytest.approx(0, abs=1e-12)
    # 1 - cos is at most half the square of its angle
    assert factors[-2] <= (torch.pi / ((1 - WARM_UP) * steps)) ** 2 / 4 * (1 + 1e-9)


def test_one_cycle_is_linear_and_then_half_a_cosine() -> None:
    steps = 1000
    rise = round(WARM_UP * steps)
    assert rise == pytest.approx(WARM_UP * steps), "the warm-up is whole steps here"
    assert [one_cycle(step, steps) for step in range(rise)] == pytest.approx([(k + 1) / rise for k in range(rise)])
    assert one_cycle(rise - 1, steps) == pytest.approx(1.0)
    # the middle of the fall is one half, to half a step of the steepest slope
    middle = (rise + steps) // 2 - 1
    assert one_cycle(middle, steps) == pytest.approx(0.5, abs=torch.pi / 2 / (steps - rise))


@pytest.mark.parametrize("schedule", [Schedule.constant, Schedule.one_cycle])
def test_adam_follows_the_schedule_step_by_step(schedule: Schedule) -> None:
    parameter = torch.nn.Parameter(torch.zeros(3, dtype=torch.float64))
    made = adam([parameter], OptimizerConfig(0.25, schedule, weight_decay=0.125, gradient_clip=None), steps=40)
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]  # type: ignore[index]
    assert made["lr_scheduler"]["interval"] == "step"  # type: ignore[index]
    assert optimizer.param_groups[0]["weight_decay"] == 0.125  # type: ignore[attr-defined]
    rates = []
    for _ in range(40):
        rates.append(optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
        optimizer.step()  # type: ignore[attr-defined]
        scheduler.step()
    factors = [1.0] * 40 if schedule is Schedule.constant else [one_cycle(step, 40) for step in range(40)]
    assert rates == [0.25 * factor for factor in factors]


@pytest.mark.parametrize("gp", [GaussianPreservingFlow("ridge", dim=3), TwistFlow(3, 2, 4)])
def test_muon_of_a_gp_flow_follows_the_schedule(gp: GaussianPreserving) -> None:
    config = OptimizerConfig(0.25, Schedule.one_cycle, 0.0, None)
    penalty = PenaltyConfig("none", PenaltyKind.none, 0.0, 0, 1, False, PenaltyTime.sum, None)
    made = GPModule(gp, penalty, config, epochs=1, steps=40, descent=Descent.muon).configure_optimizers()
    optimizer, scheduler = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert isinstance(optimizer, Muon)
    assert {id(p) for group in optimizer.param_groups for p in group["params"]} == {id(p) for p in gp.parameters()}
    for step in range(3):
        before = [parameter.detach().clone() for parameter in gp.parameters()]
        assert {group["lr"] for group in optimizer.param_groups} == {0.25 * one_cycle(step, 40)}
        gp.transport(torch.randn(5, 3)).square().sum().backward()
        optimizer.step()
        scheduler.step()
        assert not all(torch.equal(*pair) for pair in zip(before, gp.parameters(), strict=True))


def test_adam_goes_through_given_points_also_after_a_resumption() -> None:
    points = {0: 0.0, 4: 1.0, 10: 0.5}
    config = OptimizerConfig(2e-3, Schedule.points, weight_decay=0.0, gradient_clip=None, points=points)
    rates: list[float] = []
    state: dict[str, object] = {}
    for steps in (6, 7):  # the second goes on from the first
        found = adam([torch.zeros(1, requires_grad=True)], config, steps)
        optimizer, scheduler = found["optimizer"], found["lr_scheduler"]["scheduler"]  # type: ignore[index]
        if state:
            scheduler.load_state_dict(state)
            optimizer.param_groups[0]["lr"] = scheduler.get_last_lr()[0]  # type: ignore[attr-defined]
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])  # type: ignore[attr-defined]
            optimizer.step()  # type: ignore[attr-defined]
            scheduler.step()
        state = scheduler.state_dict()
    assert rates == pytest.approx([2e-3 * through_points(step, points) for step in range(13)])
    assert rates[3] == 2e-3 and rates[9] == rates[-1] == 1e-3  # a peak on its point, and constant after the last
