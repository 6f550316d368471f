"""The models of a release: what each is, how it was trained, and which items show it. For their card."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpot.config import compose
from gpot.config.schema import DSpritesConfig, ImagesConfig, MnistConfig
from gpot.items.rows import ReportRow, report_rows
from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.rows import Row, row_name
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import Stage

# Options of released flows that no item shows
_ALSO = (("dataset=pinwheel",), ("dataset=checkerboard",), ("dataset=two_moons", "flow=cpflow"))
# Frozen models that released GP flows stand on, and what their names say of it
_FROZEN = {"ours": "", "authors": ", authors' models"}
_MEASURED = {"vae": "train/reconstruction", "flow": "val/nll", "gp": "val/cost"}


def released_models(folder: Path) -> list[dict[str, Any]]:
    """Each model of the folder `pretrained`, in the order of the stages: its dataset, its name, the settings of its
    training, what was measured at its end, seconds, device, and the items that show it. Those that differ in their seed
    alone have the same `trained_as`."""
    shown: dict[tuple[str, str], list[tuple[str, str, str]]] = {}
    for dataset, name, item, stage in _stages():
        shown.setdefault((stage.name, stage.key), []).append((dataset, name, item))
    models = []
    for path in sorted(folder.glob("*/*/manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        of, config = shown.get((manifest["stage"], manifest["key"]), []), manifest["config"]
        metrics = manifest["metrics"]
        trained = config.get(manifest["stage"]) if manifest["stage"] in _MEASURED else {}
        models.append({
            "stage": manifest["stage"], "key": manifest["key"],
            "dataset": names.DATASETS[of[0][0]] if of else None, "name": of[0][1] if of else None,
            "items": list(dict.fromkeys(item for _, _, item in of if item)),
            "parameters": metrics.get("parameters"), "epochs": trained.get("epochs"),
            "batch_size": trained.get("batch_size"), "lr": config.get("optimizer", {}).get("lr"),
            "schedule": config.get("optimizer", {}).get("schedule"), "precision": trained.get("precision"),
            "measured": metrics.get(_MEASURED.get(manifest["stage"], "")), "best_epoch": metrics.get("best_epoch"),
            "seed": config.get("seed"), "seconds": manifest["duration"], "device": manifest["device"],
            "trained_as": f"{of[0][0]} {of[0][1]}" if of else manifest["key"],
            "history": (path.parent / "history.json").is_file(),
        })  # fmt: skip
    order = ["vae", "latents", "codes", "flow", "rotation", "gp", "potential"]
    return sorted(models, key=lambda m: (order.index(m["stage"]), m["dataset"] or "", m["name"] or "", m["key"]))


def _stages() -> Iterator[tuple[str, str, str, Stage]]:
    """Dataset, name, item and stage of what the items show."""
    for models, whose in _FROZEN.items():
        for item in Item:
            for row in report_rows(compose("report", [f"experiment={item}", f"models={models}"])):
                for name, stage in stages_of(row):
                    yield row.config.dataset.name, f"{name}{whose}", item.label, stage
    for options in _ALSO:
        config = compose("train_flow", options)
        yield config.dataset.name, row_name(Row.flow.value, config.flow.name), "", Pipeline(config).flow


def stages_of(row: ReportRow) -> Iterator[tuple[str, Stage]]:
    """What is made once for all of a row, with its name: models, and what takes long to find of them.

    Codes of images (of all that gpot cannot draw, of dSprites of those that a table reads), the best rotation, a
    potential. Of a VAE or a flow whose weights are given neither these nor the codes: they are somebody else's.
    """
    config, first = row.config, row.pipelines[0]
    if isinstance(config.dataset, ImagesConfig) and config.vae is not None and config.vae.weights is None:
        yield "beta-TCVAE", first.vae
        if isinstance(config.dataset, MnistConfig):
            yield "codes of all images", first.points
        elif isinstance(config.dataset, DSpritesConfig):
            for codes in first.codes:
                yield "codes of a table's images", codes
    if row.row is Row.latent:
        return
    flow = row_name(Row.flow.value, config.flow.name)
    if config.flow.weights is None:
        yield flow, first.flow
    yield flow, first.potential
    if row.row is Row.rotation:
        yield row_name(row.key, config.flow.name), first.rotation
    if row.row.moves:
        for repetition in row.pipelines:
            yield row_name(row.key, config.flow.name), repetition.gp
