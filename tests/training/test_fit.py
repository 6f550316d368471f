"""The training loop: a killed run goes on as if nothing had happened, and a GP flow finds an optimum that is known."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from gpot.config import Config, compose
from gpot.config.choices import PenaltyKind, Schedule
from gpot.config.schema import OptimizerConfig, PenaltyConfig
from gpot.data.datamodule import ArrayDataModule
from gpot.errors import TrainingDiverged
from gpot.evaluation.energy import cube_energy
from gpot.flows.base import FrozenFlow
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.monge import MongeMap
from gpot.gp.rotation import fit_rotation
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from gpot.maths.costs import squared_euclidean
from gpot.maths.schedule import one_cycle
from gpot.maths.transport import gelbrich
from gpot.training.callbacks import FidelityGuard
from gpot.training.checkpoint import last_checkpoint
from gpot.training.fit import fit, validation_interval
from gpot.training.gp import GPModule
from gpot.training.history import HISTORY
from gpot.training.schedule import penalty_weight

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:You are trying to `self.log")

EPOCHS, BATCHES, BATCH = 6, 3, 16


class Killed(BaseException):
    """A process that is gone."""


@pytest.fixture(scope="module")
def config() -> Config:
    return compose("train_gp", ["budget=smoke"])


def penalty(config: Config, kind: PenaltyKind, weight: float = 0.0, halvings: int = 0) -> PenaltyConfig:
    return dataclasses.replace(config.penalty, kind=kind, weight=weight, halvings=halvings, particles=None)


class Recorder(Callback):
    """Every step's epoch, lambda, learning rate and loss; and a chance to end the process at one of them."""

    def __init__(self, at: tuple[int, int] | None = None, end: Callable[[], None] | None = None) -> None:
        self.at, self.end = at, end
        self.steps: list[tuple[int, float, float, float]] = []

    def on_train_batch_start(self, trainer: L.Trainer, module: L.LightningModule, batch: Any, index: int) -> None:
        self.rate = trainer.optimizers[0].param_groups[0]["lr"]
        if (trainer.current_epoch, index) == self.at and self.end is not None:
            self.end()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        weight = module.weight  # type: ignore[union-attr]
        self.steps.append((trainer.current_epoch, weight, self.rate, float(outputs["loss"])))  # type: ignore[arg-type]


class Run:
    """A small training with all that must survive: Adam, one cycle, lambda, random probes, a grid that grows."""

    def __init__(self, config: Config, work: Path, seed: int) -> None:
        draw = torch.Generator().manual_seed(0)
        x, z = torch.randn(2, 60, 3, dtype=torch.float64, generator=draw)
        torch.manual_seed(seed)
        velocity = RidgeVelocity(3, width=8).double()
        with torch.no_grad():
            velocity.alpha.normal_()
            velocity.beta.normal_()
        self.gp = GaussianPreservingFlow(velocity, Chart.direct, 2)
        self.optimizer = OptimizerConfig(1e-3, Schedule.one_cycle, weight_decay=1e-3, gradient_clip=1.0)
        self.penalty = penalty(config, PenaltyKind.euler, weight=1e-3, halvings=5)
        self.module = GPModule(self.gp, self.penalty, self.optimizer, EPOCHS, EPOCHS * BATCHES)
        self.data = ArrayDataModule((x, z), (x[:20], z[:20]), batch_size=BATCH, n_batches=BATCHES, seed=3)
        self.guard = FidelityGuard(self.gp, z[:20], 0.2, 64)
        self.config, self.work = config, work

    def fit(self, recorder: Recorder) -> Run:
        fit(
            self.module, self.data, self.config.device, seed=self.config.seed,
            epochs=EPOCHS, work=self.work, name="test", optimizer=self.optimizer, callbacks=[self.guard, recorder],
        )  # fmt: skip
        return self

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.gp.state_dict().items()}


