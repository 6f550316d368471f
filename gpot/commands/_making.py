"""The commands that make the results of stages."""

from __future__ import annotations

from collections.abc import Callable

from gpot.config import Config
from gpot.entry import entry
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import Stage, open_workshop
from gpot.store import Artifact


def makes(root: str, *results: Callable[[Pipeline], Stage]) -> Callable[[], None]:
    """The command of a root config: makes these stages, and prints where their results are."""

    @entry(root)
    def main(config: Config) -> list[Artifact]:
        workshop, pipeline = open_workshop(config), Pipeline(config)
        artifacts = [workshop.make(result(pipeline)) for result in results]
        for artifact in artifacts:
            print(artifact.folder)
        return artifacts

    return main
