"""What stands behind a result: the artefacts that its rows were measured with, found by walking their manifests."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.store import Artifact, Store
from gpot.tracking.names import TRAIN_COST, TRAIN_LOSS, TRAIN_NLL, VAL_COST, VAL_NLL
from gpot.training.history import HISTORY

TRAINED = ("vae", "flow", "gp")
_VALIDATION = {"vae": "val/reconstruction", "flow": VAL_NLL, "gp": VAL_COST}
_WATCHED = {"vae": (TRAIN_LOSS,), "flow": (VAL_NLL, TRAIN_NLL), "gp": (VAL_COST, TRAIN_COST)}


@dataclass(frozen=True)
class Lineage:
    """All artefacts behind some others, these included, by (stage, key), and `stage/key` of those that are gone."""

    artifacts: dict[tuple[str, str], Artifact] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, store: Store, artifacts: Sequence[Artifact]) -> Lineage:
        """Follow the inputs of the manifests."""
        lineage = cls()
        for artifact in artifacts:
            lineage._add(store, artifact)
        return lineage

    def behind(self, artifact: Artifact, stage: str) -> Artifact | None:
        """The artefact of a stage that another was made with, at any distance; None where there is none."""
        for name, key in artifact.parents:
            above = self.artifacts.get((name, key))
            if above is not None:
                match = above if name == stage else self.behind(above, stage)
                if match is not None:
                    return match
        return None

    def origin(self) -> dict[str, Any]:
        """Entry `origin` of a result: seconds that all artefacts took, their number, their devices, what is missing."""
        manifests = [artifact.manifest for artifact in self.artifacts.values()]
        return {
            "seconds": round(sum(float(manifest["duration"]) for manifest in manifests), 1),
            "n_artifacts": len(manifests),
            "devices": list(dict.fromkeys(str(manifest["device"]) for manifest in manifests)),
            "missing": self.missing,
        }

    def _add(self, store: Store, artifact: Artifact) -> None:
        if (artifact.stage, artifact.key) in self.artifacts:
            return
        self.artifacts[artifact.stage, artifact.key] = artifact
        partly = artifact.manifest.get("through", {})
        for stage, key in artifact.parents:
            above = store.find(stage, key)
            if above is not None:
                self._add(store, above)
            elif f"{stage}/{key}" not in self.missing and stage not in partly:
                self.missing.append(f"{stage}/{key}")


def model_entry(artifact: Artifact) -> dict[str, Any]:
    """What a result says of a trained model: how it was trained, and how its validation ended."""
    manifest, metrics = artifact.manifest, artifact.manifest["metrics"]
    metric = _VALIDATION[artifact.stage]
    best, epoch, epochs = (metrics.get(key) for key in (metric, "best_epoch", "epochs"))
    return {
        "stage": artifact.stage,
        "key": artifact.key,
        "metric": metric,
        "best": best if isinstance(best, int | float) and math.isfinite(best) else None,
        "best_epoch": epoch,
        "epochs": epochs,
        "seconds": float(manifest["duration"]),
        "seed": manifest["seed"],
        "device": str(manifest["device"]),
        "budget": manifest.get("budget"),
        "commit": manifest["commit"],
        "watched": [name for name, _ in _courses(artifact)],
    }


def history(artifact: Artifact) -> NDArray[np.float64] | None:
    """What was watched in each epoch of a training, (metrics, epochs) in the order of `watched`; None where no history
    was kept. NaN: not logged in that epoch; infinite: not finite."""
    courses = _courses(artifact)
    return np.array([values for _, values in courses]) if courses else None


def _courses(artifact: Artifact) -> list[tuple[str, list[float]]]:
    if HISTORY not in artifact.manifest["files"]:
        return []
    epochs = json.loads(artifact.file(HISTORY).read_text(encoding="utf-8"))
    logged = {key for epoch in epochs for key in epoch}
    courses = []
    for metric in _WATCHED[artifact.stage]:
        if metric in logged:
            values = [epoch.get(metric, math.nan) for epoch in epochs]
            courses.append((metric, [math.inf if value is None else value for value in values]))
    return courses