def assert_same_guard(one: FidelityGuard, other: FidelityGuard) -> None:
    assert (one.best, one.best_epoch, one.refinements) == (other.best, other.best_epoch, other.refinements)
    assert same(one.weights, other.weights)


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Recorder, dict[str, Tensor]]:
    """The run that nobody interrupts, its steps, and its last weights."""
    recorder = Recorder()
    run = Run(config, tmp_path_factory.mktemp("whole"), seed=0).fit(recorder)
    return run, recorder, run.weights()


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_learning_rate_and_lambda_follow_their_schedules(whole: tuple[Run, Recorder, dict[str, Tensor]]) -> None:
    run, recorder, _ = whole
    epochs, weights, rates, _ = zip(*recorder.steps, strict=True)
    assert list(epochs) == [epoch for epoch in range(EPOCHS) for _ in range(BATCHES)]
    assert list(weights) == [penalty_weight(1e-3, 5, epoch, EPOCHS) for epoch in epochs]
    assert list(rates) == pytest.approx([1e-3 * one_cycle(step, EPOCHS * BATCHES) for step in range(len(rates))])
    assert run.gp.n_steps > 2 and run.guard.refinements > 0, "the resume tests want a grid that was refined"


def test_two_runs_are_equal_bit_by_bit(
    config: Config, tmp_path: Path, whole: tuple[Run, Recorder, dict[str, Tensor]]
) -> None:
    recorder = Recorder()
    torch.rand(5)
    assert same(Run(config, tmp_path, seed=0).fit(recorder).weights(), whole[2]) and recorder.steps == whole[1].steps


@pytest.fixture
def harmless_sigterm() -> Iterator[None]:
    """Lightning adds its handler to this one; without Lightning's, the signal does nothing instead of ending pytest."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


def kill() -> None:
    raise Killed


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("at", [(0, 1), (4, 2)])
def test_a_killed_run_resumes_to_the_same_weights(
    config: Config, tmp_path: Path, whole: tuple[Run, Recorder, dict[str, Tensor]], at: tuple[int, int]
) -> None:
    _resumes(config, tmp_path, whole, at, kill, Killed)


def test_a_terminated_run_ends_with_an_error_status_and_resumes(
    config: Config, tmp_path: Path, whole: tuple[Run, Recorder, dict[str, Tensor]], harmless_sigterm: None
) -> None:
    status = _resumes(config, tmp_path, whole, (3, 1), terminate, SystemExit)
    assert isinstance(status, SystemExit) and status.code == 128 + signal.SIGTERM


def test_a_run_killed_while_its_checkpoint_is_written_resumes(
    config: Config,
    tmp_path: Path,
    whole: tuple[Run, Recorder, dict[str, Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = L.Trainer.save_checkpoint

    def torn() -> None:
        def half(trainer: L.Trainer, path: Path, *options: Any, **named: Any) -> None:
            save(trainer, path, *options, **named)
            Path(path).write_bytes(Path(path).read_bytes()[:1000])
            monkeypatch.undo()
            raise Killed

        monkeypatch.setattr(L.Trainer, "save_checkpoint", half)

    _resumes(config, tmp_path, whole, (3, 1), torn, Killed, lost=0)


def test_a_checkpoint_is_written_in_its_folder_alone(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes through the system's temporary folder is left there by a kill, and is no move on another disk."""
    monkeypatch.setattr(tempfile, "mkstemp", lambda *_, **__: pytest.fail("a file in the temporary folder"))
    recorder = Recorder((2, 1), kill)
    with pytest.raises(Killed):
        Run(config, tmp_path, seed=0).fit(recorder)
    (kept,) = tmp_path.glob("*.ckpt")
    assert last_checkpoint(tmp_path) == kept


def history(work: Path) -> list[dict[str, float]]:
    found: list[dict[str, float]] = json.loads((work / HISTORY).read_text())
    assert [entry["epoch"] for entry in found] == list(range(EPOCHS))
    assert all({"val/cost", "train/cost", "train/penalty", "penalty/weight"} <= set(entry) for entry in found)
    return found


