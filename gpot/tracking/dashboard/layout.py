"""What the dashboard shows: a section per stage, the comparison of runs, and the results beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import wandb_workspaces.reports.v2 as wr

from gpot.paper.items import Item
from gpot.paper.names import DATASETS, METRICS
from gpot.paper.printed import FLOW_OF, PRINTED
from gpot.paper.rows import row_name
from gpot.tracking import names as logged

_TERMS = {term: term.replace("_", " ") for term in logged.VAE_TERMS}


@dataclass(frozen=True)
class Part:
    """A section: the stages whose runs it is about, a sentence on how to read it, and its panels."""

    title: str
    text: str
    stages: tuple[str, ...]
    panels: tuple[Any, ...]


def parts() -> list[Part]:
    """The sections, the most looked at first."""
    return [_gp(), _pictures(), _comparison(), _results(), _flow(), _vae()]


def _line(title: str, *keys: str, **options: Any) -> wr.LinePlot:
    return wr.LinePlot(title=title, x=logged.GLOBAL_STEP, y=list(keys), title_x="step", **options)


def _wide() -> wr.Layout:
    """Of the whole width; a new one each time, since a grid moves the layouts that it is given."""
    return wr.Layout(w=24, h=14)


def _gp() -> Part:
    text = (
        "A GP flow lowers the transport cost E|x - s(f(x))|^2 and keeps the density. Horizontal lines, where the paper "
        "prints a number, are the paper's. The log-determinant error says how well the Gaussian is kept, the exact NLL "
        "must not move, and no particle may leave the domain."
    )
    return Part("GP flow", text, ("gp",), (
        _line("Transport cost", logged.TRAIN_COST, logged.VAL_COST, logged.PAPER_COST),
        _line("Energy", logged.VAL_ENERGY, logged.PAPER_ENERGY, log_y=True),
        _line("NLL with the exact log-determinant, nats", logged.VAL_NLL_EXACT, logged.PAPER_NLL),
        _line("Log-determinant error, nats", logged.VAL_LOG_DET_MEAN, logged.VAL_LOG_DET_MAX, log_y=True),
        _line("Penalty R", logged.TRAIN_PENALTY, log_y=True),
        _line("lambda, its weight", logged.PENALTY_WEIGHT),
        _line("Particles out of domain", logged.ESCAPED),
        _line("Time steps", logged.VAL_STEPS),
        _line("Learning rate", logged.TRAIN_LR),
    ))  # fmt: skip


def _pictures() -> Part:
    text = (
        "The map while it is trained; the slider is the step. Of 2-D data: the density with paths, and a mesh. Of "
        "images: traversals."
    )
    keys = [entry.key for entry in logged.LOGGED if entry.kind is logged.Kind.images and "gp" in entry.stages]
    return Part("Pictures of the GP flow", text, ("gp",), tuple(
        wr.MediaBrowser(title=key.split("/")[1], media_keys=[key], mode="gallery", gallery_axis="step") for key in keys
    ))  # fmt: skip


def _comparison() -> Part:
    text = (
        "Runs by lambda: a line or a bar is the mean over seeds, with the least and the largest. To see one sweep "
        "alone, filter by its group, the folder of the multirun."
    )
    by_lambda: dict[str, Any] = {
        "groupby": wr.Config("lambda"),
        "groupby_aggfunc": "mean",
        "groupby_rangefunc": "minmax",
    }
    scatter = {
        logged.VAL_COST: "Cost against lambda",
        logged.VAL_ENERGY: "Energy against lambda",
    }
    columns: list[tuple[Any, str]] = [
        (wr.Config("lambda"), "lambda"), (wr.Config("seed"), "seed"), (wr.SummaryMetric(logged.VAL_COST), "cost"),
        (wr.SummaryMetric(logged.VAL_ENERGY), "energy"), (wr.SummaryMetric(logged.VAL_LOG_DET_MEAN), "log-det error"),
    ]  # fmt: skip
    return Part("Seeds and lambda", text, ("gp",), (
        _line("Cost, by lambda over seeds", logged.VAL_COST, **by_lambda),
        _line("Energy, by lambda over seeds", logged.VAL_ENERGY, **by_lambda),
        wr.BarPlot(title="Last cost, by lambda over seeds", metrics=[logged.VAL_COST], **by_lambda),
        wr.BarPlot(title="Last energy, by lambda over seeds", metrics=[logged.VAL_ENERGY], **by_lambda),
        *(
            wr.ScatterPlot(title=title, x=wr.Config("lambda"), y=wr.SummaryMetric(key))
            for key, title in scatter.items()
        ),
        wr.ParallelCoordinatesPlot(
            title="All together",
            columns=[wr.ParallelCoordinatesPlotColumn(metric=m, display_name=name) for m, name in columns],
        ),
    ))  # fmt: skip


def _results() -> Part:
    text = "The items of the paper: every number of a row, ours and the printed one, and the figures."
    return Part("Results", text, ("report",), (
        wr.WeavePanelSummaryTable(table_name=logged.REPORT_TABLE, layout=_wide()),
        wr.MediaBrowser(title="Figures", media_keys=[logged.REPORT_FIGURES], layout=_wide()),
        wr.MarkdownPanel(markdown=paper_markdown(), layout=_wide()),
    ))  # fmt: skip


def _flow() -> Part:
    text = "The normalizing flow f, which is frozen afterwards. Horizontal lines are the paper's loss."
    return Part("Normalizing flow", text, ("flow",), (
        _line("Negative log-likelihood, nats", logged.TRAIN_NLL, logged.VAL_NLL, logged.PAPER_NLL),
        _line("Learning rate", logged.TRAIN_LR),
    ))  # fmt: skip


def _vae() -> Part:
    text = "The beta-TCVAE, whose codes the flow sees: the loss, and the terms that it is made of."
    return Part("VAE", text, ("vae",), (
        _line("Loss, nats", logged.TRAIN_LOSS, logged.VAL_LOSS),
        *(_line(f"{name}, nats".capitalize(), f"train/{term}", f"val/{term}") for term, name in _TERMS.items()),
        _line("Learning rate", logged.TRAIN_LR),
    ))  # fmt: skip


def paper_markdown() -> str:
    """The numbers of Table 2 and Figures 3 and 4, as the paper prints them."""
    lines = [
        "**Printed in the paper**",
        "",
        "| item | data | row | metric | number |",
        "| --- | --- | --- | --- | --: |",
    ]
    for number in PRINTED:
        if number.item in ("table2", "fig3", "fig4"):
            name = METRICS[number.metric].name if number.metric != "nll_analytic" else "loss"
            row = row_name(number.row, FLOW_OF[number.dataset])
            cells = (Item(number.item).label, DATASETS[number.dataset], row, name, number.text)
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def names_of(panels: Iterable[Any]) -> set[str]:
    """Names of what a run must have logged for the panels to show it, less the axis."""
    names: set[str] = set()
    for panel in panels:
        if isinstance(panel, wr.LinePlot):
            names |= set(panel.y)
        elif isinstance(panel, wr.BarPlot):
            names |= set(panel.metrics)
        elif isinstance(panel, wr.MediaBrowser):
            names |= set(panel.media_keys)
        elif isinstance(panel, wr.WeavePanelSummaryTable):
            names.add(panel.table_name)
        elif isinstance(panel, wr.ScatterPlot):
            names |= {axis.name for axis in (panel.x, panel.y) if isinstance(axis, wr.SummaryMetric)}
        elif isinstance(panel, wr.ParallelCoordinatesPlot):
            names |= {c.metric.name for c in panel.columns if isinstance(c.metric, wr.SummaryMetric)}
    return names


def settings_of(panels: Iterable[Any]) -> set[str]:
    """Names of the settings of a run that the panels group by or have on an axis."""
    settings: set[str] = set()
    for panel in panels:
        groupby = getattr(panel, "groupby", None)
        axes = [groupby, getattr(panel, "x", None), *(c.metric for c in getattr(panel, "columns", None) or [])]
        settings |= {axis.name for axis in axes if isinstance(axis, wr.Config)}
    return settings
