"""Stage `gp`: the Gaussian-preserving flow of a frozen flow. Stage `log_det_errors`: how well it keeps the Gaussian."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file
from torch import Tensor

from gpot.config.choices import PenaltyKind, Source
from gpot.config.choices import Rotation as RotationChoice
from gpot.config.plain import without
from gpot.config.schema import Config, GpConfig, ImagesConfig
from gpot.data.datamodule import ArrayDataModule
from gpot.errors import ArtifactMissing, FidelityLost, OutsideCube
from gpot.evaluation.likelihood import nll
from gpot.gp.base import GaussianPreserving
from gpot.maths.costs import ControlledEuclidean
from gpot.paper.rows import row_name
from gpot.stages.costs import cost_of, cost_settings
from gpot.stages.flow import load_flow, split
from gpot.stages.points import n_points, points_of
from gpot.stages.rotation import best_rotation
from gpot.stages.stage import WEIGHTS, Bench, Stage
from gpot.stages.vae import images_of, load_vae
from gpot.store import Artifact, save_array
from gpot.tracking.names import VAL_COST
from gpot.tracking.run import paper_lines
from gpot.tracking.run_logger import RunLogger
from gpot.training import families
from gpot.training.callbacks import FidelityGuard
from gpot.training.fit import fit
from gpot.training.gp import GPModule
from gpot.training.live import Draw, ImageCodes, Live, live_figures
from gpot.training.pace import TIMED_STEPS, Pace, n_steps, pace
from gpot.training.watch import Energy, FiguresAtIntervals, PaperLines

log = logging.getLogger(__name__)

_ERROR_POINTS, _ERROR_SEED, _ERROR_CHUNK = 512, 0, 512
_SHOWN_POINTS = 3000
_GUARD_POINTS = 512  # held-out points of the exact log-determinant: its mean is then known to a few percent


def gp_stage(config: Config, pairs: Stage, points: Callable[[], Stage]) -> Stage:
    """The GP flow (`weights.safetensors`: velocity, rotation, number of steps): the best of the validations at which it
    kept the Gaussian.

    points: what the flow sees, which a logger's pictures show and no training reads.
    """
    gp = config.gp
    config = dataclasses.replace(config, seed=config.gp_seed)  # of the GP flow alone
    # it came later: where there is none, keys are as they were
    control = {"control_variate": True} if families.controlled(gp, config.cost) else {}
    penalty = {"kind": "none"} if config.penalty.acting is PenaltyKind.none else without(config.penalty, "name")
    settings = {
        "gp": families.gp_settings(gp) | {"epochs": families.n_epochs(gp, config.penalty)} | control,
        "penalty": penalty,
        "optimizer": families.gp_optimizer_settings(gp, config.optimizer.gp),
        "seed": config.seed,
    } | cost_settings(config.cost)
    return Stage("gp", 1, config, settings, (pairs,), partial(_train, points), logged=True, pace=_pace)


def _pace(stage: Stage) -> Pace:
    config, gp, (pairs,) = stage.config, stage.config.gp, stage.inputs
    n, epochs = gp.n_train, families.n_epochs(gp, config.penalty)
    if gp.source is Source.data:
        n = min(n, len(split(n_points(pairs.inputs[1]))[0]))
    steps = n_steps(epochs, n, gp.batch_size)
    network = families.gp_network(gp, config.dataset.dim)
    optimizer = families.gp_optimizer(gp, config.optimizer.gp)
    module = GPModule(network, config.penalty, optimizer, epochs, steps, descent=gp.descent)
    batches = [tuple(torch.randn(2, min(gp.batch_size, n), config.dataset.dim)) for _ in range(1 + TIMED_STEPS)]
    return pace(module, batches, steps, device=config.device.first)


def _train(points: Callable[[], Stage], bench: Bench) -> Mapping[str, Any]:
    gp = families.gp_network(bench.config.gp, bench.config.dataset.dim)
    return bench.keep(gp, partial(_fit, gp, points, bench))


def _fit(gp: GaussianPreserving, points: Callable[[], Stage], bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    logger = bench.open_logger()
    cost = cost_of(config.cost, bench.inputs["pairs"])
    arrays = bench.inputs["pairs"].tensors("pairs.safetensors")
    x, z = arrays["x_train"], arrays["z_train"]
    if config.gp.rotation is not RotationChoice.none:
        gp.set_rotation(best_rotation(config.gp.rotation, x, z, cost))
    epochs = families.n_epochs(config.gp, config.penalty)
    n_batches = len(x) // min(config.gp.batch_size, len(x))
    validation = (arrays["x_validation"], arrays["z_validation"])
    data = ArrayDataModule((x, z), validation, batch_size=config.gp.batch_size, n_batches=n_batches, seed=config.seed)
    guard = FidelityGuard(
        gp, arrays["z_validation"][:_GUARD_POINTS], config.gp.logdet_tolerance, config.gp.max_steps,
        None if logger is None else _flow_nll(bench, arrays["x_validation"][:_GUARD_POINTS]),
    )  # fmt: skip
    watching = [] if logger is None else _watching(bench, gp, points, logger)
    optimizer = families.gp_optimizer(config.gp, config.optimizer.gp)
    if families.controlled(config.gp, config.cost):
        cost = ControlledEuclidean.of(x)
    module = GPModule(gp, config.penalty, optimizer, epochs, epochs * n_batches, cost, config.gp.descent)
    name = f"gp ({config.gp.name}, penalty {config.penalty.name})"
    stopped = None
    try:
        fit(
            module, data, config.device, seed=config.seed, epochs=epochs, work=bench.work, name=name,
            optimizer=optimizer, callbacks=[guard, *watching], logger=logger,
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


def _flow_nll(bench: Bench, x: Tensor) -> float:
    """Mean negative log-likelihood of the frozen flow at x (n, d), nats."""
    flow = load_flow(bench.config, bench.read(bench.stage.input("flow")))
    return nll(*flow.forward(x.to(flow.device))).mean


def _watching(bench: Bench, gp: GaussianPreserving, points: Callable[[], Stage], logger: RunLogger) -> list[Callback]:
    """What a logger is shown beside the losses: the energy, the paper's numbers, pictures at intervals."""
    config = bench.config
    watching: list[Callback] = [PaperLines(paper_lines(config.dataset.name, config.flow.name, config.gp_row))]
    if gp.flow_in_time is not None:
        watching.append(Energy(gp.flow_in_time, config.seed))
    if config.logger.figures:
        watching.append(FiguresAtIntervals(logger, _pictures(bench, gp, points), config.logger.figures))
    return watching


