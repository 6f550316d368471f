"""Figures 5 to 8 from artefacts: images along the axes of code spaces, a figure per data point, all as an animation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from gpot.evaluation.traversals import informative
from gpot.items.figures import DrawnItem
from gpot.paper.rows import row_name
from gpot.plots.importance import save_figure
from gpot.plots.traversal_films import animate_traversals
from gpot.plots.traversals import traversal_figure


def interpolations(drawn: DrawnItem) -> list[Path]:
    """`<item>_1.png`, ... a data point each, `<item>.gif`, and `<item>_traversals.npz` for the report page: `images`
    (panels, m, d, k, C, S, S) uint8 with the axes in the order of the figure, `panels`, `kl`, `values`."""
    config, results, folder = drawn.config, drawn.results, drawn.folder
    item, settings = config.report.item, config.report.traversal
    first = results[0].artifact
    kl, values = first.array("kl.npy"), first.array("values.npy")
    order = np.argsort(-kl)
    carries = informative(torch.from_numpy(kl), settings.threshold).numpy()[order]
    artifacts = {row_name(result.row.key, config.flow.name): result.artifact for result in results}
    images = {name: artifact.array("images.npy")[:, order] for name, artifact in artifacts.items()}
    changes = {name: artifact.array("change.npy")[:, order] for name, artifact in artifacts.items()}
    labels = [f"KL {value:.2f}" for value in kl[order]]
    paths = []
    step = (len(values) - 1) // (settings.n_values - 1)
    for point in range(min(settings.n_shown, settings.n_points)):
        figure = traversal_figure(
            {name: stack[point, :, ::step] / 255 for name, stack in images.items()},
            {name: change[point] for name, change in changes.items()},
            informative=carries, title=f"{item.heading}, data point {point + 1}", row_labels=labels,
            values=values[::step],
        )  # fmt: skip
        paths += save_figure(figure, folder / f"{item}_{point + 1}")
    floats = {name: stack / 255 for name, stack in images.items()}
    paths += animate_traversals(floats, folder / item, row_labels=labels, values=values)
    arrays = folder / f"{item}_traversals.npz"
    np.savez_compressed(
        arrays, images=np.stack(list(images.values())), panels=np.array(list(images)), kl=kl[order], values=values
    )
    return [*paths, arrays]
