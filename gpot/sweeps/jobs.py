"""Jobs of a sweep: each leaves a record in the sweep's folder, and none takes the others with it.

A record is `<hydra.sweep.dir>/jobs/<id>.json`. Its name follows from what was asked, so that the same command run again
writes the same records, wherever and in whatever order the jobs run. Results themselves are artefacts, and a record
holds their keys: `scripts/sweep_summary.py` needs nothing else.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import re
import shlex
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig

from gpot.config.schema import Config
from gpot.errors import BadInput, GpotError
from gpot.leftovers import replacing
from gpot.places import typed

log = logging.getLogger(__name__)

FOLDER = "jobs"
# groups that say where and how a job runs, not what it computes
_HOW = ("launcher", "device", "logger", "paths", "hydra", "upstream")


class Status(str, Enum):
    """`running` in the record of a job that is no longer running: it was killed."""

    running = "running"
    done = "done"
    failed = "failed"


class Result(Protocol):
    """What a script returns of each result: an artefact's stage and key."""

    @property
    def stage(self) -> str: ...

    @property
    def key(self) -> str: ...


Function = Callable[[Config], Sequence[Result] | None]  # of a script


@dataclass
class JobRecord:
    """One job. settings: what was asked for, option -> value as typed. artifacts: stage -> key of what it returned.
    run: the same for all jobs of one command. sweep: the `sweep` group, of a ready sweep."""

    id: str
    script: str
    overrides: list[str]
    settings: dict[str, str]
    run: str
    store: str
    pretrained: str | None
    sweep: dict[str, Any] | None
    status: Status = Status.running
    error: str | None = None
    trace: str | None = None
    artifacts: dict[str, str] = field(default_factory=dict)
    started: str = ""
    seconds: float | None = None

    @property
    def command(self) -> str:
        """What repeats this job alone."""
        return f"{typed(self.script)} {shlex.join(self.overrides)}"

    def write(self, folder: Path) -> None:
        """Complete or as before: a kill meanwhile leaves the old record."""
        path = folder / FOLDER / f"{self.id}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dataclasses.asdict(self), indent=2, allow_nan=False) + "\n"
        with replacing(path) as temporary:
            temporary.write_text(text, encoding="utf-8")


def read_records(folder: Path) -> list[JobRecord]:
    """The records of a sweep's folder, in the order of their settings.  Raises: BadInput for a file that is none."""
    records = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            records.append(JobRecord(**{**content, "status": Status(content["status"])}))
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise BadInput(
                f"{path} was to be the record of a job ({error}). Remove it, and run the sweep again."
            ) from error
    return sorted(records, key=lambda record: list(record.settings.items()))


def settings_of(overrides: Iterable[str]) -> dict[str, str]:
    """Option -> value as typed, less those that say where and how.

    >>> settings_of(["sweep=lambda", "launcher=joblib", "penalty.weight=1e-3", "+gp.seed=1"])
    {'gp.seed': '1', 'penalty.weight': '1e-3', 'sweep': 'lambda'}
    """
    pairs = (override.lstrip("+~").partition("=") for override in overrides)
    return {name: value for name, _, value in sorted(pairs) if name.replace("/", ".").split(".")[0] not in _HOW}


_LONGEST_NAME = 120  # of a folder, in characters: file systems allow 255 bytes


def folder_name(overrides: Iterable[str]) -> str:
    """What a job of a sweep may be called among the others: its settings, and their hash where these are long.

    >>> folder_name(["experiment=fig4", "seed=0", "upstream=make"])
    'experiment=fig4,seed=0'
    """
    name = ",".join(f"{option}={value}" for option, value in settings_of(overrides).items())
    short = re.sub(r"[^\w=,.+-]", "_", name)[:_LONGEST_NAME]
    return short if short == name else f"{short},{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def in_sweep() -> bool:
    """Whether Hydra runs this as one job of several."""
    return bool(HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN)


def run_job(
    function: Function,
    make_config: Callable[[], Config],
    script: str,
    run: str,
    explain: Callable[[BaseException], str],
) -> None:
    """One job of a sweep: its failure is recorded and logged with its overrides, and is not raised.

    Arguments:
        function: the script's.
        make_config: checks the composed config.
        script: name of its root.
        run: of the command.
        explain: an error as one message.
    """
    hydra = HydraConfig.get()
    folder, overrides = Path(hydra.sweep.dir), list(hydra.overrides.task)
    settings = settings_of(overrides)
    name = hashlib.sha256(json.dumps([script, settings]).encode()).hexdigest()[:16]
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    record = JobRecord(name, script, overrides, settings, run, "", None, None, started=now)
    record.write(folder)
    clock = time.monotonic()
    try:
        config = make_config()
        record.store, record.pretrained = config.paths.artifacts, config.pretrained
        record.sweep = None if config.sweep is None else dataclasses.asdict(config.sweep)
        record.artifacts = {artifact.stage: artifact.key for artifact in function(config) or ()}
        record.status = Status.done
    except Exception as error:
        record.status, record.error = Status.failed, explain(error)
        if not isinstance(error, GpotError):  # not foreseen, so its place matters
            record.trace = traceback.format_exc()
        log.error("job %s failed: %s\n%s", hydra.job.num, " ".join(overrides), record.trace or record.error)
    record.seconds = round(time.monotonic() - clock, 3)
    record.write(folder)


class SweepFolder(Callback):
    """Hydra's callback that tells the process of the command where its jobs leave their records."""

    current: Path | None = None

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        SweepFolder.current = Path(str(config.hydra.sweep.dir))


def conclude(run: str) -> bool:
    """Say how the jobs of a command ended, each that is not done with its overrides. Returns: whether all are done."""
    folder, SweepFolder.current = SweepFolder.current, None
    if folder is None:
        return True
    records = [record for record in read_records(folder) if record.run == run]
    left = [record for record in records if record.status is not Status.done]
    log.info("sweep %s: %d of %d jobs are done", folder, len(records) - len(left), len(records))
    for record in left:
        words = record.error if record.status is Status.failed else "killed, or still running elsewhere"
        log.error("not done: %s\n    %s", record.command, words)
    if left:
        log.error("The same command again runs what is missing, and finds what is done.")
    return not left
