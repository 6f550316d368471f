"""Stage `flow`: the frozen normalizing flow. Stage `pairs`: what a GP flow trains on, pairs (x, z = f(x))."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gpot.config.checks.points import n_train
from gpot.config.choices import Source
from gpot.config.plain import adam_settings
from gpot.config.schema import BNAFConfig, Config
from gpot.data.datamodule import ArrayDataModule
from gpot.data.weights import load_weights, weights_hash
from gpot.errors import BadConfig, FlowRefused
from gpot.flows.base import FrozenFlow, pull_back
from gpot.paper.rows import Row
from gpot.progress import track
from gpot.stages.points import n_points, points_in
from gpot.stages.stage import WEIGHTS, Bench, Stage, generator
from gpot.store import Artifact
from gpot.tracking.names import VAL_NLL
from gpot.tracking.run import paper_lines
from gpot.training import families
from gpot.training.callbacks import KeepBest
from gpot.training.fit import fit, intervals
from gpot.training.flow import FlowModule
from gpot.training.pace import TIMED_STEPS, Pace, n_steps, pace
from gpot.training.watch import PaperLines

log = logging.getLogger(__name__)

_SPLIT_SEED = 42  # of the training and validation rows, as in the released code
_CHUNK = 8192
_VALIDATION_POINTS = 4096
LARGEST_LOSS = 0.5  # share of the prior samples outside the image of f


def split(n: int) -> tuple[Tensor, Tensor]:
    """Training and validation rows of n points, 80 and 20 %, the same for every run."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_SPLIT_SEED))
    return order[: n_train(n)], order[n_train(n) :]


def flow_stage(config: Config, points: tuple[Stage, ...]) -> Stage:
    """The flow's weights (`weights.safetensors`), with the released names; the best of its validations.

    points: what it learns from; none where its weights are given.
    """
    flow, dim = config.flow, config.dataset.dim
    if isinstance(flow, BNAFConfig) and flow.width % dim:
        raise BadConfig(
            f"flow=bnaf has hidden layers of the same number of units for each of {dim} coordinates, and flow.width="
            f"{flow.width} is no multiple of {dim}. Set flow.width={(flow.width // dim + 1) * dim}."
        )
    if flow.weights is not None:
        frozen = families.architecture(flow)
        frozen |= {
            "dim": config.dataset.dim,
            "sha256": weights_hash(flow.weights, partial(families.network, flow, config.dataset.dim)),
        }
        return Stage("flow", 1, config, {"flow": frozen}, (), _load)
    settings = {
        "flow": families.training_settings(flow),
        "optimizer": adam_settings(config.optimizer.flow),
        "seed": config.seed,
    }
    return Stage("flow", 1, config, settings, points, _train, logged=True, pace=_pace)


def _pace(stage: Stage) -> Pace:
    config = stage.config
    n, dim = len(split(n_points(stage.inputs[0]))[0]), config.dataset.dim
    steps = n_steps(config.flow.epochs, n, config.flow.batch_size)
    batches = [(torch.randn(min(config.flow.batch_size, n), dim),) for _ in range(1 + TIMED_STEPS)]
    flow = families.network(config.flow, dim, training=True)
    _initialize(flow, batches[0][0])
    module = FlowModule(flow, families.log_likelihood(config.flow, flow), config.optimizer.flow, steps)
    return pace(module, batches, steps, device=config.device.first)


def _initialize(flow: nn.Module, points: Tensor) -> None:
    """ActNorm starts from data."""
    initialize: Any = getattr(flow, "initialize", None)
    if initialize is not None:
        initialize(points)


