"""Callbacks: the Gaussian is kept, the best validation, numbers that are not finite, and seeds and checkpoints."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gpot.config.advice import options
from gpot.errors import FidelityLost, TrainingDiverged
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from gpot.training.callbacks import EpochSeed, FidelityGuard, KeepBest, StopWhenNotFinite

STRONG = 0.7  # scale of the weights alpha, beta at which a coarse grid misses the Gaussian by far more than 1e-3 nats


class Module:
    """What the callbacks ask of a LightningModule."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log(self, name: str, value: float) -> None:
        self.logged[name] = value


def trainer(epoch: int = 0, sanity_checking: bool = False, **metrics: float) -> Any:
    values = {name.replace("_", "/"): torch.tensor(value, dtype=torch.float64) for name, value in metrics.items()}
    alone = SimpleNamespace(broadcast=lambda value: value)
    return SimpleNamespace(
        current_epoch=epoch, global_step=10 * epoch, sanity_checking=sanity_checking, callback_metrics=values,
        strategy=alone, global_rank=0, is_global_zero=True,
    )  # fmt: skip


def flow(n_steps: int, scale: float = STRONG, chart: Chart = Chart.direct, **options: Any) -> GaussianPreservingFlow:
    velocity = RidgeVelocity(3, width=16).double()
    with torch.no_grad():
        velocity.alpha.normal_(std=scale)
        velocity.beta.normal_(std=scale)
    return GaussianPreservingFlow(velocity, chart, n_steps, **options)


def points(n: int = 32) -> Tensor:
    return torch.randn(n, 3, dtype=torch.float64)


def mean_error(gp: GaussianPreservingFlow, z: Tensor, n_steps: int) -> float:
    """Mean log-determinant error on another grid, in nats."""
    other = copy.deepcopy(gp)
    other.refine(n_steps)
    return other.log_det_error(z).abs().mean().item()


def validate(guard: FidelityGuard, epoch: int, cost: float) -> dict[str, float]:
    """One validation as Lightning runs it. Returns: what was logged."""
    module = Module()
    now = trainer(epoch, val_cost=cost)
    guard.on_validation_epoch_end(now, module)  # type: ignore[arg-type]
    guard.on_validation_end(now, module)  # type: ignore[arg-type]
    return module.logged


