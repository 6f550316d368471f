"""From a report folder to its page: one HTML file of every result, figure and traversal that the folder has."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpot.errors import BadInput, GpotError
from gpot.leftovers import replacing
from gpot.paper.items import Item
from gpot.report.page.arrays import embed_animation, embed_pictures
from gpot.report.page.captions import words
from gpot.report.page.items import ItemView, Origin, Picture, item_view, missing_item, row_label
from gpot.report.page.render import MOST_BYTES, Page, render
from gpot.report.page.results import Result, read_arrays, read_results
from gpot.report.page.traversals import SUFFIX, read_traversals, traversal_data
from gpot.report.page.views import certificate_bars, curve_charts, flow_views, histogram_charts, trained_models

log = logging.getLogger(__name__)

# bytes at most, as they stand in the page; pictures have what is left
_TRAVERSALS, _ANIMATIONS, _TEXT = 3_500_000, 1_000_000, 1_000_000
_BASE64 = 4 / 3  # characters of a byte

Notes = dict[str, list[str]]  # item -> what was left out of its views, and why


def write_page(folder: Path) -> Path:
    """Write `index.html` to a report folder, from the results (`<item>.json`), arrays, figures and traversals there. An
    item that is not there is shown as not made yet. Returns the path.

    A view whose arrays are not there is left out, and the page says so.
    Raises: BadInput for a result that cannot be read, or a page of more than `MOST_BYTES`.
    """
    payloads = read_results(folder)
    if not payloads:
        log.warning("%s has no result yet: every item of the page is 'not made yet'. Run: make reproduce", folder)
    text = render(_page(folder, payloads))
    size = len(text.encode("utf-8"))
    if size > MOST_BYTES:
        raise BadInput(
            f"the page is at most {MOST_BYTES / 1e6:.0f} MB, and would have {size / 1e6:.1f} MB. Take traversals or "
            f"figures that are not needed out of {folder}."
        )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    log.info("%s: %d of %d items, %.1f MB", path.name, len(payloads), len(Item), size / 1e6)
    return path


def _page(folder: Path, payloads: Mapping[str, Mapping[str, Any]]) -> Page:
    notes: Notes = {item: [] for item in payloads}
    results = {item: Result(payload) for item, payload in payloads.items()}
    for item, payload in payloads.items():
        with _noted(notes[item], "its models, curves and moving views"):
            results[item] = Result(payload, read_arrays(folder, item))
    flow_data, flows = flow_views(results)
    traversals = _traversals(folder, notes)
    frames = sum(2 * _BASE64 * (flow.frames.size + flow.mesh.size) for flow in flows)
    sheets = sum(len(uri) for each in traversals for panel in each["sheets"] for uri in panel)
    room = MOST_BYTES - _TEXT - _ANIMATIONS - round(frames) - sheets
    return Page(
        _items(folder, results, notes, room), flow_data, flows, traversals, certificate_bars(results),
        histogram_charts(results), curve_charts(results), trained_models(results),
        [f"{Item(item).label}. {note}" for item in notes if item not in results for note in notes[item]],
    )  # fmt: skip


@contextmanager
def _noted(notes: list[str], what: str) -> Iterator[None]:
    """Inside a `with`, where something that gpot refuses stops a view, the page goes without and says what it lacks."""
    try:
        yield
    except GpotError as error:
        log.warning("left out, %s: %s", what, error)
        notes.append(f"Left out, {what}: {str(error).splitlines()[0]}")


def _traversals(folder: Path, notes: Notes) -> list[dict[str, Any]]:
    views: list[dict[str, Any]] = []
    files = {item: folder / f"{item}{SUFFIX}" for item in Item if (folder / f"{item}{SUFFIX}").is_file()}
    for item, path in files.items():
        with _noted(notes.setdefault(item.value, []), "its traversals"):
            views.append(traversal_data(item.label, read_traversals(path), _TRAVERSALS // len(files)))
    return views


def _items(folder: Path, results: Mapping[str, Result], notes: Notes, for_pictures: int) -> list[ItemView]:
    """Views of all items of the paper, with pictures that together have `for_pictures` bytes at most."""
    stems = {item: _stems(folder, item) for item in results}
    images = embed_pictures({s: folder / f"{s}.png" for each in stems.values() for s in each}, for_pictures)
    views, room = [], _ANIMATIONS
    for item in map(str, Item):
        if item not in results:
            views.append(missing_item(item))
            continue
        result = results[item]
        models = [row_label(result.payload, row) for row in result.rows]
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
        views.append(item_view(result.payload, Origin.of(result.payload), pictures, links, notes[item]))
    return views


def _stems(folder: Path, item: str) -> Sequence[str]:
    """Figures of an item: `<item>.png` first, then `<item>_*.png` by name."""
    paths = [folder / f"{item}.png", *sorted(folder.glob(f"{item}_*.png"))]
    return [path.stem for path in paths if path.is_file()]
