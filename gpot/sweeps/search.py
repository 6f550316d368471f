"""Search for hyper-parameters of the GP flow: Optuna proposes, stage `gp` trains, a study in a database remembers.

The study's name follows from all that was asked but the number of trials, so that the same command goes on with it,
with more trials if more are asked for. Several processes may work on one study. Trials are compared by a metric of
validation; held-out points are for the one that won.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, Trial, TrialState

from gpot.config import Config, compose
from gpot.config.plain import plain
from gpot.config.schema import RangeConfig, SearchConfig
from gpot.errors import BadConfig, GpotError
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import Workshop
from gpot.store import Artifact
from gpot.sweeps.jobs import settings_of

log = logging.getLogger(__name__)

BEAT, PATIENCE = 2, 10  # seconds between signs of life of a trial, and without one until it counts as killed
_OURS = "error"  # attribute of a trial that failed by itself, and was not killed


def search_stage(config: Config, workshop: Workshop) -> tuple[optuna.Study, Artifact]:
    """Run what is missing of the study's trials. Returns: the study, and the GP flow of its best trial.

    A trial that a GpotError ends has failed and counts; one whose process was killed is done again, from its last
    checkpoint. Raises: BadConfig for a space that cannot be searched, or if no trial ended well.
    """
    search = space_of(config.search)
    study = open_study(search, config.typed, config.seed)

    def objective(trial: Trial) -> float:
        overrides = [f"{name}={suggest(trial, name, values)}" for name, values in search.space.items()]
        trial.set_user_attr("overrides", overrides)
        try:
            artifact = workshop.make(Pipeline(compose("search", [*config.typed, *overrides])).gp)
            metrics = artifact.manifest["metrics"]
            if not isinstance(metrics.get(search.metric), int | float):
                raise BadConfig(
                    f"search.metric must be a number in the manifest of the GP flow, got '{search.metric}'. Those are: "
                    f"{', '.join(name for name, value in metrics.items() if isinstance(value, int | float))}."
                )
        except GpotError as error:
            trial.set_user_attr(_OURS, f"{type(error).__name__}: {error}")
            log.error("trial %d failed: %s\n%s", trial.number, " ".join(overrides), error)
            raise
        trial.set_user_attr("artifact", artifact.key)
        return float(metrics[search.metric])

    while not _finished(study, search.trials):
        study.optimize(objective, n_trials=1, catch=(GpotError,))
        last = study.trials[-1]
        if last.value is not None:
            log.info("trial %d of %d: %s %.4g (best %.4g)", last.number + 1, search.trials, search.metric, last.value,
                     study.best_value)  # fmt: skip
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        errors = {trial.user_attrs.get(_OURS) for trial in study.trials}
        raise BadConfig(f"none of the {len(study.trials)} trials ended well: {'; '.join(sorted(map(str, errors)))}")
    best = compose("search", [*config.typed, *study.best_trial.user_attrs["overrides"]])
    return study, workshop.make(Pipeline(best).gp)


def space_of(search: SearchConfig | None) -> SearchConfig:
    """The `search` group.  Raises: BadConfig if there is none, or a range has no values."""
    if search is None:
        raise BadConfig(
            "a search needs a space, and search is null. Type search=gp, or write a file in configs/search."
        )
    for name, values in search.space.items():
        ways = values.choices is not None, values.low is not None and values.high is not None
        if ways.count(True) != 1 or (values.low is not None and values.high is not None and values.low > values.high):
            raise BadConfig(
                f"search.space.{name} needs either choices, or low and high with low <= high; got {plain(values)}."
            )
    return search


def open_study(search: SearchConfig, typed: Sequence[str], seed: int) -> optuna.Study:
    """The study of what was asked for, new or gone on with, in the database `<search.folder>/<search.name>.db`."""
    question = {k: v for k, v in settings_of(typed).items() if k not in ("search.trials", "search.folder")}
    what = {"asked": question, "space": plain(search.space), "metric": search.metric}
    name = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = Path(search.folder)
    folder.mkdir(parents=True, exist_ok=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # signs of life are called experimental
        storage = RDBStorage(
            f"sqlite:///{folder / search.name}.db", heartbeat_interval=BEAT, grace_period=PATIENCE,
            heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(),
        )  # fmt: skip
    study = optuna.create_study(study_name=name, storage=storage, direction="minimize", load_if_exists=True)
    # a resumed study must not draw its first trials again
    drawn = np.random.SeedSequence([seed, len(study.trials)]).generate_state(1)[0]
    study.sampler = optuna.samplers.TPESampler(seed=int(drawn))
    study.set_user_attr("asked", question)
    return study


def suggest(trial: Trial, name: str, values: RangeConfig) -> Any:
    """A value of an option, as it is typed."""
    if values.choices is not None:
        return trial.suggest_categorical(name, [_plain_choice(choice) for choice in values.choices])
    assert values.low is not None and values.high is not None
    if values.integer:
        return trial.suggest_int(name, int(values.low), int(values.high), log=values.log)
    return trial.suggest_float(name, values.low, values.high, log=values.log)


def _plain_choice(choice: Any) -> Any:
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


def _finished(study: optuna.Study, n_trials: int) -> bool:
    """Whether the study has its trials; waits while those that are missing run in other processes."""
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fail_stale_trials(study)
        trials = study.get_trials(deepcopy=False)
        ended = sum(_counts(trial) for trial in trials)
        if ended >= n_trials:
            return True
        if ended + sum(trial.state is TrialState.RUNNING for trial in trials) < n_trials:
            return False
        time.sleep(BEAT)


def _counts(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.COMPLETE or (trial.state is TrialState.FAIL and _OURS in trial.user_attrs)


def summary(study: optuna.Study, artifact: Artifact) -> Mapping[str, Any]:
    """What `scripts/search.py` prints: the best options, their value, and how the trials ended."""
    states = [trial.state for trial in study.trials if _counts(trial)]
    return {
        "study": study.study_name, "trials": len(states), "failed": states.count(TrialState.FAIL),
        "best": study.best_value, "options": study.best_trial.user_attrs["overrides"], "artifact": artifact.key,
    }  # fmt: skip
