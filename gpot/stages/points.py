"""Stage `points`: what a flow sees, drawn from a density or read from a user's file. Of images it is codes, which stage
`latents` makes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gpot.config.checks import points as points_rules
from gpot.config.schema import Config, PointsConfig, ToyConfig
from gpot.data import toy
from gpot.data.points import Standardization, array_hash, read_points, single
from gpot.errors import BadConfig, GpotWarning
from gpot.stages.stage import Bench, Stage
from gpot.stages.vae import codes_stage, images_of
from gpot.store import Artifact, save_array
from gpot.training.vae import kl_per_axis

log = logging.getLogger(__name__)

_MEAN, _SCALE = "mean.npy", "scale.npy"
NAMES = {"points", "latents"}  # stages that make what a flow sees


def points_stage(config: Config) -> Stage:
    """What the flow of a config without images sees.

    `points.npy`, (n, d) float32; for a standardized file also `mean.npy` and `scale.npy`, which undo it.
    """
    dataset = config.dataset
    if isinstance(dataset, ToyConfig):
        settings = {"density": dataset.name, "n": dataset.n_points, "seed": config.seed}
        return Stage("points", 1, config, settings, (), partial(_draw, dataset), on_demand=True)
    if isinstance(dataset, PointsConfig) and dataset.path is not None:
        read = partial(_read, dataset.path, dataset.standardize)
        settings = {"standardize": dataset.standardize}
        looked_at(dataset.path, dataset.standardize)  # before anything is made of them
        return Stage("points", 1, config, settings, (), read, data_hash=array_hash(dataset.path), on_demand=True)
    raise BadConfig(f"dataset '{dataset.name}' has no points of its own. Type dataset=array dataset.path=points.npy.")


def looked_at(path: str, standardize: bool) -> None:
    """Raises what reading the points of a file would, once for each content."""
    if Path(path).is_file():
        known = Path(path).stat()
        _look_at(path, standardize, known.st_mtime_ns, known.st_size)


@lru_cache(maxsize=16)
def _look_at(path: str, standardize: bool, *_: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GpotWarning)  # said when they are read
        _as_seen(path, standardize)


def _as_seen(path: str, standardize: bool) -> tuple[NDArray[np.float32], Standardization | None]:
    """The points of a file as a flow sees them (n, d), and what standardized them."""
    points = read_points(path)
    if not standardize:
        return single(points, path), None
    standard = Standardization.of(points)
    return single(standard.apply(points), f"{path}, standardized,", points), standard


def _draw(dataset: ToyConfig, bench: Bench) -> Mapping[str, Any]:
    return _keep(toy.sample(dataset.name, dataset.n_points, bench.config.seed), bench)


def _read(path: str, standardize: bool, bench: Bench) -> Mapping[str, Any]:
    points, standard = _as_seen(path, standardize)
    if standard is None:
        return _keep(points, bench)
    save_array(bench.folder / _MEAN, standard.mean)
    save_array(bench.folder / _SCALE, standard.scale)
    log.info(
        "points: standardized; a training's NLL is of them, %+.3f nats make it that of the file's units",
        -standard.log_det,
    )
    return _keep(points, bench)


def _keep(points: Any, bench: Bench) -> Mapping[str, Any]:
    save_array(bench.folder / "points.npy", points)
    return {"n": len(points), "mean": points.mean(0).tolist(), "std": points.std(0).tolist()}


def points_in(inputs: Mapping[str, Artifact]) -> Tensor:
    """The points (n, d) float32 of a stage that reads them beside others, by whichever name theirs has."""
    return points_of(next(inputs[name] for name in NAMES if name in inputs))


@dataclass(frozen=True)
class PointRows:
    """What the flow of a config sees, by rows: their number, and what gives some of them, (m, d) float32. units: the
    standardization of a user's file, None where the flow sees the points as they are."""

    n: int
    read: Callable[[Tensor], Tensor]
    units: Standardization | None = None


def points_by_rows(bench: Bench) -> PointRows:
    """For a stage that reads its points or codes partly: where the codes of all images are not there, those of the rows
    are encoded."""
    config = bench.config
    if not NAMES & bench.inputs.keys():
        latents = bench.stage.input("latents")
        n = len(images_of(config).index())
        return PointRows(n, lambda rows: points_of(bench.read(codes_stage(latents, rows.numpy()))))
    points, units = points_in(bench.inputs), None
    if isinstance(config.dataset, PointsConfig) and config.dataset.standardize:
        units = Standardization(bench.inputs["points"].array(_MEAN), bench.inputs["points"].array(_SCALE))
    return PointRows(len(points), lambda rows: points[rows], units)


def posteriors(bench: Bench, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of the images of those rows: codes (m, d), and the KL of each coordinate, the mean over them, (d,) nats. They are
    encoded where the codes of all images are not there."""
    latents = bench.inputs.get("latents")
    if latents is None:
        codes = bench.read(codes_stage(bench.stage.input("latents"), rows.numpy()))
        return points_of(codes), torch.tensor(codes.manifest["metrics"]["kl"], dtype=torch.float64)
    mean, log_variance = points_of(latents)[rows], torch.from_numpy(latents.array("log_variance.npy")).float()[rows]
    return mean, kl_per_axis(mean, log_variance).double()


def n_points(stage: Stage) -> int:
    """How many points or codes a stage gives, known before they are there."""
    n = points_rules.n_points(stage.config.dataset)
    return len(images_of(stage.config).index()) if n is None else n


def points_of(artifact: Artifact) -> Tensor:
    """The points (n, d) float32 of an artefact, or the codes of one of `latents` or `codes`."""
    return torch.from_numpy(artifact.array("points.npy" if artifact.stage == "points" else "mean.npy")).float()
