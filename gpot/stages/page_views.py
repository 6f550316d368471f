"""The page's views of artefacts: GP flows in the plane, certificates, log-determinant errors, courses of trainings."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gpot.gp.flow import GaussianPreservingFlow
from gpot.maths.charts import Chart, from_cube
from gpot.paper import names
from gpot.paper.rows import FLOWS, ROWS, base_row
from gpot.plots.style import polar_colours
from gpot.report.page.items import duration, minus, row_label
from gpot.report.page.render import Bar, FlowData, FlowView, Trained
from gpot.report.page.render import Chart as ChartView
from gpot.report.page.svg import curves, histogram
from gpot.stages.evaluate import held_out
from gpot.stages.flow import load_flow
from gpot.stages.page_models import Lineage, loaded, same_flow
from gpot.stages.points import points_of
from gpot.stages.rows import ReportRow
from gpot.store import Artifact
from gpot.tracking.names import TRAIN_COST, TRAIN_LOSS, TRAIN_NLL, VAL_COST, VAL_NLL
from gpot.training.history import HISTORY

Payload = Mapping[str, Any]

_PARTICLES, _FRAMES = 1200, 20  # points, and intervals of time, of a view: about 0.35 MB each
_MESH_LINES, _MESH_POINTS, _MESH_SIDE = 13, 73, 3.0
_ERROR_POINTS = 2048
_ERROR_SEED = 0
_COMMIT = 12
_TRAINED = ("vae", "flow", "gp")
_VALIDATED = {"vae": "val/reconstruction", "flow": VAL_NLL, "gp": VAL_COST}
_WATCHED = {"vae": (TRAIN_LOSS,), "flow": (VAL_NLL, TRAIN_NLL), "gp": (VAL_COST, TRAIN_COST)}


def flow_views(
    item: str, payload: Payload, rows: Sequence[ReportRow], made: Lineage, notes: list[str]
) -> tuple[dict[str, FlowData], list[FlowView]]:
    """The GP flows of a result in the plane: held-out data on the Gaussian side, moved over time, and a mesh.

    The time grid is a refinement of the flow's own that has `_FRAMES` equal intervals, so that paths look as smooth as
    they are. notes: receives what was left out, and why.
    """
    data: dict[str, FlowData] = {}
    views, lost = [], []
    for number, entry, row in _matched(payload, rows):
        if not row.row.moves:
            continue
        gp_artifact, flow, points = (made.behind(number, stage) for stage in ("gp", "flow", "points"))
        if gp_artifact is None or flow is None or points is None or not same_flow(row.config, flow):
            lost.append(row_label(payload, entry))
            continue
        gp = loaded(row, gp_artifact)
        if not isinstance(gp, GaussianPreservingFlow):
            lost.append(row_label(payload, entry))
            continue
        x = held_out(row.config, points_of(points))[:_PARTICLES]
        if item not in data:
            colours = (255 * polar_colours(x.numpy())).round().astype(np.uint8)
            title = names.DATASETS.get(row.config.dataset.name, row.config.dataset.name)
            data[item] = FlowData(title, x.numpy(), colours)
        z = load_flow(row.config, flow).transform(x.to(gp.rotation))
        frames, mesh = _frames(gp, z), _frames(gp, _mesh().reshape(-1, 2).to(gp.rotation))
        escaped = int((~np.isfinite(frames).all((0, 2))).sum())
        frames[:, ~np.isfinite(frames).all((0, 2))] = np.nan
        shape = (len(mesh), 2 * _MESH_LINES, _MESH_POINTS, 2)
        views.append(FlowView(item, row_label(payload, entry), frames, mesh.reshape(shape), escaped))
    if lost:
        notes.append(
            f"Left out of the view of GP flows, since the store lacks their models: {', '.join(lost)}. "
            f"Run: make reproduce-{item}"
        )
    return data, views


def certificate_bars(results: Mapping[str, Payload]) -> list[tuple[str, list[Bar]]]:
    """Certificates of all maps, by dataset. A map that stands in several items is shown once."""
    found: dict[str, dict[tuple[str, Any], Mapping[str, Any]]] = {}
    for payload in results.values():
        for row in payload["rows"]:
            if row.get("certificate") is not None:
                title = names.DATASETS.get(str(row.get("dataset")), str(row.get("dataset")))
                found.setdefault(title, {}).setdefault((row_label(payload, row), row["certificate"]), row)
    shown = names.metric("certificate")
    # one scale for all datasets: a bar that fills its row is a map far from the optimum, on any of them
    largest = max((row["certificate"] for rows in found.values() for row in rows.values()), default=0.0) or 1.0
    groups = []
    for title, rows in found.items():
        bars = [
            Bar(name, shown.text(value, row.get("certificate_stderr")), value / largest)
            for (name, value), row in sorted(rows.items(), key=_printed_order)
        ]
        groups.append((title, bars))
    return groups


def _printed_order(entry: tuple[Any, Mapping[str, Any]]) -> int:
    """The order of a table: the flow, the rotation, GP flows, then other flows."""
    return ROWS.index(base_row(entry[1]["row"]))


def histogram_charts(
    results: Mapping[str, Payload], rows: Mapping[str, Sequence[ReportRow]], made: Mapping[str, Lineage]
) -> list[ChartView]:
    """Exact log-determinant errors of each GP flow behind the results, measured here at fresh Gaussian points."""
    charts: dict[str, ChartView] = {}
    for item, payload in results.items():
        for number, entry, row in _matched(payload, rows.get(item, ())):
            artifact = made[item].behind(number, "gp")
            if artifact is None or artifact.key in charts:
                continue
            gp = loaded(row, artifact)
            if gp is None:
                continue
            z = torch.randn(_ERROR_POINTS, gp.dim, generator=torch.Generator().manual_seed(_ERROR_SEED))
            with torch.no_grad():
                error = gp.log_det_error(z.to(gp.rotation), 1024).abs().double().cpu().numpy()
            charts[artifact.key] = _histogram(_model_name(payload, entry), error)
    return list(charts.values())


def curve_charts(results: Mapping[str, Payload], made: Mapping[str, Lineage]) -> list[ChartView]:
    """Courses of the trainings that were kept (`history.json` of an artefact)."""
    charts = []
    for name, artifact in _models(results, made):
        if HISTORY not in artifact.manifest["files"]:
            continue
        epochs = json.loads(artifact.file(HISTORY).read_text(encoding="utf-8"))
        logged = {key for epoch in epochs for key in epoch}
        watched = [key for key in _WATCHED[artifact.stage] if key in logged]
        if not watched:
            continue
        # of an epoch without a validation nothing was logged; what was not finite is null, and a gap
        lines = [(key, {k: epoch[key] for k, epoch in enumerate(epochs, 1) if key in epoch}) for key in watched]
        ends = [(key, list(values.values())[-1]) for key, values in lines]
        last = ", ".join(f"{key} {value:.4g}" for key, value in ends if value is not None)
        said = f"{name}: {' and '.join(watched)} over {len(epochs)} epochs, at the end {last}"
        key = "; ".join(f"{'dashed' if k else 'line'} {key}" for k, key in enumerate(watched))
        charts.append(ChartView(name, curves(lines, minus(said)), minus(f"{key}. At the end: {last}.")))
    return charts


def trained_models(results: Mapping[str, Payload], made: Mapping[str, Lineage]) -> list[Trained]:
    """Every trained model behind the results, by its manifest."""
    found = []
    for name, artifact in _models(results, made):
        manifest, metrics = artifact.manifest, artifact.manifest["metrics"]
        key = _VALIDATED[artifact.stage]
        best = f"{key} {metrics[key]:.4g}" if _number(metrics.get(key)) else names.NULL
        epoch, epochs = metrics.get("best_epoch"), metrics.get("epochs")
        reached = names.NULL if epoch is None else f"{epoch + 1}" + (f" of {epochs}" if epochs else "")
        found.append(
            Trained(
                name, artifact.stage, artifact.key, minus(best), reached,
                duration(float(manifest["duration"])), str(manifest["device"]), str(manifest.get("budget", names.NULL)),
                str(manifest["commit"] or names.NULL)[:_COMMIT], HISTORY in manifest["files"],
            )
        )  # fmt: skip
    return found


def _models(results: Mapping[str, Payload], made: Mapping[str, Lineage]) -> Iterator[tuple[str, Artifact]]:
    """Trained models in the order of the results, each once: its name and its artefact."""
    seen: dict[tuple[str, str], tuple[str, Artifact]] = {}
    for item, payload in results.items():
        for number, row in enumerate(payload["rows"]):
            dataset = names.DATASETS.get(str(row.get("dataset")), str(row.get("dataset")))
            flow = FLOWS.get(str(row.get("flow")), str(row.get("flow")))
            own = {"vae": f"{dataset}: VAE", "flow": f"{dataset}: {flow}", "gp": _model_name(payload, row)}
            for stage in _TRAINED:
                artifact = _behind(made[item], number, stage)
                if artifact is not None:
                    seen.setdefault((stage, artifact.key), (own[stage], artifact))
    yield from seen.values()


def _behind(made: Lineage, number: int, stage: str) -> Artifact | None:
    """As `Lineage.behind`, and the VAE through the latents that it made."""
    direct = made.behind(number, stage)
    if direct is None and stage == "vae" and (latents := made.behind(number, "latents")) is not None:
        direct = made.found.get(("vae", latents.manifest["inputs"].get("vae", "")))
    return direct


def _matched(payload: Payload, rows: Sequence[ReportRow]) -> Iterator[tuple[int, Mapping[str, Any], ReportRow]]:
    """Rows of a result with their configs; rows that are repeated for another protocol, once."""
    by_name = {(row.key, row.config.dataset.name): row for row in rows}
    for number, entry in enumerate(payload["rows"]):
        row = by_name.pop((entry["row"], entry.get("dataset")), None)
        if row is not None:
            yield number, entry, row


def _model_name(payload: Payload, row: Mapping[str, Any]) -> str:
    dataset = names.DATASETS.get(str(row.get("dataset")), str(row.get("dataset")))
    return f"{dataset}: {row_label(payload, row)}"


def _histogram(name: str, error: NDArray[np.float64]) -> ChartView:
    finite = error[np.isfinite(error)]
    zeros, lost = int((finite == 0).sum()), len(error) - len(finite)
    said = f"mean {finite.mean():.1e}, largest {finite.max():.1e} nats" if len(finite) else "no finite error"
    extra = (f"; {zeros} exactly 0, the bar at the left" if zeros else "") + (f"; {lost} not finite" if lost else "")
    caption = minus(f"{len(error):,d} points: {said}{extra}.")
    return ChartView(name, histogram(finite, f"Histogram of log-determinant errors of {name}: {caption}"), caption)


def _mesh() -> torch.Tensor:
    """Lines of a uniform mesh of the square: (2 m, p, 2), m of either direction."""
    at = torch.linspace(-_MESH_SIDE, _MESH_SIDE, _MESH_LINES)
    along = torch.linspace(-_MESH_SIDE, _MESH_SIDE, _MESH_POINTS)
    upright = torch.stack(torch.meshgrid(at, along, indexing="ij"), -1)
    return torch.cat([upright, upright.flip(-1)])


def _frames(gp: GaussianPreservingFlow, z: torch.Tensor) -> NDArray[np.float64]:
    """The path of s on the Gaussian side at `_FRAMES` + 1 equal times, (T, n, 2), on a grid no coarser than gp's."""
    fine = copy.deepcopy(gp)
    every = math.ceil(gp.n_steps / _FRAMES)
    fine.refine(_FRAMES * every)
    with torch.no_grad():
        points = fine.flow_trajectory(z).points[::every]
    side = from_cube(points) if gp.chart is Chart.cube else points
    array: NDArray[np.float64] = side.cpu().double().numpy()
    return array


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
