"""What every stage does: a key from what the result depends on, the store, and the policy for what is missing."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gpot.config.choices import Upstream
from gpot.config.schema import Config
from gpot.stages.run import Run
from gpot.store import Artifact, Store, content_key

log = logging.getLogger(__name__)

Build = Callable[[Path], Mapping[str, Any]]


@dataclass(frozen=True)
class Recipe:
    """All that a result depends on, so all that its key is made of. version: raised when a stage's code changes
    results."""

    stage: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    data_hash: str | None = None

    @property
    def key(self) -> str:
        return content_key(self.stage, self.version, self.config, self.inputs, self.data_hash)


def open_store(config: Config) -> Store:
    """The store of `paths.artifacts`, with the released artefacts of `pretrained` unless that is null."""
    return Store(Path(config.paths.artifacts), None if config.pretrained is None else Path(config.pretrained))


def obtain(
    recipe: Recipe,
    config: Config,
    store: Store,
    build: Build,
    *,
    needed_by: str | None,
    command: str,
    run: Run | None = None,
) -> Artifact:
    """The artefact of a recipe: found, or made.

    needed_by: the stage that needs it as an input; then `upstream=require` turns a missing one into ArtifactMissing,
    which names `command`. None: this stage itself was asked for. run: what `build` opens a logger of; it is given the
    artefact, and closed.
    """
    found = store.find(recipe.stage, recipe.key)
    if found is not None:
        return found
    if needed_by is not None and config.upstream is Upstream.require:
        what = f"stage {needed_by} needs the result of stage {recipe.stage}"
        return store.require(recipe.stage, recipe.key, what, f"{command} (or add upstream=make)")
    log.info("%s: making %s", recipe.stage, recipe.key)
    torch.manual_seed(config.seed)
    manifest = {
        "version": recipe.version, "config": recipe.config, "inputs": recipe.inputs, "data_hash": recipe.data_hash,
        "seed": config.seed, "device": device_words(config), "budget": config.budget.name,
    }  # fmt: skip
    with nullcontext() if run is None else run:
        made = store.make(recipe.stage, recipe.key, build, manifest)
        if run is not None:
            run.result(made, store)
    return made


def device_of(config: Config) -> torch.device:
    """Where evaluation runs: the first device of the `device` group."""
    if config.device.kind != "gpu":
        return torch.device("cpu")
    devices = config.device.devices
    return torch.device("cuda", devices[0] if isinstance(devices, list) else 0)


def device_words(config: Config) -> str:
    """Kind of device for the manifest: the GPU's name, or the number of threads; and the processes, if several."""
    gpu = config.device.kind == "gpu"
    words = torch.cuda.get_device_name(device_of(config)) if gpu else f"cpu, {torch.get_num_threads()} threads"
    processes = config.device.processes
    return words if processes == 1 else f"{words}, {processes} processes"


def generator(config: Config, purpose: int) -> torch.Generator:
    """CPU generator of one purpose: streams of different purposes are independent, and fixed by the seed."""
    return torch.Generator().manual_seed(config.seed * 1000 + purpose)
