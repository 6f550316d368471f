"""Where the images of each dataset config come from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpot.config.schema import ArchiveConfig, DSpritesConfig, ImagesConfig, MnistConfig, OwnImagesConfig
from gpot.data.archive_images import ArchiveImages
from gpot.data.images import DSpritesImages, ImageSource, MnistImages
from gpot.data.own_images import OwnImages

SOURCES: dict[type[ImagesConfig], Callable[[Any, Path], ImageSource]] = {
    DSpritesConfig: lambda dataset, folder: DSpritesImages(dataset.path),
    MnistConfig: lambda dataset, folder: MnistImages(folder, dataset.split, dataset.image_size),
    OwnImagesConfig: lambda dataset, folder: OwnImages(str(dataset.path)),
    ArchiveConfig: lambda dataset, folder: ArchiveImages(
        dataset.name, dataset.path, folder, dataset.pattern, dataset.image_size, dataset.channels
    ),
}


def image_source(dataset: ImagesConfig, folder: Path) -> ImageSource:
    """The source of a dataset config. folder: `paths.data`, where downloaded files are."""
    return SOURCES[type(dataset)](dataset, folder)
