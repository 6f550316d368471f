"""Rules of how much data there is, as far as a config and the shapes of files say."""

from __future__ import annotations

from gpot.config.checks.subjects import Gps
from gpot.config.choices import Source
from gpot.config.schema import (
    DatasetConfig,
    EvaluateConfig,
    GpConfig,
    ImagesConfig,
    OwnImagesConfig,
    PointsConfig,
    ReportConfig,
    ToyConfig,
)
from gpot.data.own_files import shape_of_images, shape_of_points
from gpot.data.points import POINTS_PER_COLUMN
from gpot.errors import BadConfig
from gpot.paper.items import Item

TRAIN_SHARE = 0.8  # of the points; the others are held out


def n_points(dataset: DatasetConfig) -> int | None:
    """How many points or images there are; None where only their source knows."""
    if isinstance(dataset, ToyConfig):
        return dataset.n_points
    if isinstance(dataset, PointsConfig):
        return shape_of_points(dataset.path)[0]
    if isinstance(dataset, OwnImagesConfig):
        there = shape_of_images(dataset.path)[0]
        return there if dataset.n_images is None else min(there, dataset.n_images)
    return dataset.n_images if isinstance(dataset, ImagesConfig) else None


def n_train(n: int) -> int:
    """How many of n points a flow is trained on."""
    return int(TRAIN_SHARE * n)


def enough_points(dataset: DatasetConfig) -> None:
    n, least = n_points(dataset), POINTS_PER_COLUMN * dataset.dim
    if n is not None and n < least:
        raise BadConfig(
            f"a flow of {dataset.dim} dimensions needs at least {least} points, {POINTS_PER_COLUMN} for each; got {n}. "
            f"{_more(dataset)}."
        )


def enough_held_out(dataset: DatasetConfig, gps: Gps, evaluate: EvaluateConfig) -> None:
    n = n_points(dataset)
    for name, gp in gps.items():
        if n is not None:
            enough_left(n, gp, evaluate, name, _more(dataset))


def enough_left(
    n: int, gp: GpConfig, evaluate: EvaluateConfig, name: str = "gp", more: str = "Give more points"
) -> None:
    """Raises BadConfig where of n points too few took no part in the training of a GP flow that learns from them, nor
    in the choice of its best epoch."""
    left = min(n - n_train(n) - gp.n_validation, evaluate.n_data)
    if gp.source is Source.data and left < evaluate.certificate_batch:
        raise BadConfig(
            f"evaluation needs at least evaluate.certificate_batch={evaluate.certificate_batch} held-out points, "
            f"and {max(0, left)} are left of {n} after {TRAIN_SHARE:.0%} for training and {name}.n_validation="
            f"{gp.n_validation} for validation. {more}, or set a smaller {name}.n_validation or "
            "evaluate.certificate_batch."
        )


def _more(dataset: DatasetConfig) -> str:
    if isinstance(dataset, PointsConfig):
        return "Give more points"
    if isinstance(dataset, ImagesConfig):
        return "Give more images" if dataset.n_images is None else "Set a larger dataset.n_images, or null for all"
    return "Set a larger dataset.n_points"


def optimum_fits(dataset: DatasetConfig, evaluate: EvaluateConfig, report: ReportConfig) -> None:
    n, largest = n_points(dataset), max(evaluate.optimum_sizes, default=0)
    if report.item in (Item.fig3, Item.fig4) and n is not None and largest > n:
        raise BadConfig(
            f"evaluate.optimum_sizes asks for {largest} points, and dataset '{dataset.name}' has {n}. Set "
            f"evaluate.optimum_sizes to sizes up to {n}, or to [] for none."
        )
