"""Stage `flow`: the frozen normalizing flow. Stage `pairs`: what a GP flow trains on, pairs (x, z = f(x))."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpot.config.schema import Config, Solver, Source
from gpot.data.datamodule import ArrayDataModule
from gpot.flows.base import FrozenFlow
from gpot.flows.ffjord import FFJORDFlow, pull_back
from gpot.flows.weights import load_released
from gpot.progress import track
from gpot.stages.common import Recipe, device_of, generator, obtain, plain, without
from gpot.stages.vae import latents_stage, weights_hash
from gpot.store import Artifact, Store
from gpot.training.callbacks import KeepBest
from gpot.training.fit import fit, intervals
from gpot.training.flow import FlowModule
from third_party.ffjord import FFJORD

WEIGHTS = "weights.safetensors"
_SPLIT_SEED = 42  # of the training and validation rows, as in the released code
_TRAIN_SHARE = 0.8
_CHUNK = 8192
_VALIDATION_POINTS = 4096


def network(config: Config, *, training: bool = False) -> FFJORD:
    """FFJORD with fresh weights, and the solver for training or for the frozen flow."""
    flow = config.flow
    solver = flow.training_solver if training else flow.solver
    n_steps = flow.training_steps if training else flow.solver_steps
    return FFJORD(
        config.dataset.dim, hidden=tuple(flow.hidden), n_blocks=flow.n_blocks, solver=solver.value,
        atol=flow.tolerance, rtol=flow.tolerance, n_steps=n_steps,
    )  # fmt: skip


def solver_settings(config: Config) -> dict[str, Any]:
    """What of the frozen flow's solver its values depend on, for keys."""
    flow = config.flow
    if flow.solver is Solver.rk4:
        return {"solver": flow.solver.value, "steps": flow.solver_steps}
    return {"solver": flow.solver.value, "tolerance": flow.tolerance}


def split(n: int) -> tuple[Tensor, Tensor]:
    """Training and validation rows of n points, 80 and 20 %, the same for every run."""
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_SPLIT_SEED))
    n_train = int(_TRAIN_SHARE * n)
    return order[:n_train], order[n_train:]


def flow_recipe(config: Config, latents: Artifact | None) -> Recipe:
    architecture = {"name": config.flow.name, "hidden": config.flow.hidden, "n_blocks": config.flow.n_blocks}
    if config.flow.weights is not None:
        frozen = architecture | {"dim": config.dataset.dim, "sha256": weights_hash(config.flow.weights)}
        return Recipe("flow", 1, {"flow": frozen}, {})
    assert latents is not None
    # the frozen flow's solver does not enter: it is chosen when the flow is used
    settings = {
        "flow": without(config.flow, "weights", "solver", "tolerance", "solver_steps"),
        "optimizer": plain(config.optimizer.flow),
        "seed": config.seed,
    }
    return Recipe("flow", 1, settings, {"latents": latents.key})


def flow_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """The flow's weights (`weights.safetensors`), with the released names; the best of its validations."""
    latents = None if config.flow.weights is not None else latents_stage(config, store, needed_by or "flow")

    def build(folder: Path) -> Mapping[str, Any]:
        flow = network(config, training=True)
        metrics: dict[str, Any] = {}
        if latents is None:
            load_released(flow, str(config.flow.weights))
        else:
            points = torch.from_numpy(latents.array("mean.npy"))
            metrics = _train(flow, points, config, store.work(recipe.stage, recipe.key))
        save_file(flow.state_dict(), folder / WEIGHTS)
        return metrics | {"parameters": sum(p.numel() for p in flow.parameters())}

    recipe = flow_recipe(config, latents)
    return obtain(recipe, config, store, build, needed_by=needed_by, command="python scripts/train_flow.py")


def _train(flow: FFJORD, points: Tensor, config: Config, work: Path) -> dict[str, Any]:
    train, validation = split(len(points))
    batch = min(config.flow.batch_size, len(train))
    steps = config.flow.epochs * (len(train) // batch)
    epochs, n_batches = intervals(steps, len(train) // batch, at_most=600)
    data = ArrayDataModule(
        (points[train],), (points[validation[:_VALIDATION_POINTS]],),
        batch_size=batch, n_batches=n_batches, seed=config.seed,
    )  # fmt: skip
    keep = KeepBest("val/nll", flow, work / "best.safetensors")
    module = FlowModule(flow, config.flow, config.optimizer.flow, steps)
    fit(
        module, data, config, epochs=epochs, work=work, name="flow", optimizer=config.optimizer.flow, callbacks=[keep]
    )  # fmt: skip
    keep.restore()
    return {"val/nll": keep.best, "best_epoch": keep.best_epoch}


def load_flow(config: Config, artifact: Artifact) -> FrozenFlow:
    """The frozen flow of an artefact, on the device of the config."""
    flow = network(config)
    flow.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return FrozenFlow(FFJORDFlow(flow)).to(device_of(config))


def prior_pairs(flow: FrozenFlow, n: int, draw: torch.Generator, what: str) -> tuple[Tensor, Tensor]:
    """n prior samples z and their preimages x = f^-1(z), each (n, d) float32 on the CPU."""
    z = torch.randn(n, flow.dim, generator=draw)
    device = next(flow.parameters()).device
    chunks = z.split(_CHUNK)
    x = torch.cat([pull_back(flow, chunk.to(device)).cpu() for chunk in track(chunks, len(chunks), what)])
    return x, z


def pairs_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """Pairs for a GP flow, `pairs.safetensors`: x_train, z_train, x_validation, z_validation (section 5 of the paper).

    `gp.source=prior`: z ~ N(0, I), x = f^-1(z); no data is touched. `gp.source=data`: latent codes x, z = f(x).
    """
    flow = flow_stage(config, store, needed_by or "gp")
    gp = config.gp
    inputs = {"flow": flow.key}
    latents = None
    if gp.source is Source.data:
        latents = latents_stage(config, store, needed_by or "gp")
        inputs["latents"] = latents.key
    settings = {
        "source": gp.source.value, "n_train": gp.n_train, "n_validation": gp.n_validation, "seed": config.seed,
        "flow": solver_settings(config),
    }  # fmt: skip
    recipe = Recipe("pairs", 1, settings, inputs)

    def build(folder: Path) -> Mapping[str, Any]:
        frozen = load_flow(config, flow)
        if latents is None:
            n = gp.n_train + gp.n_validation
            x, z = prior_pairs(frozen, n, generator(config, 1), "pulling prior samples back")
            parts = (x[: gp.n_train], x[gp.n_train :], z[: gp.n_train], z[gp.n_train :])
        else:
            points = torch.from_numpy(latents.array("mean.npy"))
            rows = split(len(points))
            x_train, x_validation = points[rows[0][: gp.n_train]], points[rows[1][: gp.n_validation]]
            parts = (x_train, x_validation, _push(frozen, x_train), _push(frozen, x_validation))
        names = ("x_train", "x_validation", "z_train", "z_validation")
        save_file({k: v.contiguous() for k, v in zip(names, parts, strict=True)}, folder / "pairs.safetensors")
        return {"cost": (parts[0] - parts[2]).square().sum(1).mean().item()}

    return obtain(recipe, config, store, build, needed_by=None, command="python scripts/train_gp.py")


def _push(flow: FrozenFlow, x: Tensor) -> Tensor:
    device = next(flow.parameters()).device
    chunks = x.split(_CHUNK)
    return torch.cat([flow.transform(c.to(device)).cpu() for c in track(chunks, len(chunks), "mapping data to z")])
