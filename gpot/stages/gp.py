"""Stage `gp`: the Gaussian-preserving flow of a frozen flow."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file
from torch import Tensor

from gpot.config.choices import PenaltyKind
from gpot.config.choices import Rotation as RotationChoice
from gpot.config.schema import Config, GpConfig, PenaltyConfig
from gpot.data.datamodule import ArrayDataModule
from gpot.errors import FidelityLost, OutsideCube
from gpot.evaluation.likelihood import nll
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.orthogonal import Rotation
from gpot.gp.rotation import fit_rotation
from gpot.stages import families
from gpot.stages.common import device_of
from gpot.stages.flow import flow_stage, load_flow, pairs_stage
from gpot.stages.live import live_figures
from gpot.stages.plain import adam_settings, without
from gpot.stages.run import describe, paper_lines
from gpot.stages.stage import WEIGHTS, Bench, Stage
from gpot.store import Artifact
from gpot.tracking.names import VAL_COST
from gpot.tracking.run_logger import RunLogger
from gpot.training.callbacks import FidelityGuard
from gpot.training.fit import fit
from gpot.training.gp import GPModule
from gpot.training.watch import Energy, FiguresAtIntervals, PaperLines

log = logging.getLogger(__name__)

_GUARD_POINTS = 512  # held-out points of the exact log-determinant: its mean is then known to a few percent


def own_seed(config: Config) -> Config:
    """The config whose `seed` is that of the GP flow alone: what comes before it keeps the run's."""
    return config if config.gp.seed is None else dataclasses.replace(config, seed=config.gp.seed)


def n_epochs(gp: GpConfig, penalty: PenaltyConfig) -> int:
    """Epochs of a run: Table 4 gives runs with a penalty another number."""
    return gp.epochs if penalty.acting is PenaltyKind.none else gp.epochs_penalized


def gp_stage(config: Config) -> Stage:
    """The GP flow (`weights.safetensors`: velocity, rotation, number of steps): the best of the validations at which it
    kept the Gaussian."""
    gp, pairs = config.gp, pairs_stage(config)
    config = own_seed(config)
    penalty = {"kind": "none"} if config.penalty.acting is PenaltyKind.none else without(config.penalty, "name")
    settings = {
        "gp": families.gp_settings(gp) | {"epochs": n_epochs(gp, config.penalty)},
        "penalty": penalty,
        "optimizer": adam_settings(config.optimizer.gp),
        "seed": config.seed,
    }
    build, run = partial(_train, config), partial(describe, config, "gp")
    return Stage("gp", 1, settings, (pairs,), build, config.seed, run=run)


def _train(config: Config, bench: Bench) -> Mapping[str, Any]:
    gp = families.gp_network(config.gp, config.dataset.dim)
    return bench.keep(gp, partial(_fit, gp, config, bench))


def _fit(gp: GaussianPreserving, config: Config, bench: Bench) -> Mapping[str, Any]:
    logger = bench.open_logger()
    arrays = bench.inputs["pairs"].tensors("pairs.safetensors")
    x, z = arrays["x_train"], arrays["z_train"]
    if config.gp.rotation is not RotationChoice.none:
        gp.set_rotation(best_rotation(config.gp.rotation, x, z))
    epochs = n_epochs(config.gp, config.penalty)
    n_batches = len(x) // min(config.gp.batch_size, len(x))
    validation = (arrays["x_validation"], arrays["z_validation"])
    data = ArrayDataModule((x, z), validation, batch_size=config.gp.batch_size, n_batches=n_batches, seed=config.seed)
    guard = FidelityGuard(
        gp, arrays["z_validation"][:_GUARD_POINTS], config.gp.logdet_tolerance, config.gp.max_steps,
        bench.work / "best.safetensors",
        None if logger is None else _flow_nll(config, bench, arrays["x_validation"][:_GUARD_POINTS]),
    )  # fmt: skip
    watching = [] if logger is None else _watching(config, bench, gp, logger)
    module = GPModule(gp, config.penalty, config.optimizer.gp, epochs, epochs * n_batches)
    name = f"gp ({config.gp.name}, penalty {config.penalty.name})"
    stopped = None
    try:
        fit(
            module, data, config, epochs=epochs, work=bench.work, name=name, optimizer=config.optimizer.gp,
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


def best_rotation(choice: RotationChoice, x: Tensor, z: Tensor) -> Tensor:
    """The orthogonal matrix of a choice that is not `none`, fitted on pairs x, z (n, d)."""
    return fit_rotation(x, z, allow_reflection=choice is RotationChoice.reflection)


def _flow_nll(config: Config, bench: Bench, x: Tensor) -> float:
    """Mean negative log-likelihood of the frozen flow at x (n, d), nats."""
    flow = load_flow(config, bench.read(flow_stage(config)))
    return nll(*flow.forward(x.to(flow.device))).mean


def _watching(config: Config, bench: Bench, gp: GaussianPreserving, logger: RunLogger) -> list[Callback]:
    """What a logger is shown beside the losses: the energy, the paper's numbers, pictures at intervals."""
    watching: list[Callback] = [PaperLines(paper_lines(config, "gp"))]
    if isinstance(gp, GaussianPreservingFlow):
        watching.append(Energy(gp, config.seed))
    if config.logger.figures:
        watching.append(FiguresAtIntervals(logger, live_figures(config, bench, gp), config.logger.figures))
    return watching


def load_gp(config: Config, artifact: Artifact) -> GaussianPreserving:
    """The trained GP flow of an artefact, in eval mode on the device of the config."""
    gp = families.gp_network(config.gp, config.dataset.dim)
    if isinstance(gp, GaussianPreservingFlow):
        gp = gp.counting()  # a particle that leaves the cube, where training raises
    gp.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return gp.to(device_of(config.device)).eval().requires_grad_(False)


def rotation_alone(config: Config, pairs: Artifact) -> Rotation:
    """The best rotation of the pairs, and nothing after it."""
    arrays = pairs.tensors("pairs.safetensors")
    rotation = best_rotation(config.gp.rotation, arrays["x_train"], arrays["z_train"])
    return Rotation(config.dataset.dim, rotation).to(device_of(config.device))
