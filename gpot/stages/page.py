"""Stage `page`: one HTML file of every result that the report folder has. It reads artefacts, and trains nothing."""

from __future__ import annotations

import json
import logging
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from gpot.config import Config, compose, sibling
from gpot.errors import BadInput, GpotError
from gpot.paper.items import Item
from gpot.report.page.arrays import embed_animation, embed_pictures
from gpot.report.page.captions import words
from gpot.report.page.items import ItemView, Picture, item_view, missing_item, row_label
from gpot.report.page.render import MOST_BYTES, FlowData, FlowView, Page, render
from gpot.report.page.traversals import SUFFIX, read_traversals, traversal_data
from gpot.stages.page_models import Lineage, lineage, origin
from gpot.stages.page_views import certificate_bars, curve_charts, flow_views, histogram_charts, trained_models
from gpot.stages.rows import ReportRow, report_rows
from gpot.store import Store

log = logging.getLogger(__name__)

Payload = Mapping[str, Any]

# bytes at most, as they stand in the page; pictures have what is left
_TRAVERSALS, _ANIMATIONS, _TEXT = 3_500_000, 1_000_000, 1_000_000
_BASE64 = 4 / 3  # characters of a byte


def page_stage(config: Config, store: Store) -> Path:
    """Write `index.html` to `paths.report`, from the results (`<item>.json`), figures and traversals there and the
    artefacts that they name. An item that is not there is shown as not made yet. Returns the path.

    A view whose artefact is gone, or was made by options that no longer compose, is left out and the page says so.
    Raises: BadInput for a result that cannot be read, or a page of more than `MOST_BYTES`.
    """
    folder = Path(config.paths.report)
    results = read_results(folder)
    if not results:
        log.warning("%s has no result yet: every item of the page is 'not made yet'. Run: make reproduce", folder)
    made = {item: lineage(store, payload) for item, payload in results.items()}
    text = render(_page(config, folder, results, made))
    size = len(text.encode("utf-8"))
    if size > MOST_BYTES:
        raise BadInput(
            f"the page is at most {MOST_BYTES / 1e6:.0f} MB, and would have {size / 1e6:.1f} MB. Take traversals or "
            f"figures that are not needed out of {folder}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    partial = path.with_suffix(".partial")
    partial.write_text(text, encoding="utf-8", newline="\n")
    os.replace(partial, path)
    log.info("%s: %d of %d items, %.1f MB", path.name, len(results), len(Item), size / 1e6)
    return path


def read_results(folder: Path) -> dict[str, Payload]:
    """The results of a report folder, item -> payload, in the paper's order.  Raises: BadInput for a broken file."""
    found: dict[str, Payload] = {}
    for item in map(str, Item):
        path = folder / f"{item}.json"
        if not path.is_file():
            continue
        try:
            payload = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BadInput(f"{path} is not JSON ({error}). Run: make reproduce-{item}") from error
        if not isinstance(payload, dict) or payload.get("item") != item or not isinstance(payload.get("rows"), list):
            raise BadInput(f"{path} is not a result of '{item}'. Run: make reproduce-{item}")
        found[item] = payload
    return found


def _page(config: Config, folder: Path, results: Mapping[str, Payload], made: Mapping[str, Lineage]) -> Page:
    notes: dict[str, list[str]] = {item: [] for item in results}
    rows: dict[str, list[ReportRow]] = {}
    for item, payload in results.items():
        with noted(notes[item], "its GP flows"):
            rows[item] = rows_of(config, item, payload)
    flow_data: dict[str, FlowData] = {}
    flows: list[FlowView] = []
    for item in ("fig3", "fig4"):
        if item not in rows:
            continue
        with noted(notes[item], "the view of its GP flows"):
            data, views = flow_views(item, results[item], rows[item], made[item], notes[item])
            flow_data |= data
            flows += views
    traversals: list[dict[str, Any]] = []
    files = {item: folder / f"{item}{SUFFIX}" for item in map(str, Item) if (folder / f"{item}{SUFFIX}").is_file()}
    for item, path in files.items():
        with noted(notes.setdefault(item, []), "its traversals"):
            found = read_traversals(path)
            traversals.append(traversal_data(Item(item).label, found, _TRAVERSALS // len(files)))
    moving = sum(2 * _BASE64 * (flow.frames.size + flow.mesh.size) for flow in flows)
    sheets = sum(len(uri) for each in traversals for panel in each["sheets"] for uri in panel)
    room = MOST_BYTES - _TEXT - _ANIMATIONS - round(moving) - sheets
    return Page(
        _items(folder, results, made, notes, room), flow_data, flows, traversals, certificate_bars(results),
        histogram_charts(results, rows, made), curve_charts(results, made), trained_models(results, made),
        [f"{Item(item).label}. {note}" for item in notes if item not in results for note in notes[item]],
    )  # fmt: skip


def rows_of(config: Config, item: str, payload: Payload) -> list[ReportRow]:
    """The configs of a result's rows: composed as the result was, or, where it does not say how, as this page."""
    command = payload.get("command")
    if command is None:
        return report_rows(sibling(config, item))
    return report_rows(compose("report", shlex.split(command)[2:]))


@contextmanager
def noted(notes: list[str], what: str) -> Iterator[None]:
    """Inside a `with`, where something that gpot refuses stops a view, the page goes without and says what it lacks."""
    try:
        yield
    except (GpotError, HydraException, OmegaConfBaseException) as error:
        log.warning("left out, %s: %s", what, error)
        notes.append(f"Left out, {what}: {str(error).splitlines()[0]}")


def _items(
    folder: Path, results: Mapping[str, Payload], made: Mapping[str, Lineage], notes: Mapping[str, list[str]],
    for_pictures: int,
) -> list[ItemView]:  # fmt: skip
    """Views of all items of the paper, with pictures that together have `for_pictures` bytes at most."""
    stems = {item: _stems(folder, item) for item in results}
    images = embed_pictures({s: folder / f"{s}.png" for each in stems.values() for s in each}, for_pictures)
    views, room = [], _ANIMATIONS
    for item in map(str, Item):
        if item not in results:
            views.append(missing_item(item))
            continue
        payload = results[item]
        models = [row_label(payload, row) for row in payload["rows"]]
        pictures = [Picture(stem, images[stem], words(stem, models)) for stem in stems[item]]
        links = []
        animation = folder / f"{item}.gif"
        if animation.is_file():
            # a larger one is linked: the views move too
            size = round(_BASE64 * animation.stat().st_size)
            if size <= room:
                room -= size
                pictures.append(Picture(f"{item}-animation", embed_animation(animation), words(item, models)))
            else:
                links.append(animation.name)
        links += [f"{item}.{kind}" for kind in ("md", "csv", "tex", "json") if (folder / f"{item}.{kind}").is_file()]
        views.append(item_view(payload, origin(made[item]), pictures, links, notes[item]))
    return views


def _stems(folder: Path, item: str) -> Sequence[str]:
    """Figures of an item: `<item>.png` first, then `<item>_*.png` by name."""
    paths = [folder / f"{item}.png", *sorted(folder.glob(f"{item}_*.png"))]
    return [path.stem for path in paths if path.is_file()]
