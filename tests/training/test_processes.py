"""Two processes that share each batch train as one does, and what they meet reaches the one that started them."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gpot.config import Config, compose
from gpot.config.choices import PenaltyKind, Schedule
from gpot.config.schema import OptimizerConfig
from gpot.data.datamodule import ArrayDataModule, ShuffledBatches
from gpot.errors import BadConfig, FidelityLost
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from gpot.stages.gp import load_gp
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import open_workshop
from gpot.training.callbacks import FidelityGuard
from gpot.training.fit import fit
from gpot.training.gp import GPModule

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:You are trying to `self.log")


def test_shares_of_a_batch_make_up_the_batch() -> None:
    whole = ShuffledBatches(n_rows=50, batch_size=12, n_batches=9, seed=3)
    shares = [ShuffledBatches(n_rows=50, batch_size=12, n_batches=9, seed=3) for _ in range(3)]
    for rank, share in enumerate(shares):
        share.set_share(rank, 3)
    for batch, *parts in zip(whole, *shares, strict=True):
        assert {len(part) for part in parts} == {4}
        assert torch.equal(torch.stack(parts, dim=1).flatten(), batch), "row i is with process i mod 3"


class Run:
    """A small training in float64: Adam, one cycle, a grid that grows, and a penalty without random probes."""

    def __init__(self, config: Config, work: Path, tolerance: float = 0.2, max_steps: int = 64) -> None:
        draw = torch.Generator().manual_seed(0)
        x, z = torch.randn(2, 60, 3, dtype=torch.float64, generator=draw)
        torch.manual_seed(0)
        velocity = RidgeVelocity(3, width=8).double()
        with torch.no_grad():
            velocity.alpha.normal_()
            velocity.beta.normal_()
        self.gp = GaussianPreservingFlow(velocity, Chart.direct, 2)
        self.optimizer = OptimizerConfig(1e-3, Schedule.one_cycle, weight_decay=1e-3, gradient_clip=1.0)
        penalty = dataclasses.replace(config.penalty, kind=PenaltyKind.kinetic, weight=1e-2, halvings=1, particles=8)
        self.module = GPModule(self.gp, penalty, self.optimizer, 3, 9)
        self.data = ArrayDataModule((x, z), (x[:20], z[:20]), batch_size=16, n_batches=3, seed=3)
        self.guard = FidelityGuard(self.gp, z[:20], tolerance, max_steps)
        self.config, self.work = config, work

    def fit(self) -> dict[str, float]:
        metrics = fit(
            self.module, self.data, self.config.device, seed=self.config.seed,
            epochs=3, work=self.work, name="test", optimizer=self.optimizer, callbacks=[self.guard],
        )  # fmt: skip
        return dict(metrics)

    def weights(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.gp.state_dict().items()}


@pytest.fixture(scope="module")
def one() -> Config:
    return compose("train_gp", ["budget=smoke"])


@pytest.fixture(scope="module")
def two() -> Config:
    return compose("train_gp", ["budget=smoke", "device=ddp", "device.accelerator=cpu"])


def test_two_processes_reach_what_one_reaches(one: Config, two: Config, tmp_path: Path) -> None:
    runs, metrics = [], []
    for config, name in ((one, "one"), (two, "two")):
        (tmp_path / name).mkdir()
        runs.append(Run(config, tmp_path / name))
        metrics.append(runs[-1].fit())
    before = Run(one, tmp_path).weights()
    alone, shared = runs[0].weights(), runs[1].weights()
    assert not torch.equal(alone["velocity.alpha"], before["velocity.alpha"])
    for name, tensor in alone.items():  # the mean of two half batches is that of the batch, but for rounding
        torch.testing.assert_close(shared[name], tensor, rtol=0.0, atol=1e-9)
    assert metrics[1] == pytest.approx(metrics[0], rel=1e-6) and {"train/cost", "val/cost"} <= set(metrics[0])
    assert runs[0].guard.best == pytest.approx(runs[1].guard.best, rel=1e-6)
    assert (runs[0].guard.best_epoch, runs[0].guard.refinements) == (
        runs[1].guard.best_epoch,
        runs[1].guard.refinements,
    )
    assert runs[0].guard.refinements > 0, "the grid was refined in every process"
    assert sorted(p.suffix for p in (tmp_path / "two").iterdir()) == [".ckpt", ".json"]
    runs[1].guard.restore()


def test_what_a_process_raises_is_raised(two: Config, tmp_path: Path) -> None:
    run = Run(two, tmp_path, tolerance=1e-12, max_steps=3)
    with pytest.raises(FidelityLost, match=r"max_steps=3 forbids") as caught:
        run.fit()
    assert caught.value.epoch == 1 and run.guard.refinements == 1 and run.guard.best_epoch == -1  # type: ignore[attr-defined]


def test_a_batch_that_cannot_be_shared_is_refused(two: Config, tmp_path: Path) -> None:
    run = Run(two, tmp_path)
    run.data.sampler.batch_size = 15
    with pytest.raises(BadConfig, match=r"shares each batch among 2 processes.*15 rows"):
        run.fit()
    with pytest.raises(BadConfig, match=r"gp\.batch_size=501 is no multiple.*gp\.batch_size=500"):
        compose("train_gp", ["budget=smoke", "device=ddp", "device.accelerator=cpu", "gp.batch_size=501"])


def test_a_stage_in_two_processes_is_the_same_artefact(tmp_path: Path) -> None:
    """The whole stage: one lock, one artefact under the same key, with the costs that one process finds."""
    found = []
    for device in ("cpu", "ddp"):
        options = ["dataset=two_moons", "budget=smoke", "models=toy", "upstream=make", "gp=toy_ridge", "penalty=none"]
        paths = [f"paths.artifacts={tmp_path / device / 'artifacts'}", f"paths.logs={tmp_path / 'logs'}"]
        where = [f"device={device}", "device.accelerator=cpu"]
        if device == "ddp":  # the same frozen flow for both
            paths.append(f"pretrained={tmp_path / 'upstream'}")
            (tmp_path / "upstream").mkdir()
            for stage in ("points", "flow", "pairs"):
                os.symlink(tmp_path / "cpu" / "artifacts" / stage, tmp_path / "upstream" / stage)
        else:
            paths.append("pretrained=null")
        config = compose("train_gp", [*options, *paths, *where])
        artifact = open_workshop(config).make(Pipeline(config).gp)
        assert load_gp(config.gp, config.dataset.dim, artifact) is not None
        found.append(artifact)
    alone, shared = found
    assert alone.key == shared.key and shared.manifest["device"].endswith("2 processes")
    assert shared.manifest["metrics"]["val/cost"] == pytest.approx(alone.manifest["metrics"]["val/cost"], rel=1e-3)
