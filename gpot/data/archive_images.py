"""Images in an archive or a folder: 3D chairs (Aubry, Maturana, Efros, Russell and Sivic, 2014), CelebA (Liu, Luo, Wang
and Tang, 2015), or a user's own.

A file belongs to the dataset if its name in the archive fits a pattern of the shell, whose `*` stands for slashes too.
Row k of the dataset is the k-th of these names in sorted order.

An image is resized to a square with Pillow's Lanczos filter, whatever its shape, then made grey where one channel is
asked for, as the released code does. Departure: that code saves the resized image as a JPEG file and learns from that;
here nothing is lost in this way.
"""

from __future__ import annotations

import io
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from gpot.data.archives import archive_hash, folder_hash, open_archive, readable
from gpot.data.download import Remote, fetch
from gpot.errors import BadConfig, BadInput, DataMissing
from gpot.progress import track

REMOTES = {
    "chairs": Remote(
        "rendered_chairs.tar",
        None,
        ("https://www.di.ens.fr/willow/research/seeing3Dchairs/data/rendered_chairs.tar",),
    ),
    "celeba": Remote(
        "celeba.zip",
        "md5:00d2c5bc6d35e252742224ab0c1e8fcb",
        ("https://s3-us-west-1.amazonaws.com/udacity-dlnfd/datasets/celeba.zip",),
    ),
}

_FORMATS = ("PNG", "JPEG")
_OPAQUE = ("1", "L", "P", "RGB")  # Pillow's modes that become 8-bit RGB without a change of a colour
_MODES = {1: "L", 3: "RGB"}  # by channels
_SHOWN = 3  # names in an error


def decode(content: bytes, size: int, channels: int) -> NDArray[np.uint8]:
    """The image in the bytes of a PNG or JPEG file, (channels, size, size); channels: 1, grey, or 3, RGB.

    Raises: ValueError where it has transparency, or more than 8 bits of grey, which would have to be thrown away, or
    is of an enormous size; Pillow's errors where it is no whole image. The caller says which image it is.
    """
    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            if image.mode not in _OPAQUE or "transparency" in image.info:
                raise ValueError(f"it must be grey of 8 bits or RGB, without transparency, and is of mode {image.mode}")
            resized = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    except Image.DecompressionBombError as error:  # neither an OSError nor a ValueError
        raise ValueError(str(error)) from error
    return np.moveaxis(np.atleast_3d(np.asarray(resized.convert(_MODES[channels]))), -1, 0)


class ArchiveImages:
    """The images that fit `pattern` in an archive or a folder, resized to (channels, size, size).

    Arguments:
        name: of the dataset, which says what is fetched into `folder` where `path` is None.
        path: a tar or zip archive, or a folder. Even the number of images and the key need the archive: its publisher
            does not say what is in it.
    """

    RESIZED = "lanczos:1"  # raised when a change of the code changes a pixel

    def __init__(self, name: str, path: str | None, folder: Path, pattern: str, size: int, channels: int) -> None:
        self.name, self.path, self.folder, self.pattern, self.size, self.channels = (
            name, path, folder, pattern, size, channels,
        )  # fmt: skip
        if channels not in _MODES:
            raise BadConfig(
                f"images of dataset '{name}' are read with 1 or 3 channels, got channels={channels}.",
                advice={"channels": 3},
            )

    @cached_property
    def archive(self) -> Path:
        """Where the archive is. Raises: DataMissing, BadInput, BadConfig."""
        if self.path is None:
            if self.name not in REMOTES:
                raise BadConfig(
                    f"dataset '{self.name}' names no archive, and only {', '.join(REMOTES)} can be fetched. Name an "
                    "archive or a folder of images by its path.",
                    advice={"path": ...},
                )
            return fetch(REMOTES[self.name], self.folder, f"dataset '{self.name}'")
        path = Path(self.path)
        if not path.exists():
            fetched = ", or None to have it fetched" if self.name in REMOTES else ""
            raise DataMissing(
                f"an archive or a folder of images was to be '{path}', and there is nothing. Correct the "
                f"path{fetched}.",
                advice={"path": ...},
            )
        return path

    @cached_property
    def names(self) -> list[str]:
        """Names of the images, sorted: row k is names[k]. Raises: BadInput where there are none, or one is no file."""
        with open_archive(self.archive) as archive:
            members = archive.members()
        matches = sorted(member for member in members if fnmatchcase(member.name, self.pattern))
        if not matches:
            some = ", ".join(member.name for member in members[:_SHOWN]) + (", ..." if len(members) > _SHOWN else "")
            raise BadInput(
                f"no file in '{self.archive}' fits pattern={self.pattern!r}; it holds {len(members)} files"
                f"{': ' + some if some else ''}. Name another archive (path) or pattern.",
                advice={"path": ..., "pattern": ...},
            )
        for member, following in zip(matches, [*matches[1:], None], strict=True):
            if not member.regular:
                raise BadInput(
                    f"'{member.name}' in '{self.archive}' was to be an image, and is a link or no regular file. "
                    "Make an archive of the files themselves, or leave it out by the pattern.",
                    advice={"pattern": ...},
                )
            if following is not None and member.name == following.name:
                raise BadInput(
                    f"'{self.archive}' holds '{member.name}' more than once, and which one is meant cannot be known. "
                    "Make an archive without repeated names."
                )
        return [member.name for member in matches]

    def __len__(self) -> int:
        return len(self.names)

    def data_hash(self) -> str:
        """The hash of the archive's bytes, or of the images in the folder; the pattern; the version of the resizing."""
        content = folder_hash(self.archive, self.names) if self.archive.is_dir() else archive_hash(self.archive)
        return f"{content},{self.pattern},{self.RESIZED}"

    def pixels(self, index: NDArray[np.int64]) -> Tensor:
        """(n, channels, size, size); only those images are decoded. Raises: BadInput where one cannot be."""
        rows: dict[str, list[int]] = defaultdict(list)
        for row, k in enumerate(index):
            rows[self.names[k]].append(row)
        images = np.empty((len(index), self.channels, self.size, self.size), dtype=np.uint8)
        with open_archive(self.archive) as archive:
            names = [member.name for member in archive.members() if member.name in rows]
            for name in track(names, len(names), f"reading {self.name}"):
                with readable(f"the image '{name}' in '{self.archive}'", "Mend it, or leave it out by the pattern."):
                    images[rows[name]] = decode(archive.read(name), self.size, self.channels)
        return torch.from_numpy(images)

    def unpack(self, pixels: Tensor) -> tuple[Tensor]:
        return (pixels.float() / 255,)

    def labels(self, index: NDArray[np.int64]) -> None:
        """There are none: the sorted name says which chair and view, or whose face, it is."""
