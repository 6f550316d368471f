"""What each figure file shows, in words: a caption for all, and a description for those who do not see it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gpot.paper.items import Item


@dataclass(frozen=True)
class Words:
    """`alt` describes the picture, `caption` says what to see in it."""

    alt: str
    caption: str


_OPTIMUM = Words(
    "Exact discrete optimal transport costs at growing numbers of points, with horizontal lines at the costs of the "
    "maps beside them.",
    "Costs of the maps beside the exact discrete optimum: mean and spread over draws of that many points. No GP flow "
    "costs less than the floor of the flow before it, but for the spread.",
)
_WORDS = {
    "table1_importance": Words(
        "One matrix for each map, rows are code coordinates and columns are factors of dSprites; a bright cell is a "
        "coordinate that carries a factor.",
        "Which coordinate carries which factor. Disentangled codes have one bright cell in each column.",
    ),
    "fig1": Words(
        "Five snapshots in time of Gaussian particles, coloured by where they started, and below each the mesh that "
        "the flow carries along. The cloud keeps its shape while its particles move.",
        "Particles move, the Gaussian stays: mean and standard deviation below each snapshot.",
    ),
    "fig2": Words(
        "Three scatter plots: eight Gaussians on a ring, each in a colour of its own; the same points as a single "
        "Gaussian under BNAF, with colours cut along the axes; and under BNAF+GP, with colours in round sectors.",
        "Each point keeps the colour of its place in the data. After the GP flow the colours lie where they came from.",
    ),
    "fig3": Words(
        "Columns CP-Flow, BNAF and BNAF+GP; rows density, deformed mesh, and coloured source distribution. The mesh of "
        "BNAF is sheared, that of BNAF+GP is nearly that of CP-Flow.",
        "Density, image of a uniform mesh, and the Gaussian side coloured by the place of the data.",
    ),
    "fig3_charts": Words(
        "The rows of Figure 3 for GP flows in the Gaussian chart, in the direct chart, and for the ridge field.",
        "The same for the other GP flows of the table, which are ours.",
    ),
    "fig4": Words(
        "Columns BNAF+GP, with Euler's penalty, and spectral; rows the density of two moons with paths of particles, "
        "and the initial velocity in the square. Below: kinetic energy over time, and total energies beside the "
        "paper's.",
        "Paths of particles over the density, initial velocities in the square, kinetic energy over time. A geodesic's "
        "energy is constant.",
    ),
    "fig4_charts": Words(
        "The rows of Figure 4 for GP flows in the Gaussian chart, in the direct chart, and for the ridge field.",
        "The same for the other GP flows of the table, which are ours.",
    ),
}


def words(stem: str, models: Sequence[str] = ()) -> Words:
    """Words for the figure file `<stem>.png` of an item; models: printed names of the item's rows."""
    if stem in _WORDS:
        return _WORDS[stem]
    if stem.endswith("_optimum"):
        return _OPTIMUM
    item, _, rest = stem.partition("_")
    known = Item.of(item)
    title = known.heading if known else item
    of_models = f" of {', '.join(dict.fromkeys(models))}" if models else ""
    if re.fullmatch(r"\d+", rest) or (known and "axes" in known.subject):
        point = f"data point {rest}" if rest else "data points"
        return Words(
            f"{title}. A block of decoded images for each code space{of_models}: a row for each coordinate, along "
            "which that coordinate alone grows from left to right.",
            f"Images along the axes of each code space, {point}. Rows that carry no information should stay the same.",
        )
    extra = f", {rest.replace('_', ' ')}" if rest else ""
    return Words(f"{title}{extra}: figure{of_models}.", f"{title}{extra}.")
