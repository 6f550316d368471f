"""What gpot asks of a logger, and what a logger is told of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gpot.store import Artifact

Pixels = NDArray[np.uint8]  # (height, width, 3 or 4)


@dataclass(frozen=True)
class Description:
    """What a logger says of a run.

    folder: of its files below `paths.logs`. settings: flat (`gpot.tracking.names.SETTINGS`). options: the resolved
    config. group: that runs of one sweep share.
    """

    stage: str
    name: str
    folder: str
    settings: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    group: str | None = None

    def of_key(self, key: str) -> Description:
        """The same run, told the key of its artefact."""
        return replace(self, folder=f"{self.stage}/{key}", settings={**self.settings, "key": key})


class RunLogger(Protocol):
    """What gpot asks of a logger, beyond what Lightning does."""

    def images(self, key: str, images: Mapping[str, Pixels], step: int) -> None:
        """Pictures by their captions."""

    def table(self, key: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Numbers, words and None."""

    def result(self, artifact: Artifact | None, inputs: Iterable[Artifact]) -> None:
        """The artefact that the run made, and the models that it used."""

    def close(self, failed: bool = False) -> None:
        """Write what is left. Nothing can be logged after it."""
