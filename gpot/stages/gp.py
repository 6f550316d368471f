"""Stage `gp`: the Gaussian-preserving flow of a frozen flow."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpot.config.choices import PenaltyKind, Rotation
from gpot.config.schema import Config
from gpot.data.datamodule import ArrayDataModule
from gpot.errors import FidelityLost, OutsideCube
from gpot.evaluation.likelihood import nll
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.rotation import fit_rotation
from gpot.gp.velocity import RidgeVelocity
from gpot.stages import families
from gpot.stages.common import Recipe, device_of, log, obtain
from gpot.stages.flow import flow_stage, load_flow, pairs_stage
from gpot.stages.live import live_figures
from gpot.stages.plain import plain, without
from gpot.stages.run import Run, paper_lines
from gpot.store import Artifact, Store
from gpot.tracking.names import VAL_COST
from gpot.tracking.run_logger import RunLogger
from gpot.training.callbacks import FidelityGuard
from gpot.training.fit import fit
from gpot.training.gp import GPModule
from gpot.training.history import keep_history
from gpot.training.watch import Energy, FiguresAtIntervals, PaperLines

WEIGHTS = "weights.safetensors"
_GUARD_POINTS = 512  # held-out points of the exact log-determinant: its mean is then known to a few percent


def own_seed(config: Config) -> Config:
    """The config whose `seed` is that of the GP flow: what comes before it keeps the run's."""
    return config if config.gp.seed is None else dataclasses.replace(config, seed=config.gp.seed)


def n_epochs(config: Config) -> int:
    """Epochs of this run: Table 4 gives runs with a penalty another number."""
    return config.gp.epochs if config.penalty.acting is PenaltyKind.none else config.gp.epochs_penalized


def gp_recipe(config: Config, pairs: Artifact) -> Recipe:
    penalty = {"kind": "none"} if config.penalty.acting is PenaltyKind.none else without(config.penalty, "name")
    settings = {
        "gp": families.gp_settings(config.gp) | {"epochs": n_epochs(config)},
        "penalty": penalty,
        "optimizer": plain(config.optimizer.gp),
        "seed": own_seed(config).seed,
    }
    return Recipe("gp", 1, settings, {"pairs": pairs.key})


def gp_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """The GP flow (`weights.safetensors`: velocity, rotation, number of steps); the best validation that kept the
    law."""
    pairs = pairs_stage(config, store, needed_by)
    config = own_seed(config)

    def build(folder: Path) -> Mapping[str, Any]:
        gp = families.gp_network(config.gp, config.dataset.dim)
        metrics = _train(gp, pairs, config, store, recipe.key, run.open(store))
        keep_history(store.work(recipe.stage, recipe.key), folder)
        save_file({k: v.contiguous() for k, v in gp.state_dict().items()}, folder / WEIGHTS)
        return metrics | {"parameters": sum(p.numel() for p in gp.parameters())}

    recipe = gp_recipe(config, pairs)
    run = Run(config, recipe.stage, recipe.key)
    return obtain(recipe, config, store, build, needed_by=needed_by, command="python scripts/train_gp.py", run=run)


def _train(
    gp: GaussianPreserving, pairs: Artifact, config: Config, store: Store, key: str, logger: RunLogger | None
) -> dict[str, Any]:
    work = store.work("gp", key)
    arrays = pairs.tensors("pairs.safetensors")
    x, z = arrays["x_train"], arrays["z_train"]
    if config.gp.rotation is not Rotation.none:
        gp.set_rotation(fit_rotation(x, z, allow_reflection=config.gp.rotation is Rotation.reflection))
    epochs = n_epochs(config)
    n_batches = len(x) // min(config.gp.batch_size, len(x))
    validation = (arrays["x_validation"], arrays["z_validation"])
    data = ArrayDataModule((x, z), validation, batch_size=config.gp.batch_size, n_batches=n_batches, seed=config.seed)
    guard = FidelityGuard(
        gp, arrays["z_validation"][:_GUARD_POINTS], config.gp.logdet_tolerance, config.gp.max_steps,
        work / "best.safetensors",
        None if logger is None else _flow_nll(config, store, arrays["x_validation"][:_GUARD_POINTS]),
    )  # fmt: skip
    watching = [] if logger is None else _watching(config, store, gp, logger)
    module = GPModule(gp, config.penalty, config.optimizer.gp, epochs, epochs * n_batches)
    name = f"gp ({config.gp.name}, penalty {config.penalty.name})"
    stopped = None
    try:
        fit(
            module, data, config, epochs=epochs, work=work, name=name, optimizer=config.optimizer.gp,
            callbacks=[guard, *watching], logger=logger,
        )  # fmt: skip
    except (OutsideCube, FidelityLost) as error:
        if guard.best_epoch < 0:
            raise
        # as the paper did: the run ends there, and the best model before it is the result
        stopped = f"epoch {getattr(error, 'epoch', module.current_epoch)}: {error}"
        log.warning("%s stopped early, the model of epoch %d is kept. %s", name, guard.best_epoch, stopped)
    guard.restore()
    return {
        VAL_COST: guard.best, "best_epoch": guard.best_epoch, "epochs": epochs, "n_steps": gp.n_steps,
        "refinements": guard.refinements, "stopped": stopped,
    }  # fmt: skip


def _flow_nll(config: Config, store: Store, x: Tensor) -> float:
    """Mean negative log-likelihood of the frozen flow at x (n, d), nats."""
    flow = load_flow(config, flow_stage(config, store, "gp"))
    return nll(*flow.forward(x.to(device_of(config)))).mean


def _watching(config: Config, store: Store, gp: GaussianPreserving, logger: RunLogger) -> list[Callback]:
    """What a logger is shown beside the losses: the energy, the paper's numbers, pictures at intervals."""

    watching: list[Callback] = [PaperLines(paper_lines(config, "gp"))]
    if isinstance(gp, GaussianPreservingFlow):
        watching.append(Energy(gp, config.seed))
    if config.logger.figures:
        watching.append(FiguresAtIntervals(logger, live_figures(config, store, gp), config.logger.figures))
    return watching


def load_gp(config: Config, artifact: Artifact) -> GaussianPreserving:
    """The trained GP flow of an artefact, in eval mode on the device of the config."""
    gp = families.gp_network(config.gp, config.dataset.dim)
    gp.load_state_dict(load_file(artifact.file(WEIGHTS)))
    if isinstance(gp, GaussianPreservingFlow):
        gp.on_escape = "count"
    return gp.to(device_of(config)).eval().requires_grad_(False)


def rotation_only(config: Config, pairs: Artifact) -> GaussianPreservingFlow:
    """The best rotation of the pairs and nothing else: a GP flow whose velocity is zero."""
    still = RidgeVelocity(config.dataset.dim, width=1, output_scale=0.0)
    with torch.no_grad():
        for parameter in still.parameters():
            parameter.zero_()
    arrays = pairs.tensors("pairs.safetensors")
    reflect = config.gp.rotation is Rotation.reflection
    gp = GaussianPreservingFlow(still, config.gp.chart, 1, config.gp.method)
    gp.set_rotation(fit_rotation(arrays["x_train"], arrays["z_train"], allow_reflection=reflect))
    return gp.to(device_of(config)).eval().requires_grad_(False)
