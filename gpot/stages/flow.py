"""Stage `flow`: the frozen normalizing flow. Stage `pairs`: what a GP flow trains on, pairs (x, z = f(x))."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gpot.config.choices import Source
from gpot.config.schema import Config
from gpot.data.datamodule import ArrayDataModule
from gpot.flows.base import FrozenFlow, pull_back
from gpot.flows.bnaf import BNAFFlow
from gpot.flows.weights import load_released
from gpot.progress import track
from gpot.stages import families
from gpot.stages.common import Recipe, device_of, generator, log, obtain
from gpot.stages.plain import plain
from gpot.stages.points import points_of, points_stage
from gpot.stages.run import Run, paper_lines
from gpot.stages.vae import weights_hash
from gpot.store import Artifact, Store
from gpot.tracking.names import VAL_NLL
from gpot.tracking.run_logger import RunLogger
from gpot.training.callbacks import KeepBest
from gpot.training.fit import fit, intervals
from gpot.training.flow import FlowModule
from gpot.training.history import keep_history
from gpot.training.watch import PaperLines

WEIGHTS = "weights.safetensors"
_SPLIT_SEED = 42  # of the training and validation rows, as in the released code
_TRAIN_SHARE = 0.8
_CHUNK = 8192
_VALIDATION_POINTS = 4096


def split(n: int) -> tuple[Tensor, Tensor]:
    """Training and validation rows of n points, 80 and 20 %, the same for every run."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_SPLIT_SEED))
    n_train = int(_TRAIN_SHARE * n)
    return order[:n_train], order[n_train:]


def flow_recipe(config: Config, points: Artifact | None) -> Recipe:
    if config.flow.weights is not None:
        frozen = families.architecture(config.flow)
        frozen |= {"dim": config.dataset.dim, "sha256": weights_hash(config.flow.weights)}
        return Recipe("flow", 1, {"flow": frozen}, {})
    assert points is not None
    settings = {
        "flow": families.training_settings(config.flow),
        "optimizer": plain(config.optimizer.flow),
        "seed": config.seed,
    }
    return Recipe("flow", 1, settings, {points.stage: points.key})


def flow_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """The flow's weights (`weights.safetensors`), with the released names; the best of its validations."""
    points = None if config.flow.weights is not None else points_stage(config, store, needed_by or "flow")

    def build(folder: Path) -> Mapping[str, Any]:
        flow = families.network(config.flow, config.dataset.dim, training=True)
        metrics: dict[str, Any] = {}
        if points is None:
            load_released(flow, str(config.flow.weights))
        else:
            metrics = _train(flow, points_of(points), config, store.work(recipe.stage, recipe.key), run.open(store))
            keep_history(store.work(recipe.stage, recipe.key), folder)
        save_file(flow.state_dict(), folder / WEIGHTS)
        return metrics | {"parameters": sum(p.numel() for p in flow.parameters())}

    recipe = flow_recipe(config, points)
    run = Run(config, recipe.stage, recipe.key)
    return obtain(recipe, config, store, build, needed_by=needed_by, command="python scripts/train_flow.py", run=run)


