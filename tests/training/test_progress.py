"""Progress: a bar with the time left, cost and escaped particles in a terminal; plain lines elsewhere."""

from __future__ import annotations

import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from rich.console import Console

from gpot.config import Config, compose
from gpot.config.choices import Schedule
from gpot.config.schema import OptimizerConfig
from gpot.data.datamodule import ArrayDataModule
from gpot.errors import TrainingDiverged
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from gpot.training import fit as fit_module
from gpot.training import progress
from gpot.training.callbacks import FidelityGuard
from gpot.training.fit import fit
from gpot.training.gp import GPModule
from gpot.training.progress import EpochLines, ProgressLine, numbers, progress_callback

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")  # all but tab and newline
EPOCHS = 6


@pytest.fixture(scope="module")
def config() -> Config:
    return compose("train_gp", ["budget=smoke", "penalty=none"])


@pytest.fixture
def plain_log() -> Iterator[io.StringIO]:
    """The root logger as the scripts have it, into a text."""
    text = io.StringIO()
    handler, root = logging.StreamHandler(text), logging.getLogger()
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield text
    root.removeHandler(handler)
    root.setLevel(level)


def train(config: Config, work: Path, *callbacks: Callback) -> None:
    x, z = torch.randn(2, 64, 2, generator=torch.Generator().manual_seed(0))
    gp = GaussianPreservingFlow(RidgeVelocity(2, width=4), Chart.direct, 2)
    optimizer = OptimizerConfig(1e-3, Schedule.constant, 0.0, None)
    guard = FidelityGuard(gp, z[:16], 1e-2, 8)
    data = ArrayDataModule((x, z), (x[:16], z[:16]), batch_size=16, n_batches=4, seed=0)
    module = GPModule(gp, config.penalty, optimizer, EPOCHS, 4 * EPOCHS)
    fit(
        module, data, config.device, seed=config.seed, epochs=EPOCHS, work=work, name="gp",
        optimizer=optimizer, callbacks=[guard, *callbacks],
    )  # fmt: skip


class Says(Callback):
    """A log line, a print and a warning in the middle of the run."""

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if trainer.current_epoch == 2:
            logging.getLogger("gpot.test").info("a line of the log")


def in_terminal(monkeypatch: pytest.MonkeyPatch, text: io.StringIO) -> None:
    console = Console(file=text, force_terminal=True, width=160, legacy_windows=False)
    monkeypatch.setattr(fit_module, "progress_callback", lambda name: progress_callback(name, console))


def shown(text: str) -> list[str]:
    """Lines of a terminal's output without colours and movements."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text))


def test_without_a_terminal_there_are_plain_lines(
    config: Config, tmp_path: Path, plain_log: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    train(config, tmp_path)
    out, err = capfd.readouterr()
    lines = [line for line in plain_log.getvalue().splitlines() if "epoch" in line]
    assert len(lines) == EPOCHS
    for epoch, line in enumerate(lines, 1):
        assert re.fullmatch(
            rf"gp: epoch {epoch}/{EPOCHS}  cost \d\.\d+  log-det error \d\S*  escaped 0  ETA \d+ s", line
        ), line
    assert not CONTROL.search(out + err + plain_log.getvalue()) and out == ""


def test_lines_are_few_in_a_long_run_and_never_far_apart(
    monkeypatch: pytest.MonkeyPatch, plain_log: io.StringIO
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])

    class Trainer:
        max_epochs, current_epoch, is_global_zero = 100, 0, True
        callback_metrics: dict[str, Any] = {"val/nll": torch.tensor(2.5)}  # noqa: RUF012

    def run(seconds: float) -> list[str]:
        plain_log.truncate(0)
        trainer, lines = Trainer(), EpochLines("flow")
        trainer.current_epoch = 40  # resumed there
        lines.on_train_start(trainer, None)  # type: ignore[arg-type]
        for epoch in range(40, 100):
            clock[0] += seconds
            trainer.current_epoch = epoch
            lines.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
        return plain_log.getvalue().strip("\x00\n").splitlines()

    quick = run(1.0)
    assert [line.split()[2] for line in quick] == [f"{epoch}/100" for epoch in range(50, 101, 10)]
    assert quick[0] == "flow: epoch 50/100  NLL 2.5  ETA 50 s", "by the speed of this process alone"
    slow = run(301.0)
    assert len(slow) == 30 and slow[0].endswith("ETA 4.8 h")


def test_a_terminal_has_a_bar_with_the_time_left_cost_and_escaped(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    text = io.StringIO()
    in_terminal(monkeypatch, text)
    monkeypatch.setattr(progress, "_REFRESH", 0.0)
    update = progress.Progress.update  # which leaves it to a clock when to draw
    monkeypatch.setattr(progress.Progress, "update", lambda *of, **fields: update(*of, **(fields | {"refresh": True})))
    train(config, tmp_path)
    last = [line for line in shown(text.getvalue()) if line.strip()][-1]
    assert re.search(rf"gp .*epoch {EPOCHS}/{EPOCHS} 0:00:\d\d ETA 0:00:00 loss \d\S*  cost \d\S*", last), last
    assert re.search(r"log-det error \S+  escaped 0", last)
    assert "epoch 2/6" in text.getvalue() and capfd.readouterr().out == ""


def test_log_lines_go_above_the_bar(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    in_terminal(monkeypatch, text)
    root = logging.getLogger()
    handler, level = logging.StreamHandler(text), root.level  # as the scripts' handler: it holds the terminal itself
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    before = sys.stderr
    try:
        train(config, tmp_path, Says())
        assert handler.stream is text and sys.stderr is before
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert [line.strip() for line in shown(text.getvalue())].count("a line of the log") == 1


def test_a_failed_run_gives_the_terminal_back(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Fails(Callback):
        def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
            raise TrainingDiverged("here")

    text, before = io.StringIO(), sys.stderr
    in_terminal(monkeypatch, text)
    with pytest.raises(TrainingDiverged):
        train(config, tmp_path, Fails())
    assert sys.stderr is before and text.getvalue().rstrip("\n").endswith("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize(("terminal", "kind"), [("xterm", ProgressLine), ("dumb", EpochLines)])
def test_a_terminal_without_cursor_gets_lines(
    terminal: str, kind: type[Callback], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", terminal)
    console = Console(file=io.StringIO(), force_terminal=True, _environ={"TERM": terminal})
    assert type(progress_callback("gp", console)) is kind
    assert type(progress_callback("gp", Console(file=io.StringIO()))) is EpochLines


def test_the_loss_of_training_is_shown_until_there_is_a_validation() -> None:
    assert numbers({"train/nll": torch.tensor(3.25)}) == "NLL 3.25"
    assert numbers({"train/cost": 1.0, "val/cost": 1.23456, "domain/escaped": 2.0}) == "cost 1.235  escaped 2"
    assert numbers({}) == ""
