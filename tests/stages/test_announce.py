"""What is said before trainings start: each of them, and how long it takes here."""

from __future__ import annotations

import copy
import logging
import re
from pathlib import Path

import pytest
import torch

from gpot.config import compose
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import Workshop, open_workshop
from gpot.training.pace import pace
from gpot.training.vae import VAEModule
from third_party.btcvae import BetaTCVAE

SMALL = ["budget=smoke", "models=toy", "pretrained=null"]


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "gpot.stages.stage"]


def test_each_training_is_said_once_with_its_steps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = f"paths.artifacts={tmp_path / 'artifacts'}"
    config = compose("train_gp", [*SMALL, "upstream=make", "penalty=none", folder])
    workshop = open_workshop(config)
    state = torch.get_rng_state()
    with caplog.at_level(logging.INFO):
        workshop.announce([Pipeline(config).gp, Pipeline(config).gp])
    first, *each, together = lines(caplog)
    assert first.startswith("3 trainings") and together.strip().startswith("together about")
    found = [re.fullmatch(r"  (\w+) dsprites .*: (\d+) steps, about [\d.]+ (s|min)", line) for line in each]
    # passes over 6,000 images in batches of 64, over 80 % of their codes in 256, over 4,096 pairs in 512
    assert [(m[1], int(m[2])) for m in found if m] == [("vae", 93), ("flow", 2 * 18), ("gp", 2 * 8)]
    assert torch.equal(torch.get_rng_state(), state) and not (tmp_path / "artifacts").exists(), "nothing has started"
    caplog.clear()
    with caplog.at_level(logging.INFO):
        workshop.announce([Pipeline(config).gp])
    assert lines(caplog) == []


def test_nothing_is_said_where_one_training_is_left(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The frozen models are released; and under `upstream=require` no more than one is trained."""
    folder = f"paths.artifacts={tmp_path / 'artifacts'}"
    with caplog.at_level(logging.INFO):
        for options in (["upstream=make"], ["pretrained=null"]):
            config = compose("train_gp", ["dataset=two_moons", "seed=1234", "gp.epochs=7", *options, folder])
            open_workshop(config).announce([Pipeline(config).gp])
    assert lines(caplog) == []


def test_hours_are_said_with_emphasis(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = f"paths.artifacts={tmp_path / 'artifacts'}"
    config = compose("train_gp", [*SMALL, "upstream=make", "dataset=two_moons", "flow.epochs=10000000", folder])
    workshop: Workshop = open_workshop(config)
    with caplog.at_level(logging.INFO):
        workshop.announce([Pipeline(config).gp])
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == 1 and "pretrained=pretrained" in warned[0] and "models=toy" in warned[0]


def test_timing_leaves_the_training_as_it_was() -> None:
    config = compose("train_vae", ["budget=smoke"])
    assert config.vae is not None
    module = VAEModule(BetaTCVAE(32, 1, 10), config.vae, config.optimizer.vae, 100, 1000)
    before, state = copy.deepcopy(module.state_dict()), torch.get_rng_state()
    timed = pace(module, [(torch.ones(4, 1, 32, 32),)] * 3, 1000)
    assert timed.steps == 1000 and timed.total == pytest.approx(1000 * timed.seconds) and timed.seconds > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(module.state_dict()[name], value) for name, value in before.items())
    assert all(p.grad is None for p in module.parameters())