def _pictures(bench: Bench, gp: GaussianPreserving, seen: Callable[[], Stage]) -> dict[str, Draw]:
    """What is drawn of the training. A GP flow may be trained on samples of a flow whose data is not there: then
    nothing is drawn, and the log says why."""
    config = bench.config
    flow = load_flow(config, bench.read(bench.stage.input("flow")))
    try:
        points = bench.read(stage := seen())
    except ArtifactMissing as missing:
        log.info("gp: no pictures in the logger. %s", missing)
        return {}
    codes = None
    if isinstance(config.dataset, ImagesConfig):
        decoder = load_vae(images_of(config), bench.read(stage.input("vae"))).to(flow.device)
        kl = torch.tensor(points.manifest["metrics"]["kl"], dtype=torch.float64)
        codes = ImageCodes(decoder.decode, kl, config.report.traversal, row_name(config.gp_row.value, config.flow.name))
    return live_figures(Live(flow, gp, points_of(points)[:_SHOWN_POINTS], codes))


def load_gp(settings: GpConfig, dim: int, artifact: Artifact) -> GaussianPreserving:
    """The trained GP flow of an artefact, in eval mode, on the CPU."""
    gp = families.gp_network(settings, dim).counting()  # of a particle that escapes training raises
    gp.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return gp.eval().requires_grad_(False)


def log_det_errors_stage(config: Config, gp: Stage) -> Stage:
    """`errors.npy` (n,): |exact - analytic| log|det ds/dz| of the config's GP flow, nats, at fresh Gaussian points."""
    settings = {"n": _ERROR_POINTS, "seed": _ERROR_SEED}
    return Stage("log_det_errors", 1, config, settings, (gp,), _log_det_errors)


def _log_det_errors(bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    flow = load_gp(config.gp, config.dataset.dim, bench.inputs["gp"]).to(config.device.first)
    z = torch.randn(_ERROR_POINTS, flow.dim, generator=torch.Generator().manual_seed(_ERROR_SEED))
    with torch.no_grad():
        errors = flow.log_det_error(z.to(flow.rotation), _ERROR_CHUNK).abs().double().cpu().numpy()
    save_array(bench.folder / "errors.npy", errors)
    return {"mean": float(errors.mean()), "max": float(errors.max())}
