"""Weights & Biases: one run per stage, offline below `outputs/wandb` unless there is an account."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import requests
import wandb
from lightning.pytorch.loggers import WandbLogger
from wandb.errors import Error as WandbError

from gpot.config.choices import WandbMode
from gpot.config.schema import LoggerConfig
from gpot.errors import BadConfig, LoggerUnavailable
from gpot.store import MANIFEST, Artifact
from gpot.tracking.names import GLOBAL_STEP
from gpot.tracking.run_logger import Description, Pixels

log = logging.getLogger(__name__)

_FLUSHED = 30.0  # seconds to wait for W&B's process to write an offline run


def has_key() -> bool:
    """Whether W&B has an API key: WANDB_API_KEY, or a line for its host in the netrc file (`wandb login` writes it)."""
    settings = wandb.setup().settings
    return bool(settings.api_key or requests.utils.get_netrc_auth(settings.base_url))


def default_entity() -> str:
    """User or team of the API key.  Raises: LoggerUnavailable where W&B cannot be asked."""
    try:
        entity: str | None = wandb.Api().default_entity
    except WandbError as error:
        raise LoggerUnavailable(f"W&B was asked whose the API key is, and answered: {error}. Type --entity.") from error
    if entity is None:
        raise LoggerUnavailable("the API key belongs to no user or team of W&B. Type --entity.")
    return entity


def resolve_mode(mode: str) -> Literal["online", "offline"]:
    """`logger.mode`, with `auto` decided: by WANDB_MODE where that is set, or else online if there is an API key.

    Raises: BadConfig for online without a key, and for another WANDB_MODE.
    """
    choice = WandbMode(mode)
    if choice is WandbMode.offline:
        return "offline"
    from_environment = os.environ.get("WANDB_MODE")
    if choice is WandbMode.auto and from_environment:
        if from_environment not in ("online", "offline"):
            raise BadConfig(
                f"logger=wandb with logger.mode=auto takes its mode from WANDB_MODE, online or offline; found "
                f"'{from_environment}'. Unset it, or type logger.mode=offline, or logger=none for no logger."
            )
        if from_environment == "offline":
            return "offline"
        choice = WandbMode.online
    if has_key():
        return "online"
    if choice is WandbMode.online:
        raise BadConfig(
            "W&B online needs an API key, and there is none in WANDB_API_KEY or the netrc file. Type: wandb login; or "
            "logger.mode=offline, and wandb sync later."
        )
    return "offline"


def start(logger: LoggerConfig, logs: str, about: Description, resume: Path | None) -> WandbRun:
    """Open a run. See `open_logger`."""
    folder = Path(logs).parent.resolve()  # W&B puts its own folder `wandb` there
    (folder / "wandb").mkdir(parents=True, exist_ok=True)
    # copies of artefacts and logs, which W&B keeps in the home folder unless told otherwise
    os.environ.setdefault("WANDB_DATA_DIR", str(folder / "wandb"))
    os.environ.setdefault("WANDB_CACHE_DIR", str(folder / "wandb" / "cache"))
    mode = resolve_mode(logger.mode)
    identity = resume.read_text(encoding="utf-8").strip() if resume is not None and resume.is_file() else None
    try:
        run = wandb.init(
            project=logger.project, name=about.name, job_type=about.stage, group=about.group,
            tags=list(about.tags), config={**about.settings, "options": dict(about.options)}, dir=str(folder),
            id=identity, resume="allow", mode=mode,
            reinit="create_new",  # a run that the caller has open stays as it is
            settings=wandb.Settings(silent=True, console="off"),
        )  # fmt: skip
    except WandbError as error:
        raise LoggerUnavailable(
            f"logger=wandb, mode {mode}, was to open a run, and W&B answered: {error}. Type logger.mode=offline, and "
            "send the run later with wandb sync."
        ) from error
    if resume is not None:
        resume.write_text(run.id, encoding="utf-8")
    run.define_metric(GLOBAL_STEP)
    run.define_metric("*", step_metric=GLOBAL_STEP, step_sync=True)
    if mode == "online":
        log.info("W&B: %s", run.url)
    return WandbRun(run)


class WandbRun(WandbLogger):
    """Lightning's logger on a run that is open already, with pictures, tables and artefacts."""

    def __init__(self, run: wandb.Run) -> None:
        super().__init__(experiment=run)
        self.run = run
        self.offline = bool(run.settings.mode == "offline")
        self.folder = Path(run.settings.sync_dir)
        self.file = Path(run.settings.sync_file)

    def images(self, key: str, images: Mapping[str, Pixels], step: int) -> None:
        pictures = [wandb.Image(pixels, caption=caption) for caption, pixels in images.items()]
        self.run.log({key: pictures[0] if len(pictures) == 1 else pictures, GLOBAL_STEP: step})

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        self.run.log({key: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def result(self, artifact: Artifact | None, inputs: Iterable[Artifact]) -> None:
        for model in inputs:
            if self.offline:
                # use_artifact refuses offline runs. This is what it does online with an artefact of one's own: W&B
                # records it with the run, and draws the edge when the run is sent
                self.run._log_artifact(_as_wandb(model), is_user_created=True, use_after_commit=True)
            else:
                self.run.use_artifact(_as_wandb(model))
        if artifact is not None:
            self.run.log_artifact(_as_wandb(artifact))

    def close(self, failed: bool = False) -> None:
        self.run.finish(exit_code=int(failed))
        if not self.offline:
            return
        # another process writes the file, and may be killed with this one
        until = time.monotonic() + _FLUSHED
        while not _ended(self.file) and time.monotonic() < until:
            time.sleep(0.02)
        if not _ended(self.file):
            log.warning("W&B: %s was not written to its end", self.file)
        relative = os.path.relpath(self.folder)
        log.info("W&B: offline run in %s; to send it: wandb sync %s", relative, relative)


def _ended(file: Path) -> bool:
    """Whether an offline run's file is there to its last record."""
    from gpot.tracking.offline_run import records  # here: a run that is sent needs no reader

    return file.is_file() and any(record.HasField("exit") for record in records(file))


def _as_wandb(artifact: Artifact) -> wandb.Artifact:
    """An artefact by stage and key, its files read in place: the store never changes them."""
    manifest = artifact.manifest
    fields = ("stage", "key", "inputs", "seed", "budget", "commit")
    metadata: dict[str, Any] = {name: manifest[name] for name in fields if name in manifest}
    result = wandb.Artifact(f"{artifact.stage}-{artifact.key}", type=artifact.stage, metadata=metadata)
    for name in (MANIFEST, *manifest["files"]):
        result.add_file(str(artifact.folder / name), name=name, policy="immutable", skip_cache=True)
    return result