def _load(bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    flow = families.network(config.flow, config.dataset.dim, training=True)
    load_weights(flow, str(config.flow.weights), Path(config.paths.data))
    return bench.keep(flow, None)


def _train(bench: Bench) -> Mapping[str, Any]:
    flow = families.network(bench.config.flow, bench.config.dataset.dim, training=True)
    return bench.keep(flow, partial(_fit, flow, points_in(bench.inputs), bench))


def _fit(flow: nn.Module, points: Tensor, bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    train, validation = split(len(points))
    batch = min(config.flow.batch_size, len(train))
    steps = n_steps(config.flow.epochs, len(train), batch)
    epochs, n_batches = intervals(steps, len(train) // batch, at_most=600)
    data = ArrayDataModule(
        (points[train],), (points[validation[:_VALIDATION_POINTS]],),
        batch_size=batch, n_batches=n_batches, seed=config.seed,
    )  # fmt: skip
    _initialize(flow, points[train[:batch]])
    logger = bench.open_logger()
    keep = KeepBest(VAL_NLL, flow)
    module = FlowModule(flow, families.log_likelihood(config.flow, flow), config.optimizer.flow, steps)
    lines = PaperLines(paper_lines(config.dataset.name, config.flow.name, Row.flow))
    fit(
        module, data, config.device, seed=config.seed, epochs=epochs, work=bench.work, name="flow",
        optimizer=config.optimizer.flow, callbacks=[keep] if logger is None else [keep, lines], logger=logger,
    )  # fmt: skip
    keep.restore()
    return {VAL_NLL: keep.best, "best_epoch": keep.best_epoch}


def load_flow(config: Config, artifact: Artifact) -> FrozenFlow:
    """The frozen flow of an artefact, on the device of the config."""
    flow = families.network(config.flow, config.dataset.dim)
    flow.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return FrozenFlow(families.adapter(config.flow, flow)).to(config.device.first)


def prior_pairs(flow: FrozenFlow, n: int, draw: torch.Generator, what: str) -> tuple[Tensor, Tensor, int]:
    """n prior samples z, their preimages x = f^-1(z), each (m, d) float32 on the CPU, and n - m.

    m < n only for a flow that is not onto (BNAF), which says so by rows of NaN: those samples are left out, counted and
    logged. Any other row that is not finite is an error.
    Raises: FlowRefused where more than `LARGEST_LOSS` of them are left out: what is left is far from Gaussian.
    """
    z = torch.randn(n, flow.dim, generator=draw)
    chunks, lost_allowed = z.split(_CHUNK), not flow.onto
    x = torch.cat(
        [pull_back(flow, c.to(flow.device), allow_lost=lost_allowed).cpu() for c in track(chunks, len(chunks), what)]
    )
    kept = x.isfinite().all(1)
    lost = int((~kept).sum())
    if lost > LARGEST_LOSS * n:
        raise FlowRefused(
            f"{n} prior samples were asked for, and {lost} of them ({lost / n:.0%}) lie outside the image of the flow: "
            "what is left is far from N(0, I). Train the flow for longer (flow.epochs), choose one that is onto "
            "(flow=ffjord), or learn from data (gp.source=data)"
        )
    if lost:
        log.warning("%d of %d prior samples lie outside the image of the flow: they are left out", lost, n)
    return x[kept], z[kept], lost


def pairs_stage(config: Config, inputs: tuple[Stage, ...]) -> Stage:
    """Pairs for a GP flow, `pairs.safetensors`: x_train, z_train, x_validation, z_validation (section 5 of the paper).

    `gp.source=prior`: z ~ N(0, I), x = f^-1(z); no data is touched. `gp.source=data`: the points x, z = f(x).
    inputs: the flow; then, for `gp.source=data`, the points.
    """
    gp = config.gp
    settings = {
        "source": gp.source.value, "n_train": gp.n_train, "n_validation": gp.n_validation, "seed": config.seed,
        "flow": families.evaluation_settings(config.flow),
    }  # fmt: skip
    return Stage("pairs", 1, config, settings, inputs, _pair, on_demand=True)


def _pair(bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    flow, gp = load_flow(config, bench.inputs["flow"]), config.gp
    sizes, lost = (gp.n_train, gp.n_validation), 0
    if gp.source is Source.prior:
        x, z, lost = prior_pairs(flow, sum(sizes), generator(config.seed, 1), "pulling prior samples back")
        parts = (x[: gp.n_train], x[gp.n_train :], z[: gp.n_train], z[gp.n_train :])
    else:
        points = points_in(bench.inputs)
        x_train, x_validation = (points[rows[:n]] for rows, n in zip(split(len(points)), sizes, strict=True))
        parts = (x_train, x_validation, push(flow, x_train), push(flow, x_validation))
    names = ("x_train", "x_validation", "z_train", "z_validation")
    save_file({k: v.contiguous() for k, v in zip(names, parts, strict=True)}, bench.folder / "pairs.safetensors")
    return {"cost": (parts[0] - parts[2]).square().sum(1).mean().item(), "lost": lost}


def push(flow: FrozenFlow, x: Tensor) -> Tensor:
    """z = f(x) (n, d), on the CPU."""
    chunks = x.split(_CHUNK)
    return torch.cat([flow.transform(c.to(flow.device)).cpu() for c in track(chunks, len(chunks), "mapping data to z")])
