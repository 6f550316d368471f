"""What the report page shows of a result, written beside it: the page then reads, and computes nothing.

`<item>_page.npz` in the report folder, without pickle:

===================  ====================  ============================================================================
array                shape                 meaning
===================  ====================  ============================================================================
`points`             (n, 2)                held-out data of an item about the plane
`colours`            (n, 3) uint8          of these points, by their place
`frames_<row>`       (T, n, 2)             their paths on the Gaussian side under the GP flow of that row of the result
`mesh_<row>`         (T, m, p, 2)          m lines of a mesh that the flow carries along
`errors_<key>`       (k,)                  log-determinant errors of the GP flow of that key, nats
`history_<key>`      (metrics, epochs)     course of a training, in the order of the model's `watched`
===================  ====================  ============================================================================

Models that the arrays are about are entries of `models` in the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.evaluation.planar import carried_mesh, equal_frames
from gpot.items.figures import DrawnItem
from gpot.items.lineage import TRAINED, Lineage, history, model_entry
from gpot.leftovers import replacing
from gpot.paper.items import Item
from gpot.plots.style import polar_colours

_PARTICLES = 1200  # and 21 times: about 0.35 MB a view

Arrays = dict[str, NDArray[Any]]


def behind_result(drawn: DrawnItem) -> tuple[dict[str, Any], Arrays]:
    """Entries `origin` and `models` of an item's result, and the arrays that the page shows of it."""
    results, workshop = drawn.results, drawn.workshop
    lineage = Lineage.of(workshop.store, [artifact for result in results for artifact in result.artifacts])
    models: dict[tuple[str, str], dict[str, Any]] = {}
    arrays: Arrays = {}
    for result in results:
        row = result.row
        for pipeline, artifact in result.repetitions():
            for stage in TRAINED:
                model = lineage.behind(artifact, stage)
                if model is None or (stage, model.key) in models:
                    continue
                about = {"row": row.key, "dataset": row.config.dataset.name, "flow": row.config.flow.name}
                models[stage, model.key] = about | model_entry(model)
                course = history(model)
                if course is not None:
                    arrays[f"history_{model.key}"] = course
                if stage == "gp":
                    errors = workshop.make(pipeline.log_det_errors)
                    arrays[f"errors_{model.key}"] = errors.array("errors.npy")
    if drawn.config.report.item in (Item.fig3, Item.fig4):
        arrays |= _plane(drawn)
    return {"origin": lineage.origin(), "models": list(models.values())}, arrays


def save_arrays(folder: Path, item: Item, arrays: Arrays) -> Path:
    """Write `<item>_page.npz`, complete or not at all."""
    path = folder / f"{item}_page.npz"
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return path


def _plane(drawn: DrawnItem) -> Arrays:
    """The GP flows of a result in the plane: held-out data on the Gaussian side, moved over time, and a mesh."""
    arrays: Arrays = {}
    for number, result in enumerate(drawn.results):
        if not result.row.row.moves:
            continue
        x = drawn.data(result.row.config)[:_PARTICLES]
        if not arrays:
            arrays["points"] = x.numpy()
            arrays["colours"] = (255 * polar_colours(x.numpy())).round().astype(np.uint8)
        monge = drawn.map_of(result)
        flow, gp = monge.flow, monge.gp.flow_in_time
        if gp is not None:
            arrays[f"frames_{number}"] = equal_frames(gp, flow.transform(x.to(gp.rotation))).astype(np.float32)
            arrays[f"mesh_{number}"] = carried_mesh(gp).astype(np.float32)
    return arrays