def test_guard_refines_a_coarse_grid_until_the_law_holds_and_keeps_nothing_before() -> None:
    gp, z, tolerance = flow(2), points(), 1e-3
    assert mean_error(gp, z, 2) > 10 * tolerance > 100 * mean_error(gp, z, 64), "a field that 2 steps do not resolve"
    guard = FidelityGuard(gp, z, tolerance, 64)
    grids = []
    for epoch in range(20):
        grid = gp.n_steps
        logged = validate(guard, epoch, cost=float(epoch))  # the cost is lowest where the law is broken most
        grids.append(grid)
        assert logged["val/n_steps"] == grid and logged["domain/escaped"] == 0
        assert logged["val/logdet_error_mean"] == pytest.approx(mean_error(gp, z, grid), rel=1e-6)
        assert logged["val/logdet_error_max"] >= logged["val/logdet_error_mean"]
        kept = bool(guard.weights)
        assert kept == (logged["val/logdet_error_mean"] <= tolerance)
        if kept:
            break
        assert gp.n_steps == grid + max(1, grid // 2)
    assert kept and guard.best_epoch == epoch and guard.best == float(epoch)
    assert guard.refinements == len(grids) - 1 >= 2
    validate(guard, epoch + 1, cost=-1.0)
    assert guard.best == -1.0 and gp.n_steps == grids[-1], "within the law the grid stays, and a lower cost is kept"


def test_guard_never_keeps_a_validation_above_tolerance_however_low_its_cost() -> None:
    fine, z = flow(48), points()
    coarse = mean_error(fine, z, 2)
    guard = FidelityGuard(fine, z, coarse / 10, 64)
    validate(guard, 0, cost=5.0)
    kept = dict(guard.weights)
    fine.refine(2)
    validate(guard, 1, cost=-100.0)
    assert guard.best == 5.0 and guard.best_epoch == 0 and same(guard.weights, kept)
    assert fine.n_steps == 3
    guard.restore()
    assert fine.n_steps == 48, "the grid belongs to the weights that were kept"


@pytest.mark.parametrize("chart", [Chart.direct, Chart.cube])
def test_guard_keeps_no_validation_with_escaped_particles(chart: Chart) -> None:
    # cube: particles cross the wall. direct: the field of such weights grows with z, and 1 step overflows
    gp = flow(1, scale=3.0 if chart is Chart.cube else 1e60, chart=chart, on_escape="count")
    z = points(64)
    escaped = gp.escaped(z)
    assert escaped > 0
    guard = FidelityGuard(gp, z, float("inf"), 8)  # any finite error would pass
    logged = validate(guard, 0, cost=-1.0)
    assert logged["domain/escaped"] == escaped
    assert guard.best_epoch == -1 and not guard.weights and gp.n_steps == 2


def test_guard_keeps_no_particle_that_came_back(monkeypatch: pytest.MonkeyPatch) -> None:
    gp, z = flow(48), points()
    monkeypatch.setattr(gp, "escaped", lambda z: 1)  # outside on the way and inside at the end: the error is finite
    guard = FidelityGuard(gp, z, 1.0, 64)
    assert validate(guard, 0, cost=-1.0)["val/logdet_error_mean"] < 1e-3
    assert guard.best_epoch == -1 and gp.n_steps > 48


def test_guard_stops_at_the_finest_grid_and_says_what_to_type() -> None:
    gp, z = flow(2), points()
    guard = FidelityGuard(gp, z, 1e-12, 4)
    validate(guard, 0, cost=1.0)
    validate(guard, 1, cost=1.0)
    assert gp.n_steps == 4, "3 + 1"
    with pytest.raises(FidelityLost) as caught:
        validate(guard, 7, cost=1.0)
    message = str(caught.value)
    found, asked = ("epoch 7", "4 steps", "1.0e-12"), ("max_steps=4", 'chart="gaussian"', "learning rate")
    for part in (*found, *asked, "accept less with tolerance"):
        assert part in message
    typed = "gp.max_steps=..., gp.chart=gaussian, optimizer.gp.lr=..., gp.logdet_tolerance=..."
    assert options(caught.value) == f"On the command line: {typed}"
    assert guard.best_epoch == -1
    with pytest.raises(FidelityLost, match=r"refined 2 times.*n_steps=4"):
        guard.restore()


def test_the_last_refinement_stops_at_max_steps() -> None:
    gp = flow(4)
    validate(FidelityGuard(gp, points(), 1e-12, 5), 0, cost=1.0)
    assert gp.n_steps == 5, "4 + 4 // 2 = 6 is above gp.max_steps"


def test_guard_survives_a_checkpoint(tmp_path: Path) -> None:
    gp, z = flow(2), points()
    guard = FidelityGuard(gp, z, 1e-2, 64)
    epoch = 0
    while guard.best_epoch < 0:
        validate(guard, epoch, cost=3.0)
        epoch += 1
    torch.save({"flow": gp.state_dict(), "guard": guard.state_dict()}, tmp_path / "state")
    state = torch.load(tmp_path / "state", weights_only=True)  # as Lightning reads a checkpoint by default

    resumed = flow(2)
    resumed.load_state_dict(state["flow"])
    again = FidelityGuard(resumed, z, 1e-2, 64)
    again.load_state_dict(state["guard"])
    assert resumed.n_steps == gp.n_steps > 2
    assert (again.best, again.best_epoch, again.refinements) == (3.0, guard.best_epoch, guard.refinements)
    before = dict(again.weights)
    assert same(before, guard.weights)
    validate(again, epoch, cost=3.5)
    assert same(again.weights, before), "worse than the best before the checkpoint"
    validate(again, epoch + 1, cost=2.5)
    assert again.best == 2.5


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def fill(network: nn.Linear, value: float) -> None:
    with torch.no_grad():
        network.weight.fill_(value)


def test_keep_best_keeps_the_lowest_and_restores_it() -> None:
    network = nn.Linear(2, 2).double()
    keep = KeepBest("val/nll", network)
    for epoch, value in enumerate([3.0, float("nan"), -1.0, 2.0, float("inf"), -1.0]):
        fill(network, 10.0 + epoch)
        keep.on_validation_end(trainer(epoch, val_nll=value), Module())  # type: ignore[arg-type]
    keep.on_validation_end(trainer(6, sanity_checking=True, val_nll=-9.0), Module())  # type: ignore[arg-type]
    assert (keep.best, keep.best_epoch) == (-1.0, 2), "the first of two equal ones"
    keep.restore()
    assert torch.equal(network.weight, torch.full((2, 2), 12.0, dtype=torch.float64))

    again = KeepBest("val/nll", network)
    again.load_state_dict(keep.state_dict())
    fill(network, 0.0)
    again.on_validation_end(trainer(7, val_nll=0.0), Module())  # type: ignore[arg-type]
    again.restore()
    assert torch.equal(network.weight, torch.full((2, 2), 12.0, dtype=torch.float64))


def test_nothing_kept_is_an_error_that_says_so() -> None:
    keep = KeepBest("val/nll", nn.Linear(2, 2))
    keep.on_validation_end(trainer(0, val_nll=float("nan")), Module())  # type: ignore[arg-type]
    with pytest.raises(TrainingDiverged, match=r"val/nll.*optimizer\.\*\.lr"):
        keep.restore()


@pytest.mark.parametrize("wrap", [lambda loss: {"loss": loss}, lambda loss: loss])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_stop_when_not_finite(wrap: Callable[[Tensor], Any], value: float) -> None:
    stop = StopWhenNotFinite()
    stop.on_train_batch_end(trainer(4), Module(), wrap(torch.tensor(1e30)), None, 0)  # type: ignore[arg-type]
    with pytest.raises(TrainingDiverged, match=rf"{value} at epoch 4, step 40.*gradient_clip"):
        stop.on_train_batch_end(trainer(4), Module(), wrap(torch.tensor(value)), None, 0)  # type: ignore[arg-type]


def test_epoch_seed_fixes_what_an_epoch_draws_and_nothing_repeats() -> None:
    def draw(seed: int, epoch: int) -> float:
        torch.rand(epoch)  # whatever was drawn before
        EpochSeed(seed).on_train_batch_start(trainer(epoch), Module(), None, 0)  # type: ignore[arg-type]
        first = torch.rand((), dtype=torch.float64).item()
        EpochSeed(seed).on_train_batch_start(trainer(epoch), Module(), None, 1)  # type: ignore[arg-type]
        assert torch.rand((), dtype=torch.float64).item() != first, "the later steps of an epoch draw on"
        return first

    draws = {(seed, epoch): draw(seed, epoch) for seed in (0, 1, 1234) for epoch in range(20)}
    assert len(set(draws.values())) == len(draws)
    assert all(draw(*of) == value for of, value in draws.items())