def _train(flow: nn.Module, points: Tensor, config: Config, work: Path, logger: RunLogger | None) -> dict[str, Any]:
    train, validation = split(len(points))
    batch = min(config.flow.batch_size, len(train))
    steps = config.flow.epochs * (len(train) // batch)
    epochs, n_batches = intervals(steps, len(train) // batch, at_most=600)
    data = ArrayDataModule(
        (points[train],), (points[validation[:_VALIDATION_POINTS]],),
        batch_size=batch, n_batches=n_batches, seed=config.seed,
    )  # fmt: skip
    initialize: Any = getattr(flow, "initialize", None)
    if initialize is not None:  # ActNorm starts from data
        initialize(points[train[:batch]])
    keep = KeepBest(VAL_NLL, flow, work / "best.safetensors")
    module = FlowModule(flow, families.log_likelihood(config.flow, flow), config.optimizer.flow, steps)
    callbacks = [keep] if logger is None else [keep, PaperLines(paper_lines(config, "flow"))]
    fit(
        module, data, config, epochs=epochs, work=work, name="flow", optimizer=config.optimizer.flow,
        callbacks=callbacks, logger=logger,
    )  # fmt: skip
    keep.restore()
    return {VAL_NLL: keep.best, "best_epoch": keep.best_epoch}


def load_flow(config: Config, artifact: Artifact) -> FrozenFlow:
    """The frozen flow of an artefact, on the device of the config."""
    flow = families.network(config.flow, config.dataset.dim)
    flow.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return FrozenFlow(families.adapter(config.flow, flow)).to(device_of(config))


def prior_pairs(flow: FrozenFlow, n: int, draw: torch.Generator, what: str) -> tuple[Tensor, Tensor, int]:
    """n prior samples z, their preimages x = f^-1(z), each (m, d) float32 on the CPU, and n - m.

    m < n only for a flow that is not onto (BNAF), which says so by rows of NaN: those samples are left out, counted and
    logged. Any other row that is not finite is an error.
    """
    z = torch.randn(n, flow.dim, generator=draw)
    device = next(flow.parameters()).device
    onto = not isinstance(flow.flow, BNAFFlow)
    chunks = z.split(_CHUNK)
    x = torch.cat([pull_back(flow, c.to(device), allow_lost=not onto).cpu() for c in track(chunks, len(chunks), what)])
    kept = x.isfinite().all(1)
    lost = int((~kept).sum())
    if lost:
        log.warning("%d of %d prior samples lie outside the image of the flow: they are left out", lost, n)
    return x[kept], z[kept], lost


def pairs_recipe(config: Config, flow: Artifact, points: Artifact | None) -> Recipe:
    """points: those that the GP flow learns from, None where it learns from prior samples."""
    gp = config.gp
    settings = {
        "source": gp.source.value, "n_train": gp.n_train, "n_validation": gp.n_validation, "seed": config.seed,
        "flow": families.evaluation_settings(config.flow),
    }  # fmt: skip
    return Recipe("pairs", 1, settings, {"flow": flow.key} | ({} if points is None else {points.stage: points.key}))


def pairs_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """Pairs for a GP flow, `pairs.safetensors`: x_train, z_train, x_validation, z_validation (section 5 of the paper).

    `gp.source=prior`: z ~ N(0, I), x = f^-1(z); no data is touched. `gp.source=data`: the points x, z = f(x).
    """
    flow = flow_stage(config, store, needed_by or "gp")
    gp = config.gp
    points = points_stage(config, store, needed_by or "gp") if gp.source is Source.data else None
    recipe = pairs_recipe(config, flow, points)

    def build(folder: Path) -> Mapping[str, Any]:
        frozen = load_flow(config, flow)
        lost = 0
        if points is None:
            n = gp.n_train + gp.n_validation
            x, z, lost = prior_pairs(frozen, n, generator(config, 1), "pulling prior samples back")
            parts = (x[: gp.n_train], x[gp.n_train :], z[: gp.n_train], z[gp.n_train :])
        else:
            rows = split(len(points_of(points)))
            x_train, x_validation = (
                points_of(points)[part[:n]] for part, n in zip(rows, (gp.n_train, gp.n_validation), strict=True)
            )
            parts = (x_train, x_validation, push(frozen, x_train), push(frozen, x_validation))
        names = ("x_train", "x_validation", "z_train", "z_validation")
        save_file({k: v.contiguous() for k, v in zip(names, parts, strict=True)}, folder / "pairs.safetensors")
        return {"cost": (parts[0] - parts[2]).square().sum(1).mean().item(), "lost": lost}

    return obtain(recipe, config, store, build, needed_by=None, command="python scripts/train_gp.py")


def push(flow: FrozenFlow, x: Tensor) -> Tensor:
    """z = f(x) (n, d), on the CPU."""
    device = next(flow.parameters()).device
    chunks = x.split(_CHUNK)
    return torch.cat([flow.transform(c.to(device)).cpu() for c in track(chunks, len(chunks), "mapping data to z")])
