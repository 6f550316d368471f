"""What stands behind a result, found by walking the manifests from the artefacts that its rows name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpot.config.schema import Config
from gpot.gp.base import GaussianPreserving
from gpot.report.page.items import Origin
from gpot.stages.flow import flow_recipe
from gpot.stages.gp import gp_recipe, load_gp
from gpot.stages.rows import ReportRow
from gpot.store import Artifact, Store

_MEASURED = ("evaluate", "traversals")  # stages that a row of a result may name


@dataclass(frozen=True)
class Lineage:
    """Artefacts behind a result. of_row: number of the row -> the artefact that it names; found: all, by (stage, key);
    missing: `stage/key` of those that no store has."""

    of_row: dict[int, Artifact] = field(default_factory=dict)
    found: dict[tuple[str, str], Artifact] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def behind(self, number: int, stage: str) -> Artifact | None:
        """The artefact of a stage that a row was measured with."""
        artifact = self.of_row.get(number)
        key = None if artifact is None else artifact.manifest["inputs"].get(stage)
        return None if key is None else self.found.get((stage, key))


def lineage(store: Store, payload: Mapping[str, Any]) -> Lineage:
    """Follow `artifact` of each row through the inputs of the manifests."""
    result = Lineage()
    for number, row in enumerate(payload["rows"]):
        key = row.get("artifact")
        if key is None:
            continue
        artifact = next(filter(None, (store.find(stage, key) for stage in _MEASURED)), None)
        if artifact is None:
            _miss(result, f"{_MEASURED[0]}/{key}")
            continue
        result.of_row[number] = artifact
        _walk(store, artifact, result)
    return result


def origin(made: Lineage) -> Origin:
    """Times and devices of all that was found."""
    artifacts = list(made.found.values())
    devices = dict.fromkeys(str(artifact.manifest["device"]) for artifact in artifacts)
    return Origin(
        sum(float(artifact.manifest["duration"]) for artifact in artifacts), len(artifacts), tuple(devices),
        tuple(made.missing),
    )  # fmt: skip


def same_gp(row: ReportRow, gp: Artifact) -> bool:
    """Whether the config of a row makes this GP flow: else its network would be another."""
    pairs = Artifact("pairs", str(gp.manifest["inputs"]["pairs"]), gp.folder, {})
    return gp_recipe(row.config, pairs).key == gp.key


def same_flow(config: Config, flow: Artifact) -> bool:
    """Whether a config makes this flow."""
    inputs = flow.manifest["inputs"]
    points = next((Artifact(stage, key, flow.folder, {}) for stage, key in inputs.items()), None)
    if (config.flow.weights is None) == (points is None):
        return False
    return flow_recipe(config, points).key == flow.key


def loaded(row: ReportRow, gp: Artifact) -> GaussianPreserving | None:
    """The GP flow of a row, None where the row's config makes another."""
    return load_gp(row.config, gp) if same_gp(row, gp) else None


def _walk(store: Store, artifact: Artifact, result: Lineage) -> None:
    if (artifact.stage, artifact.key) in result.found:
        return
    result.found[artifact.stage, artifact.key] = artifact
    for stage, key in artifact.manifest["inputs"].items():
        above = store.find(stage, key)
        if above is None:
            _miss(result, f"{stage}/{key}")
        else:
            _walk(store, above, result)


def _miss(result: Lineage, name: str) -> None:
    if name not in result.missing:
        result.missing.append(name)
