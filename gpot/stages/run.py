"""One run of the logger for one stage: opened when its training begins, closed when its result is in the store."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any

from gpot.config.schema import Config, ImagesConfig
from gpot.paper.printed import paper_numbers
from gpot.stages.chain import gp_row
from gpot.stages.families import gp_family
from gpot.stages.plain import plain
from gpot.store import Artifact, Store, commit
from gpot.tracking.loggers import open_logger
from gpot.tracking.names import PAPER_COST, PAPER_ENERGY, PAPER_NLL
from gpot.tracking.run_logger import Description, RunLogger

MODELS = ("vae", "flow", "gp")  # whose artefacts a logger that keeps them is given; data is in their manifests
# groups of the config that a logger is shown in full; paths are a machine's own
_OPTIONS = ("dataset", "vae", "flow", "gp", "penalty", "optimizer", "device", "evaluate")
_RESUME = "logger_run"  # in the folder of the checkpoints
_PAPER = {"cost": PAPER_COST, "energy": PAPER_ENERGY, "nll_analytic": PAPER_NLL}


class Run:
    """Of stage `stage`, whose artefact has the key `key`. As a context it closes what was opened, also on an error."""

    def __init__(self, config: Config, stage: str, key: str | None = None) -> None:
        self.config, self.stage, self.key = config, stage, key
        self.logger: RunLogger | None = None

    def open(self, store: Store | None = None) -> RunLogger | None:
        """The logger, None for none. store: where the checkpoints are; an interrupted run then goes on as itself."""
        resume = None if store is None or self.key is None else store.work(self.stage, self.key) / _RESUME
        self.logger = open_logger(self.config, describe(self.config, self.stage, self.key), resume)
        return self.logger

    def result(self, artifact: Artifact, store: Store) -> None:
        """Hand over what was made, with the models that it was made from."""
        if self.logger is not None:
            self.logger.result(artifact, models_behind(artifact, store))

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.logger is not None:
            logger, self.logger = self.logger, None
            logger.close(failed=error is not None)


def describe(config: Config, stage: str, key: str | None) -> Description:
    """Name, settings and tags of a run. What the stage does not depend on is left out of its name."""
    vae = config.vae.name if isinstance(config.dataset, ImagesConfig) and config.vae is not None else None
    settings: dict[str, Any] = {
        "stage": stage,
        "key": key,
        "dataset": config.dataset.name,
        "vae": vae,
        "flow": config.flow.name,
        "gp": config.gp.name,
        "velocity": gp_family(config.gp).name,
        "chart": config.gp.chart.value,
        "penalty": config.penalty.name,
        "lambda": config.penalty.weight,
        "seed": config.seed,
        "budget": config.budget.name,
        "commit": commit(),
        "item": config.report.item.value if stage == "report" else None,
    }
    penalized = f"{config.penalty.name} {config.penalty.weight:g}" if config.penalty.weight > 0 else "no penalty"
    words = {
        "vae": [vae or ""],
        "flow": [config.flow.name],
        "gp": [config.flow.name, config.gp.name, penalized],
        "report": [config.report.item.value],
    }[stage]
    options = {name: plain(getattr(config, name)) for name in _OPTIONS}
    return Description(
        stage=stage,
        name=" ".join([stage, config.dataset.name, *words, f"seed {config.seed}"]),
        folder=f"{stage}/{key or config.report.item.value}",
        settings=settings,
        options=options | {"command": list(config.typed)},
        tags=[config.dataset.name, config.budget.name],
        group=config.multirun,
    )


def paper_lines(config: Config, stage: str) -> Mapping[str, float]:
    """The numbers that the paper prints of what a stage trains, by the names of their reference lines."""
    if stage == "vae":
        return {}
    row = "flow" if stage == "flow" else gp_row(config).value
    row = "cpflow" if row == "flow" and config.flow.name == "cpflow" else row
    printed = paper_numbers(config.dataset.name, row, config.flow.name)
    wanted = ("nll_analytic",) if stage == "flow" else tuple(_PAPER)
    return {_PAPER[metric]: printed[metric] for metric in wanted if metric in printed}


def models_behind(artifact: Artifact, store: Store) -> list[Artifact]:
    """The models that an artefact was made from: its inputs, through points, codes and pairs. An input that is no
    longer in the store ends its branch; its key is in the manifest."""
    found: dict[str, Artifact] = {}
    for stage, key in artifact.manifest["inputs"].items():
        made = store.find(stage, key)
        if made is None:
            continue
        for model in [made] if stage in MODELS else models_behind(made, store):
            found[model.key] = model
    return list(found.values())
