"""The names in offline W&B runs against those that the dashboard counts on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gpot.tracking.dashboard.layout import names_of, parts
from gpot.tracking.names import GLOBAL_STEP, LOGGED, When, names
from gpot.tracking.offline_run import OfflineRun

_OWN = {"epoch", GLOBAL_STEP}  # of Lightning


@dataclass(frozen=True)
class Comparison:
    """Of one stage. logged: in its runs. missing: the dashboard names them and no run has them. conditional: the same,
    of names that a run has on a condition alone. unknown: logged, and not in the table of names."""

    stage: str
    runs: int
    logged: frozenset[str]
    missing: frozenset[str]
    conditional: frozenset[str]
    unknown: frozenset[str]

    @property
    def text(self) -> str:
        """A few lines for a terminal."""
        lines = [f"{self.stage}: {self.runs} run{'s' * (self.runs != 1)}"]
        when = {entry.key: entry.when for entry in LOGGED}
        lines += [f"  found    {name}" for name in sorted(self.logged)]
        lines += [f"  not here {name}  ({when[name].value})" for name in sorted(self.conditional)]
        lines += [f"  MISSING  {name}" for name in sorted(self.missing)]
        lines += [f"  UNKNOWN  {name}" for name in sorted(self.unknown)]
        return "\n".join(lines)


def compare(runs: Sequence[OfflineRun]) -> list[Comparison]:
    """One comparison for each stage that the runs are of."""
    panel_names = names_of(panel for part in parts() for panel in part.panels)
    names_by_stage: dict[str, set[str]] = {}
    for run in runs:
        names_by_stage.setdefault(run.stage, set()).update(run.names - _OWN)
    always = {entry.key for entry in LOGGED if entry.when is When.always}
    compared = []
    for stage, there in sorted(names_by_stage.items()):
        absent = (panel_names & names([stage])) - there
        number = sum(run.stage == stage for run in runs)
        compared.append(
            Comparison(
                stage, number, frozenset(there), frozenset(absent & always), frozenset(absent - always),
                frozenset(there - names([stage])),
            )
        )  # fmt: skip
    return compared
