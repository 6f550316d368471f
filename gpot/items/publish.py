"""The result of stage `report` in the logger: the table, the figures, and the models behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gpot.stages.stage import Workshop
from gpot.store import Artifact
from gpot.tracking.loggers import pixels_of
from gpot.tracking.names import REPORT_FIGURES, REPORT_TABLE
from gpot.tracking.run import Run, models_behind
from gpot.tracking.run_logger import Description


def publish(
    about: Callable[[], Description],
    workshop: Workshop,
    rows: Sequence[Mapping[str, Any]],
    artifacts: Sequence[Artifact],
    files: Sequence[Path],
) -> None:
    """One run of the logger, none for `logger=none`.

    Arguments:
        about: says what it is told of the item.
        workshop: where the models are, and what opens the logger.
        rows: of the result's JSON.
        artifacts: what the rows were measured in.
        files: of the figures; the PNG among them are shown.
    """
    with Run(about, workshop.open_logger) as run:
        logger = run.open()
        if logger is None:
            return
        logger.table(REPORT_TABLE, *flat(rows))
        pictures = {path.stem: pixels_of(path) for path in files if path.suffix == ".png"}
        if pictures:
            logger.images(REPORT_FIGURES, pictures, 0)
        behind = {model.key: model for artifact in artifacts for model in models_behind(artifact, workshop.store)}
        logger.result(None, behind.values())


def flat(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """Columns and rows of a table of entries: the keys of all, and `paper cost` for the printed number of `cost`.

    >>> flat([{"row": "flow", "cost": 1.4, "paper": {"cost": 1.35}}, {"row": "flow+gp", "paper": {}, "energy": 0.1}])
    (['row', 'cost', 'paper cost', 'energy'], [['flow', 1.4, 1.35, None], ['flow+gp', None, None, 0.1]])
    """
    entries = []
    for row in rows:
        entry: dict[str, Any] = {}
        for key, value in row.items():
            if key == "values":  # of each seed: means and spreads are columns of their own
                continue
            if isinstance(value, Mapping):
                entry |= {f"{key} {name}": number for name, number in value.items()}
            elif isinstance(value, list):
                entry[key] = " ".join(map(str, value))
            else:
                entry[key] = value
        entries.append(entry)
    columns = list(dict.fromkeys(key for entry in entries for key in entry))
    return columns, [[entry.get(column) for column in columns] for entry in entries]
