"""The figure of a sweep: metrics over one option, a line for each value of the others, a dot for each repetition."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from gpot.errors import BadInput
from gpot.plots.style import CYCLE, LINES, WIDTH, open_frame, styled


@dataclass(frozen=True)
class Line:
    """points: value of the option, as typed -> the metric of each repetition."""

    label: str
    points: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Panel:
    """One metric. logarithmic: on a logarithmic axis, where all its values are positive. percent: of a fraction, ticks
    in percent."""

    heading: str
    lines: tuple[Line, ...]
    logarithmic: bool = False
    percent: bool = False


@styled()
def sweep_figure(question: str, x: str, panels: Sequence[Panel]) -> Figure:
    """One panel per metric: the mean as a line, the standard deviation as a bar, every repetition as a dot.

    Arguments:
        question: above the panels.
        x: the option on the horizontal axis; numbers have their place on it, on a logarithmic scale where they span a
            factor of 8, words stand side by side.
    Raises: BadInput if there is nothing to draw.
    """
    if not panels:
        raise BadInput(
            "a sweep's figure needs a panel, and got none. Name metrics that its results have.",
            advice={"metrics": ...},
        )
    figure = Figure(figsize=(WIDTH, 3.4 if len(panels[0].lines) < 5 else 3.8), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    values = list(dict.fromkeys(value for panel in panels for line in panel.lines for value in line.points))
    places = _places(values)
    for ax, panel in zip(axes, panels, strict=True):
        for k, line in enumerate(panel.lines):
            _draw(ax, line, places, (k - (len(panel.lines) - 1) / 2), k)
        _scale(ax, places)
        if panel.logarithmic and all(v > 0 for line in panel.lines for vs in line.points.values() for v in vs):
            ax.set_yscale("log")
        if panel.percent:
            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        ax.set(xlabel=x, title=panel.heading)
        open_frame(ax)
    if panels[0].lines[0].label:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    if question:
        figure.suptitle(question)
    return figure


def _number(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def _places(values: Sequence[str]) -> dict[str, float]:
    """Where each value stands: its number if all are numbers, else its turn."""
    numbers = [_number(value) for value in values]
    if None in numbers:
        return {value: float(turn) for turn, value in enumerate(values)}
    return {value: number for value, number in zip(values, numbers, strict=True) if number is not None}


def _wide(places: Mapping[str, float]) -> bool:
    """Whether numbers span so much that a linear axis would crowd the small ones."""
    positive = [place for place in places.values() if place > 0]
    numeric = all(_number(value) is not None for value in places)
    return numeric and len(positive) > 1 and min(places.values()) >= 0 and max(positive) / min(positive) >= 8


def _draw(ax: Axes, line: Line, places: Mapping[str, float], shift: float, turn: int) -> None:
    """Lines are set a little apart, so that one does not hide another's bars."""
    points = sorted((places[value], value) for value in line.points)
    factor = 1.0 + 0.03 * shift if _wide(places) else 1.0
    offset = 0.0 if _wide(places) else 0.012 * shift * (max(places.values()) - min(places.values()))
    xs = [place * factor + offset for place, _ in points]
    samples = [list(line.points[value]) for _, value in points]
    means = [statistics.fmean(sample) for sample in samples]
    bars = [statistics.stdev(sample) if len(sample) > 1 else 0.0 for sample in samples]
    colour, style = CYCLE[turn % len(CYCLE)], LINES[turn % len(LINES)]
    ax.errorbar(
        xs, means, yerr=bars, label=line.label, color=colour, linestyle=style, marker="o", markersize=4, capsize=3,
        elinewidth=1.0,
    )  # fmt: skip
    for x, sample in zip(xs, samples, strict=True):
        ax.scatter([x] * len(sample), sample, s=9, color=colour, alpha=0.35, linewidths=0)


def _scale(ax: Axes, places: Mapping[str, float]) -> None:
    """The horizontal axis: every value that was run is a tick, and no other."""
    ordered = sorted(places.items(), key=lambda item: item[1])
    if _wide(places):
        smallest = min(place for place in places.values() if place > 0)
        if ordered[0][1] == 0.0:
            ax.set_xscale("symlog", linthresh=smallest, linscale=0.6)
            ax.set_xlim(left=-0.2 * smallest)
        else:
            ax.set_xscale("log")
    ax.set_xticks([place for _, place in ordered], [value for value, _ in ordered])
    ax.xaxis.minorticks_off()
