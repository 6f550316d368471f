"""The page's views of results: GP flows in the plane, certificates, log-determinant errors, courses of trainings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.paper import names
from gpot.paper.rows import FLOWS, ROWS, base_row
from gpot.report.page.items import row_label
from gpot.report.page.numbers import duration, minus
from gpot.report.page.render import Bar, Chart, FlowData, FlowView, Trained
from gpot.report.page.results import Result
from gpot.report.page.svg import curves, histogram

_COMMIT = 12

Results = Mapping[str, Result]


def flow_views(results: Results) -> tuple[dict[str, FlowData], list[FlowView]]:
    """The GP flows in the plane: held-out data on the Gaussian side, moved over time, and a mesh."""
    data: dict[str, FlowData] = {}
    views = []
    for item, result in results.items():
        if "points" not in result.arrays:
            continue
        data[item] = FlowData(
            _dataset(result.rows[0]), result.arrays["points"], result.arrays["colours"].astype(np.uint8)
        )
        for number, row in enumerate(result.rows):
            if f"frames_{number}" in result.arrays:
                frames, mesh = (result.arrays[f"{name}_{number}"].astype(np.float64) for name in ("frames", "mesh"))
                left_out = int((~np.isfinite(frames).all((0, 2))).sum())
                views.append(FlowView(item, row_label(result.payload, row), frames, mesh, left_out))
    return data, views


def certificate_bars(results: Results) -> list[tuple[str, list[Bar]]]:
    """Certificates of all maps, by dataset. A map that stands in several items is shown once."""
    groups: dict[str, dict[tuple[str, Any], Mapping[str, Any]]] = {}
    for result in results.values():
        for row in result.rows:
            if row.get("certificate") is not None:
                label = row_label(result.payload, row)
                groups.setdefault(_dataset(row), {}).setdefault((label, row["certificate"]), row)
    shown = names.metric("certificate")
    # one scale for all datasets: a bar that fills its row is a map far from the optimum, on any of them
    largest = max((row["certificate"] for rows in groups.values() for row in rows.values()), default=0.0) or 1.0
    return [
        (
            title,
            [
                Bar(name, shown.text(value, row.get("certificate_stderr")), value / largest)
                for (name, value), row in sorted(rows.items(), key=_printed_order)
            ],
        )
        for title, rows in groups.items()
    ]


def histogram_charts(results: Results) -> list[Chart]:
    """Exact log-determinant errors of each GP flow behind the results."""
    return [
        _histogram(_model_name(result, model), result.arrays[f"errors_{model['key']}"])
        for result, model in _models(results)
        if f"errors_{model['key']}" in result.arrays
    ]


def curve_charts(results: Results) -> list[Chart]:
    """Courses of the trainings that were kept."""
    charts = []
    for result, model in _models(results):
        watched, name = model["watched"], _model_name(result, model)
        courses = result.arrays.get(f"history_{model['key']}")
        if courses is None or not watched:
            continue
        lines = [(metric, _course(values)) for metric, values in zip(watched, courses, strict=True)]
        ends = [(metric, list(values.values())[-1]) for metric, values in lines]
        last = ", ".join(f"{metric} {value:.4g}" for metric, value in ends if value is not None)
        words = f"{name}: {' and '.join(watched)} over {courses.shape[1]} epochs, at the end {last}"
        key = "; ".join(f"{'dashed' if k else 'line'} {metric}" for k, metric in enumerate(watched))
        charts.append(Chart(name, curves(lines, minus(words)), minus(f"{key}. At the end: {last}.")))
    return charts


def trained_models(results: Results) -> list[Trained]:
    """Every trained model behind the results."""
    rows = []
    for result, model in _models(results):
        best = names.NULL if model["best"] is None else f"{model['metric']} {model['best']:.4g}"
        epoch, epochs = model["best_epoch"], model["epochs"]
        reached = names.NULL if epoch is None else f"{epoch + 1}" + (f" of {epochs}" if epochs else "")
        rows.append(
            Trained(
                _model_name(result, model), model["stage"], model["key"], minus(best), reached,
                duration(model["seconds"]), model["device"], str(model["budget"] or names.NULL),
                str(model["commit"] or names.NULL)[:_COMMIT], bool(model["watched"]),
            )
        )  # fmt: skip
    return rows


def _models(results: Results) -> Iterator[tuple[Result, Mapping[str, Any]]]:
    """Trained models in the order of the results, each once."""
    keys = set()
    for result in results.values():
        for model in result.models:
            if (model["stage"], model["key"]) not in keys:
                keys.add((model["stage"], model["key"]))
                yield result, model


def _model_name(result: Result, model: Mapping[str, Any]) -> str:
    dataset = _dataset(model)
    if model["stage"] == "vae":
        return f"{dataset}: VAE"
    if model["stage"] == "flow":
        return f"{dataset}: {FLOWS.get(str(model['flow']), model['flow'])}"
    name = f"{dataset}: {row_label(result.payload, model)}"
    seeds = {m["seed"] for m in result.models if all(m[k] == model[k] for k in ("stage", "dataset", "row"))}
    return name if len(seeds) == 1 else f"{name}, seed {model['seed']}"


def _dataset(entry: Mapping[str, Any]) -> str:
    return names.DATASETS.get(str(entry.get("dataset")), str(entry.get("dataset")))


def _printed_order(entry: tuple[Any, Mapping[str, Any]]) -> int:
    """The order of a table: the flow, the rotation, GP flows, then other flows."""
    return ROWS.index(base_row(entry[1]["row"]))


def _course(values: NDArray[np.float64]) -> dict[int, float | None]:
    """Epoch, from 1, -> value; an epoch without a validation is left out, a value that was not finite is a gap."""
    return {k: float(value) if np.isfinite(value) else None for k, value in enumerate(values, 1) if not np.isnan(value)}


def _histogram(name: str, errors: NDArray[np.float64]) -> Chart:
    finite = errors[np.isfinite(errors)]
    zeros, lost = int((finite == 0).sum()), len(errors) - len(finite)
    summary = f"mean {finite.mean():.1e}, largest {finite.max():.1e} nats" if len(finite) else "no finite error"
    extra = (f"; {zeros} exactly 0, the bar at the left" if zeros else "") + (f"; {lost} not finite" if lost else "")
    caption = minus(f"{len(errors):,d} points: {summary}{extra}.")
    return Chart(name, histogram(finite, f"Histogram of log-determinant errors of {name}: {caption}"), caption)
