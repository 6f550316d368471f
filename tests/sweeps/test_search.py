"""A search goes on with its study: nothing is proposed twice, a killed trial is done again, a failed one is kept."""

from __future__ import annotations

import copy
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import update

from gpot.config import Config, compose
from gpot.config.schema import RangeConfig
from gpot.errors import BadConfig, FidelityLost
from gpot.sweeps import search as stage
from gpot.sweeps.search import open_study, search_stage, summary

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::optuna.exceptions.ExperimentalWarning")


def config(folder: Path, trials: int, *more: str) -> Config:
    options = ["dataset=two_moons", "budget=smoke", "gp=toy_ridge", "penalty=none", f"search.folder={folder}"]
    return compose("search", [*options, f"search.trials={trials}", *more])


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int]]:
    """Stage `gp` replaced by a formula: the cost is lowest at a learning rate of 1e-2; what it was asked for."""
    asked: list[tuple[float, int]] = []
    composed: list[Config] = []

    def quickly(root: str, overrides: list[str]) -> Config:
        """The first is composed in earnest, with the options that a trial proposes; the others are changed copies."""
        if not composed:
            composed.append(compose(root, overrides))
        changed = copy.deepcopy(composed[0])
        given = dict(override.split("=", 1) for override in overrides if "{" not in override)
        changed.optimizer.gp.lr = float(given.get("optimizer.gp.lr", changed.optimizer.gp.lr))
        changed.gp.family.width = int(given.get("gp.family.width", changed.gp.family.width))
        return changed

    monkeypatch.setattr(stage, "compose", quickly)

    def result(config: Config) -> Any:
        lr, width = config.optimizer.gp.lr, config.gp.family.width
        asked.append((lr, width))
        if width == 32:
            raise FidelityLost("too narrow")
        return SimpleNamespace(key=f"{lr}", manifest={"metrics": {"val/cost": (lr - 1e-2) ** 2, "stopped": None}})

    monkeypatch.setattr(stage, "Pipeline", lambda config: SimpleNamespace(gp=result(config)))
    return asked


class Immediate:
    """A workshop whose stages are their own results."""

    def make(self, stage: Any) -> Any:
        return stage


WORKSHOP: Any = Immediate()


def study_of(config: Config) -> optuna.Study:
    assert config.search is not None
    return open_study(config.search, config.typed, config.seed)


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def test_the_same_command_goes_on_with_its_study(tmp_path: Path, trained: list[Any]) -> None:
    first, _ = search_stage(config(tmp_path, 5), WORKSHOP)
    assert len(first.trials) == 5 and (tmp_path / "gp.db").is_file()
    asked = len(trained)
    search_stage(config(tmp_path, 5), WORKSHOP)
    assert len(trained) == asked + 1, "all is done: only the best is looked up"
    more, best = search_stage(config(tmp_path, 9), WORKSHOP)
    assert more.study_name == first.study_name and len(more.trials) == 9
    rates = [trial.params["optimizer.gp.lr"] for trial in more.trials]
    assert len(set(rates)) == 9, "a resumed study does not draw its first trials again"
    assert all(1e-3 <= rate <= 1e-1 for rate in rates)
    told = summary(more, best)
    assert told["best"] == min(t.value for t in more.trials if t.value is not None) and told["artifact"] == best.key
    assert told["failed"] == sum(trial.params["gp.family.width"] == 32 for trial in more.trials)
    other = study_of(config(tmp_path, 5, "seed=7"))
    assert other.study_name != more.study_name and not other.trials, "another question has another study"


def test_a_failed_trial_is_kept_with_its_reason(tmp_path: Path, trained: list[Any]) -> None:
    only = ["search.space={gp.family.width: {choices: [32, 64]}}"]
    study, _ = search_stage(config(tmp_path, 8, *only), WORKSHOP)
    failed = [trial for trial in study.trials if trial.state is TrialState.FAIL]
    assert len(study.trials) == 8 and 0 < len(failed) < 8
    assert {trial.user_attrs["error"] for trial in failed} == {"FidelityLost: too narrow"}
    with pytest.raises(BadConfig, match=r"none of the 2 trials ended well: FidelityLost: too narrow"):
        search_stage(config(tmp_path, 2, "search.space={gp.family.width: {choices: [32]}}"), WORKSHOP)


def test_a_killed_trial_is_done_again(tmp_path: Path, trained: list[Any]) -> None:
    asked = config(tmp_path, 3)
    study = study_of(asked)
    killed = study.ask()
    rate = killed.suggest_float("optimizer.gp.lr", 1e-3, 1e-1, log=True)
    killed.suggest_categorical("gp.family.width", [32, 64, 128, 256])
    storage: Any = study._storage
    backend = getattr(storage, "_backend", storage)
    backend.record_heartbeat(killed._trial_id)
    from optuna.storages._rdb import models

    with backend.engine.begin() as connection:  # its last sign of life was an hour ago
        connection.execute(update(models.TrialHeartbeatModel).values(heartbeat=datetime.now() - timedelta(hours=1)))
    done, _ = search_stage(asked, WORKSHOP)
    assert states(done)[0] == "FAIL" and "error" not in done.trials[0].user_attrs
    again = [trial for trial in done.trials[1:] if trial.params["optimizer.gp.lr"] == rate]
    assert len(again) == 1 and len(done.trials) == 4, "three that count, and the one that was killed"


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (RangeConfig(low=1), "either choices, or low and high"),
        (RangeConfig(low=1, high=2, choices=[1]), "either choices, or low and high"),
        (RangeConfig(low=2, high=1), "low <= high"),
    ],
)
def test_a_range_without_values_says_so(values: RangeConfig, said: str, tmp_path: Path) -> None:
    asked = config(tmp_path, 2)
    assert asked.search is not None
    asked.search.space["gp.n_steps"] = values
    with pytest.raises(BadConfig, match=rf"search\.space\.gp\.n_steps.*{said}"):
        search_stage(asked, WORKSHOP)


def test_a_metric_that_is_not_there_says_so(tmp_path: Path, trained: list[Any]) -> None:
    with pytest.raises(BadConfig, match=r"a number in the manifest of the GP flow, got 'cost'.*val/cost"):
        search_stage(config(tmp_path, 2, "search.metric=cost"), WORKSHOP)