def _resumes(
    config: Config,
    work: Path,
    whole: tuple[Run, Recorder, dict[str, Tensor]],
    at: tuple[int, int],
    end: Callable[[], None],
    error: type[BaseException],
    lost: int | None = None,
) -> BaseException:
    """End a run at (epoch, batch), resume it from other weights, and compare with the whole one."""
    first, second = Recorder(at, end), Recorder()
    with pytest.raises(error) as caught:
        Run(config, work, seed=0).fit(first)
    resumed = Run(config, work, seed=99).fit(second) if at[0] > 0 else Run(config, work, seed=0).fit(second)
    run, recorder, weights = whole
    finished = at[0] * BATCHES
    assert first.steps[:finished] == recorder.steps[:finished]
    assert second.steps == recorder.steps[finished:], "the epoch that was cut is run again, and no other"
    assert same(resumed.weights(), weights) and resumed.gp.n_steps == run.gp.n_steps
    assert_same_guard(resumed.guard, run.guard)
    assert history(work) == history(run.work), "the course of the training is that of a run that nobody ended"
    return caught.value


def test_a_finished_run_is_not_run_again(
    config: Config, whole: tuple[Run, Recorder, dict[str, Tensor]], tmp_path: Path
) -> None:
    """A kill between the end of the training and the storing of its result."""
    run, _, weights = whole
    recorder = Recorder()
    again = Run(config, run.work, seed=99).fit(recorder)
    assert recorder.steps == [] and same(again.weights(), weights)
    assert_same_guard(again.guard, run.guard)
    assert len(history(run.work)) == EPOCHS
    again.guard.restore()
    assert same(again.weights(), run.guard.weights)


def test_a_loss_that_is_not_finite_stops_the_run(config: Config, tmp_path: Path) -> None:
    run = Run(config, tmp_path, seed=0)
    with torch.no_grad():
        run.gp.velocity.alpha.fill_(1e200)  # type: ignore[union-attr]
    with pytest.raises(TrainingDiverged, match=r"epoch 0, step 1\. .*optimizer\.\*\.lr"):
        run.fit(Recorder())


