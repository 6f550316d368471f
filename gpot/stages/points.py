"""Stage `points`: what a flow sees, drawn from a density or read from a user's file. Of images it is codes, which stage
`latents` makes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpot.config.schema import Config, ImagesConfig, PointsConfig, ToyConfig
from gpot.data import toy
from gpot.data.points import Standardization, array_hash, read_points
from gpot.errors import BadConfig
from gpot.stages.common import Recipe, obtain
from gpot.stages.vae import latents_stage
from gpot.store import Artifact, Store


def points_recipe(config: Config) -> Recipe:
    dataset = config.dataset
    if isinstance(dataset, ToyConfig):
        return Recipe("points", 1, {"density": dataset.name, "n": dataset.n_points, "seed": config.seed}, {})
    if isinstance(dataset, PointsConfig) and dataset.path is not None:
        return Recipe("points", 1, {"standardize": dataset.standardize}, {}, array_hash(dataset.path))
    raise BadConfig(f"dataset '{dataset.name}' has no points of its own. Type dataset=array dataset.path=points.npy.")


def points_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """What the flow of the config sees: the artefact of `latents` for images, of `points` else (`points.npy`, (n, d)
    float32; for a standardized file also `mean.npy` and `scale.npy`, which undo it)."""
    if isinstance(config.dataset, ImagesConfig):
        return latents_stage(config, store, needed_by)
    recipe = points_recipe(config)

    def build(folder: Path) -> Mapping[str, Any]:
        dataset = config.dataset
        if isinstance(dataset, ToyConfig):
            points = toy.sample(dataset.name, dataset.n_points, config.seed)
        else:
            assert isinstance(dataset, PointsConfig) and dataset.path is not None
            points = read_points(dataset.path)
            if dataset.standardize:
                standard = Standardization.of(points)
                points = standard.apply(points)
                np.save(folder / "mean.npy", standard.mean)
                np.save(folder / "scale.npy", standard.scale)
        np.save(folder / "points.npy", points)
        return {"n": len(points), "mean": points.mean(0).tolist(), "std": points.std(0).tolist()}

    return obtain(recipe, config, store, build, needed_by=None, command="python scripts/train_flow.py")


def points_of(artifact: Artifact) -> Tensor:
    """The points (n, d) float32 of an artefact of `points_stage`."""
    return torch.from_numpy(artifact.array("mean.npy" if artifact.stage == "latents" else "points.npy")).float()
