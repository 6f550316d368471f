"""A stage is data: what its result depends on, and how it is built. One driver finds or builds the results.

Every stage of gpot is a function from a config, and the stages that it reads, to a `Stage`; nothing is read or trained
by calling it, so a key can be known before anything is there. :meth:`Workshop.make` walks the inputs, builds what is
missing, and records it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from gpot.config.choices import Upstream
from gpot.config.schema import Config
from gpot.errors import DataMissing
from gpot.places import RELEASED, released, typed
from gpot.store import Artifact, Store, content_key
from gpot.tracking.loggers import open_logger
from gpot.tracking.run import OpenLogger, Run, describe
from gpot.tracking.run_logger import Description, RunLogger
from gpot.training.history import keep_history
from gpot.training.pace import LONG, Pace
from gpot.training.progress import duration

log = logging.getLogger(__name__)

WEIGHTS = "weights.safetensors"
# What makes the result of a stage alone, for the error that says it is missing
COMMANDS = {
    "vae": typed("train_vae"),
    "latents": typed("train_vae"),
    "flow": typed("train_flow"),
    "gp": typed("train_gp"),
    "evaluate": typed("evaluate"),
}


@dataclass(frozen=True)
class Stage:
    """One result, before it is there.

    Arguments:
        name: of the stage, which is that of its folder in the store.
        version: raised when the stage's code changes its results.
        config: that it is built under. What the result depends on of it is in the settings.
        settings: all that the result depends on besides its inputs and the data.
        inputs: the stages whose results it reads.
        build: writes the result's files and returns its metrics.
        data_hash: of the user's files that it reads.
        logged: a training, which has a run of its own in the logger.
        pace: of a training, times its first steps on made data; the inputs need not be there.
        on_demand: made when another stage needs it, also under `upstream=require`: it costs little.
        partly: names of inputs of which the stage reads some rows (`gpot.stages.points.points_by_rows`). The result
            depends on them as on any other, but they need not be there as a whole.
    """

    name: str
    version: int
    config: Config = field(repr=False, compare=False)
    settings: Mapping[str, Any]
    inputs: tuple[Stage, ...]
    build: Callable[[Bench], Mapping[str, Any]] = field(compare=False)
    data_hash: str | None = None
    logged: bool = False
    pace: Callable[[Stage], Pace] | None = field(default=None, compare=False)
    on_demand: bool = False
    partly: tuple[str, ...] = ()

    def input(self, name: str) -> Stage:
        """The nearest stage of that name among those that it reads, and those that they read."""
        return next(stage for stage in self.behind() if stage.name == name)

    def required(self) -> Iterator[Stage]:
        """The stages whose results must be there as a whole; in place of one that it reads partly, those behind it."""
        for part in self.inputs:
            yield from part.inputs if part.name in self.partly else (part,)

    def behind(self) -> Iterator[Stage]:
        """The stages that it reads, then those that they read."""
        yield from self.inputs
        for stage in self.inputs:
            yield from stage.behind()

    @property
    def input_keys(self) -> dict[str, str]:
        """Name of each input -> its key."""
        return {stage.name: stage.key for stage in self.inputs}

    @cached_property
    def key(self) -> str:
        """The hash of all that the result depends on, and of nothing else."""
        return content_key(self.name, self.version, dict(self.settings), self.input_keys, self.data_hash)

    def describe(self) -> Description:
        """What a logger is told, with the key."""
        return describe(self.config, self.name).of_key(self.key)


@dataclass(frozen=True)
class Bench:
    """Where a stage is built: `folder` receives its files, `inputs` are the results that it reads, by their names; of
    those that it reads partly, the ones that are there."""

    folder: Path
    inputs: Mapping[str, Artifact]
    stage: Stage
    workshop: Workshop
    _run: Run

    @property
    def config(self) -> Config:
        """That the stage is built under."""
        return self.stage.config

    @property
    def work(self) -> Path:
        """Folder for checkpoints, which survives a kill and goes when the result is there."""
        return self.workshop.store.work(self.stage.name, self.stage.key)

    def read(self, stage: Stage) -> Artifact:
        """The result of a stage that is no input: what is shown of a training, say, and changes nothing in it.

        Raises: ArtifactMissing, as an input would.
        """
        return self.workshop.make(stage, needed_by=self.stage.name)

    def open_logger(self) -> RunLogger | None:
        """The logger of this training; None for none. An interrupted run goes on as itself."""
        return self._run.open(self.work)

    def keep(self, network: nn.Module, train: Callable[[], Mapping[str, Any]] | None) -> dict[str, Any]:
        """Train a network, and keep its weights and the course of the training.

        Arguments:
            network: what learns.
            train: trains it and returns metrics; None for one that came with its weights.
        """
        metrics: dict[str, Any] = {}
        if train is not None:
            metrics |= train()
            keep_history(self.work, self.folder)
        save_file({name: value.contiguous() for name, value in network.state_dict().items()}, self.folder / WEIGHTS)
        return metrics | {"parameters": sum(p.numel() for p in network.parameters())}


@dataclass(frozen=True)
class Workshop:
    """The store, and the terms on which it is filled: whether missing inputs are made, where, for what budget."""

    store: Store
    upstream: Upstream
    device: str
    budget: str
    open_logger: OpenLogger
    _announced: set[str] = field(default_factory=set, compare=False)

    def make(self, stage: Stage, needed_by: str | None = None) -> Artifact:
        """The result of a stage: found, or built with all that it needs.

        needed_by: the stage that needs it; None for one that was asked for, which is built under all terms.
        Raises: ArtifactMissing under `upstream=require`, for an input that is neither there nor made on demand; it
        names the command that makes it.
        """
        artifact = self.store.find(stage.name, stage.key)
        if artifact is not None:
            self.store.forget_work(artifact)
            return artifact
        plan = self.permit(stage, needed_by)
        self._announce(plan)
        for part in plan:
            result = self._build(part)
        return result

    def permit(self, stage: Stage, needed_by: str | None = None) -> list[Stage]:
        """The plan of a stage, if the terms allow to make all of it.

        Arguments, Raises: as of :meth:`make`.
        """
        plan = self.plan([stage])
        for part in plan if needed_by else plan[:-1]:
            if self.upstream is Upstream.require and not part.on_demand:
                what = f"stage {needed_by or stage.name} needs the result of stage {part.name}"
                self.store.require(part.name, part.key, what, f"{COMMANDS[part.name]} (or add upstream=make)")
        return plan

    def announce(self, stages: Sequence[Stage]) -> None:
        """Before it starts, say what is trained for these results and how long that takes here, measured over the first
        steps of each training. Each is said once; one that is alone says so itself (`gpot.training.fit`)."""
        self._announce(self.plan(stages))

    def plan(self, stages: Sequence[Stage]) -> list[Stage]:
        """What has no result yet of all that these need, each once, after those that it needs itself."""
        missing: dict[str, Stage] = {}
        seen: set[str] = set()
        for stage in stages:
            self._look(stage, seen, missing)
        return list(missing.values())

    def _announce(self, plan: Sequence[Stage]) -> None:
        trainings = [part for part in plan if part.pace is not None and part.key not in self._announced]
        self._announced.update(part.key for part in trainings)
        if len(trainings) < 2 or self.upstream is Upstream.require:
            return
        log.info("%d trainings before the result is there, timed over the first steps of each:", len(trainings))
        seconds = 0.0
        for part in trainings:
            assert part.pace is not None
            with torch.random.fork_rng(devices=[]):
                pace = part.pace(part)
            seconds += pace.total
            log.info("  %s: %d steps, about %s", part.describe().name, pace.steps, duration(pace.total))
        log.info("  together about %s; what is interrupted goes on from its last checkpoint", duration(seconds))
        if seconds > LONG:
            log.warning(
                "the trainings take about %s on this machine. %s takes the released models, models=toy trains frozen "
                "models in seconds, and a GPU (device=gpu) is faster.", duration(seconds), f"pretrained={RELEASED}",
            )  # fmt: skip

    def _look(self, stage: Stage, seen: set[str], missing: dict[str, Stage]) -> None:
        """Add what has no result of a stage and of those behind it, each looked for once: a look reads the files."""
        if stage.key in seen:
            return
        seen.add(stage.key)
        if self.store.find(stage.name, stage.key) is None:
            for part in stage.required():
                self._look(part, seen, missing)
            missing[stage.key] = stage

    def _build(self, stage: Stage) -> Artifact:
        inputs = {part.name: self.make(part) for part in stage.inputs if part.name not in stage.partly}
        through = {part.name: part for part in stage.inputs if part.name in stage.partly}
        there = {name: self.store.find(name, part.key) for name, part in through.items()}
        inputs |= {name: artifact for name, artifact in there.items() if artifact is not None}
        log.info("%s: making %s", stage.name, stage.key)
        torch.manual_seed(stage.config.seed)
        manifest = {
            "version": stage.version, "config": dict(stage.settings), "inputs": stage.input_keys,
            "data_hash": stage.data_hash, "seed": stage.config.seed, "device": self.device, "budget": self.budget,
        }  # fmt: skip
        if through:
            manifest["through"] = {name: part.input_keys for name, part in through.items()}
        with Run(stage.describe if stage.logged else None, self.open_logger) as run:
            artifact = self.store.make(
                stage.name, stage.key, lambda folder: stage.build(Bench(folder, inputs, stage, self, run)), manifest
            )
            run.result(artifact, self.store)
        return artifact


def generator(seed: int, purpose: int) -> torch.Generator:
    """CPU generator of one purpose: streams of different purposes are independent, and fixed by the seed."""
    return torch.Generator().manual_seed(seed * 1000 + purpose)


def open_workshop(config: Config) -> Workshop:
    """The workshop of a config: the store of `paths.artifacts`, with the released artefacts of `pretrained`.

    Raises: DataMissing where that was typed, and is no folder.
    """
    folder = released(config.pretrained)
    if folder is not None and not folder.is_dir():
        missing = f"released models were to be in '{folder}', and there is no such folder"
        if any(override.lstrip("+").startswith("pretrained=") for override in config.typed):
            raise DataMissing(f"{missing}. Check the path, or type pretrained=null to train from nothing.")
        log.warning("%s: what is not in %s is trained from nothing", missing, config.paths.artifacts)
        folder = None
    store = Store(Path(config.paths.artifacts), folder)
    opener = partial(open_logger, config.logger, config.paths.logs)
    return Workshop(store, config.upstream, config.device.words, config.budget.name, opener)