class Linear(nn.Module):
    """f(x) = A x with A as a parameter: rotation after whitening."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.dim = len(matrix)
        self.matrix = nn.Parameter(matrix)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.T, self.matrix.slogdet().logabsdet.expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return torch.linalg.solve(self.matrix, z.T).T


class Problem:
    """x = C^{1/2} w with w ~ N(0, I), and f = R C^{-1/2}: the Monge map is C^{-1/2}, so s must undo the rotation R.

    The moments of the n samples are exactly 0 and C, so the optimum is Bures' cost without sampling error.
    """

    def __init__(self, dim: int, angle: float, n: int) -> None:
        draw = torch.Generator().manual_seed(1)
        w = torch.randn(n, dim, dtype=torch.float64, generator=draw)
        w = w - w.mean(0)
        w = torch.linalg.solve_triangular(torch.linalg.cholesky(w.T @ w / n), w.T, upper=False).T
        factor = torch.randn(dim, dim, dtype=torch.float64, generator=draw)
        covariance = factor @ factor.T / dim + 0.1 * torch.eye(dim, dtype=torch.float64)
        values, vectors = torch.linalg.eigh(covariance)
        plane = torch.zeros(dim, dim, dtype=torch.float64)
        plane[0, 1], plane[1, 0] = angle, -angle
        self.flow = FrozenFlow(Linear(torch.matrix_exp(plane) @ (vectors / values.sqrt()) @ vectors.T))
        self.x = w @ (vectors * values.sqrt()) @ vectors.T
        self.z = self.flow.transform(self.x)
        zero, eye = torch.zeros(dim, dtype=torch.float64), torch.eye(dim, dtype=torch.float64)
        self.optimum = gelbrich(zero, covariance, zero, eye).item()
        self.start = squared_euclidean(self.x, self.z).mean().item()
        assert self.start > 3 * self.optimum

    def train(
        self, config: Config, work: Path, gp: GaussianPreservingFlow, weight: PenaltyConfig, epochs: int, **options: Any
    ) -> float:
        """Cost of the best validation, after GP training of 8 steps an epoch; gp holds those weights."""
        optimizer = OptimizerConfig(1e-2, Schedule.one_cycle, weight_decay=1e-6, gradient_clip=1.0)
        batch = len(self.x) // 8
        data = ArrayDataModule((self.x, self.z), (self.x, self.z), batch_size=batch, n_batches=8, seed=1)
        module = options.get("module", GPModule)(gp, weight, optimizer, epochs, 8 * epochs)
        guard = FidelityGuard(gp, self.z[:64], 1e-3, 32)
        fit(
            module,
            data,
            config.device,
            seed=config.seed,
            epochs=epochs,
            work=work,
            name="test",
            optimizer=optimizer,
            callbacks=[guard],
        )
        guard.restore()
        return guard.best


@pytest.mark.parametrize("rotation", [True, False])
def test_gp_flow_reaches_the_monge_cost_of_a_linear_map(config: Config, tmp_path: Path, rotation: bool) -> None:
    problem = Problem(dim=3, angle=1.2, n=2048)
    frozen = [p.clone() for p in problem.flow.parameters()]
    gp = GaussianPreservingFlow(RidgeVelocity(3, width=24).double(), Chart.direct, 4)
    if rotation:
        gp.set_rotation(fit_rotation(problem.x, problem.z))
        turned = squared_euclidean(problem.x, problem.z @ gp.rotation.T).mean().item()
        assert turned == pytest.approx(problem.optimum, rel=1e-10), "the best rotation alone is the optimum here"

    class Whole(GPModule):
        """With the frozen flow inside, as in s o f: training must leave it as it is."""

        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.monge = MongeMap(problem.flow, gp)

    cost = problem.train(config, tmp_path, gp, penalty(config, PenaltyKind.none), 10, module=Whole)
    # 2048 samples are not quite Gaussian, so s can gain what is left in them beyond their moments: below 1 %
    assert cost > 0.99 * problem.optimum
    assert problem.start - cost >= (0.9999 if rotation else 0.99) * (problem.start - problem.optimum)
    assert gp.log_det_error(problem.z[:256]).abs().mean() <= 1e-3
    assert squared_euclidean(problem.x, gp.transport(problem.z)).mean().item() == pytest.approx(cost, rel=1e-12)

    after = list(problem.flow.parameters())
    assert all(torch.equal(old, new) for old, new in zip(frozen, after, strict=True))
    assert all(p.grad is None and not p.requires_grad for p in after)
    assert not any(part.training for part in problem.flow.flow.modules())


def test_penalties_lower_the_energy(config: Config, tmp_path: Path) -> None:
    problem = Problem(dim=2, angle=1.2, n=512)
    gains, energies = {}, {}
    weights = {PenaltyKind.none: 0.0, PenaltyKind.euler: 1e-2, PenaltyKind.kinetic: 0.3}
    for kind, weight in weights.items():
        torch.manual_seed(1)
        gp = GaussianPreservingFlow(RidgeVelocity(2, width=12, output_scale=0.3).double(), Chart.gaussian, 3)
        (tmp_path / kind.value).mkdir()
        cost = problem.train(config, tmp_path / kind.value, gp, penalty(config, kind, weight), 5)
        gains[kind] = problem.start - cost
        energies[kind] = cube_energy(gp, 2000, torch.Generator().manual_seed(0)).mean
    for kind in (PenaltyKind.euler, PenaltyKind.kinetic):
        assert energies[kind] < 0.95 * energies[PenaltyKind.none]
        assert gains[kind] > 0.95 * gains[PenaltyKind.none], "a map that does not move has no energy either"


def test_a_run_of_many_epochs_validates_some_200_times_and_last_at_its_end(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for epochs in (*range(1, 1000), 1250, 1600, 2000):
        every = validation_interval(epochs)
        assert epochs % every == 0 and (every == 1 or epochs // every >= 200)
    monkeypatch.setattr("gpot.training.fit._VALIDATIONS", 3)
    epochs, problem = 9, Problem(dim=2, angle=1.2, n=64)
    gp = GaussianPreservingFlow(RidgeVelocity(2, width=2).double(), Chart.direct, 2)
    problem.train(config, tmp_path, gp, penalty(config, PenaltyKind.none), epochs)
    history = json.loads((tmp_path / HISTORY).read_text())
    assert [epoch["epoch"] for epoch in history] == list(range(epochs)) and all(
        "train/cost" in each for each in history
    )
    assert [each["epoch"] for each in history if "val/cost" in each] == [2, 5, 8]
    assert [each["epoch"] for each in history if "domain/escaped" in each] == [2, 5, 8]
