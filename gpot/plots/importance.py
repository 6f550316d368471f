"""Figures from arrays: no config, no file but in `save_figure`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gpot.plots.style import unstyled

_COLOURS = "cividis"  # perceptually even, and readable by colour-blind eyes
_DPI = 160


@unstyled()
def importance_figure(matrices: Mapping[str, NDArray[np.float64]], factors: Sequence[str]) -> Figure:
    """Which code coordinate carries which factor: one panel per row of the table.

    Arguments:
        matrices: printed row name -> importance R (C, F), |Lasso coefficient| of coordinate c for factor f.
        factors: F names. Each column is divided by its largest entry, so that factors of different range can be
            compared; a disentangled code has one bright cell per column and at most one per row.
    """
    figure = Figure(figsize=(2.1 * len(matrices) + 0.9, 3.6), layout="constrained")
    axes = figure.subplots(1, len(matrices), sharey=True, squeeze=False)[0]
    image = None
    for axis, (name, matrix) in zip(axes, matrices.items(), strict=True):
        largest = matrix.max(axis=0, keepdims=True)
        relative = np.divide(matrix, largest, out=np.zeros_like(matrix), where=largest > 0)
        image = axis.imshow(relative, cmap=_COLOURS, vmin=0, vmax=1, aspect="auto")
        axis.set_title(name, fontsize=9)
        axis.set_xticks(range(len(factors)), factors, rotation=45, ha="right", fontsize=8)
        axis.set_yticks(range(len(matrix)), [str(c) for c in range(len(matrix))], fontsize=8)
        axis.tick_params(length=0)
    axes[0].set_ylabel("code coordinate")
    if image is not None:
        figure.colorbar(image, ax=axes, label="importance / largest for the factor", shrink=0.9)
    return figure


@unstyled()
def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write `<stem>.png` and `<stem>.pdf`. Returns the two paths."""
    paths = [stem.with_suffix(suffix) for suffix in (".png", ".pdf")]
    for path in paths:
        figure.savefig(path, dpi=_DPI)
    return paths
