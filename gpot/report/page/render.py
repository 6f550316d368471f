"""The page as one text: a template, a style and a script of this folder, filled with what was found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined

from gpot.report.page.arrays import pack, pack_bytes
from gpot.report.page.items import ItemView

PACKAGE = "gpot.report.page"
MOST_BYTES = 15_000_000  # of the whole page: what opens at once from disk, and passes through a mail


@dataclass(frozen=True)
class FlowView:
    """A GP flow in the plane, to be moved by hand.

    group: key of its `FlowData`. frames (T, n, 2): s's path from Q f(x), at equal times from 0 to 1, NaN for particles
    that left the domain, of which there are `left_out`; mesh (T, m, p, 2): m lines of a mesh that is carried along.
    """

    group: str
    name: str
    frames: Any
    mesh: Any
    left_out: int = 0


@dataclass(frozen=True)
class FlowData:
    """What all flows of one dataset share: points x (n, 2) and their colours (n, 3), uint8."""

    title: str
    x: Any
    colours: Any


@dataclass(frozen=True)
class Bar:
    """A share with its standard error, as text and as a length in [0, 1] of the longest."""

    name: str
    text: str
    length: float


@dataclass(frozen=True)
class Chart:
    """A small SVG with its title, and numbers in words below it."""

    title: str
    svg: str
    caption: str


@dataclass(frozen=True)
class Trained:
    """A trained model behind the results."""

    name: str
    stage: str
    key: str
    best: str
    epochs: str
    time: str
    device: str
    budget: str
    commit: str
    history: bool


@dataclass(frozen=True)
class Page:
    """All that the page shows. notes: what was left out of its views, and why."""

    items: Sequence[ItemView]
    flow_data: Mapping[str, FlowData] = field(default_factory=dict)
    flows: Sequence[FlowView] = ()
    traversals: Sequence[Mapping[str, Any]] = ()
    certificates: Sequence[tuple[str, Sequence[Bar]]] = ()
    histograms: Sequence[Chart] = ()
    curves: Sequence[Chart] = ()
    trained: Sequence[Trained] = ()
    notes: Sequence[str] = ()


def render(page: Page) -> str:
    """The HTML text, complete: style, script, pictures and arrays are inside."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    data = {"flows": _flow_json(page), "traversals": list(page.traversals)}
    return environment.from_string(_asset("page.html.j2")).render(
        page=page, style=_asset("page.css"), script=_asset("page.js"), data=_json(data)
    )


def _flow_json(page: Page) -> list[dict[str, Any]]:
    groups = []
    for key, data in page.flow_data.items():
        flows = [
            {"name": flow.name, "frames": pack(flow.frames), "mesh": pack(flow.mesh), "left_out": flow.left_out}
            for flow in page.flows
            if flow.group == key
        ]
        if flows:
            groups.append({"title": data.title, "x": pack(data.x), "colours": pack_bytes(data.colours), "flows": flows})
    return groups


def _json(value: Any) -> str:
    """JSON that may stand inside a script element: nothing in it ends the element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return resources.files(PACKAGE).joinpath(name).read_text(encoding="utf-8")
