"""One run of the logger for one stage: opened when its training begins, closed when its result is in the store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from gpot.config.plain import plain
from gpot.config.schema import Config, EuclideanCost, ImagesConfig
from gpot.paper.printed import paper_numbers
from gpot.paper.rows import Row
from gpot.store import Artifact, Store, commit
from gpot.tracking.names import PAPER_COST, PAPER_ENERGY, PAPER_NLL
from gpot.tracking.run_logger import Description, RunLogger

MODELS = ("vae", "flow", "gp")  # whose artefacts a logger that keeps them is given; data is in their manifests
# groups of the config that a logger is shown in full; paths are a machine's own
_OPTIONS = ("dataset", "vae", "flow", "gp", "penalty", "cost", "optimizer", "device", "evaluate")
_RESUME = "logger_run"  # in the folder of the checkpoints
_PAPER = {"cost": PAPER_COST, "energy": PAPER_ENERGY, "nll_analytic": PAPER_NLL}

# Of a run's description and the file by which it is resumed
OpenLogger = Callable[[Description, Path | None], RunLogger | None]


class Run:
    """A run that may be logged. As a context it closes what was opened, also on an error.

    Arguments:
        about: says what the logger is told; None for a stage without a run of its own.
        open_logger: `gpot.tracking.loggers.open_logger` of some logger and folder.
    """

    def __init__(self, about: Callable[[], Description] | None, open_logger: OpenLogger) -> None:
        self.about, self._open = about, open_logger
        self.logger: RunLogger | None = None

    def open(self, work: Path | None = None) -> RunLogger | None:
        """The logger, None for none. work: where the checkpoints are; an interrupted run then goes on as itself."""
        if self.about is not None:
            self.logger = self._open(self.about(), None if work is None else work / _RESUME)
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


def describe(config: Config, stage: str) -> Description:
    """Name, settings and tags of a run. What the stage does not depend on is left out of its name."""
    vae = config.vae.name if isinstance(config.dataset, ImagesConfig) and config.vae is not None else None
    item = config.report.item.value
    settings: dict[str, Any] = {
        "stage": stage,
        "key": None,
        "dataset": config.dataset.name,
        "vae": vae,
        "flow": config.flow.name,
        "gp": config.gp.name,
        "velocity": config.gp.family.kind,
        "chart": config.gp.chart.value,
        "penalty": config.penalty.name,
        "lambda": config.penalty.weight,
        "cost": config.cost.name,
        "seed": config.seed,
        "budget": config.budget.name,
        "commit": commit(),
        "item": item if stage == "report" else None,
    }
    penalized = f"{config.penalty.name} {config.penalty.weight:g}" if config.penalty.weight > 0 else "no penalty"
    other_cost = [] if isinstance(config.cost, EuclideanCost) else [f"cost {config.cost.name}"]
    words = {
        "vae": [vae or ""],
        "flow": [config.flow.name],
        "gp": [config.flow.name, config.gp.name, penalized, *other_cost],
        "report": [item],
    }[stage]
    options = {name: plain(getattr(config, name)) for name in _OPTIONS}
    return Description(
        stage=stage,
        name=" ".join([stage, config.dataset.name, *words, f"seed {config.seed}"]),
        folder=f"{stage}/{item}",
        settings=settings,
        options=options | {"command": list(config.typed)},
        tags=[config.dataset.name, config.budget.name],
        group=config.multirun,
    )


def paper_lines(dataset: str, flow: str, row: Row) -> Mapping[str, float]:
    """The numbers that the paper prints of what is trained, a flow or the GP flow of a row, by the names of their
    reference lines."""
    key = "cpflow" if row is Row.flow and flow == "cpflow" else row.value
    printed = paper_numbers(dataset, key, flow)
    metrics = ("nll_analytic",) if row is Row.flow else tuple(_PAPER)
    return {_PAPER[metric]: printed[metric] for metric in metrics if metric in printed}


def models_behind(artifact: Artifact, store: Store) -> list[Artifact]:
    """The models that an artefact was made from: its inputs, through points, codes and pairs. An input that is no
    longer in the store ends its branch; its key is in the manifest."""
    models: dict[str, Artifact] = {}
    for stage, key in artifact.parents:
        result = store.find(stage, key)
        if result is None:
            continue
        for model in [result] if stage in MODELS else models_behind(result, store):
            models[model.key] = model
    return list(models.values())
