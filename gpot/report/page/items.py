"""An item of the paper as the page shows it: printed beside reproduced, all that was measured, and how it was made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpot.paper import names
from gpot.paper.items import Item
from gpot.paper.printed import FLOW_OF, PRINTED, Printed
from gpot.paper.rows import base_row, row_name
from gpot.report.grids import SPREAD, Grid, grids
from gpot.report.page.arrays import Embedded
from gpot.report.page.captions import Words
from gpot.report.page.numbers import duration, minus, percent

Payload = Mapping[str, Any]

_SHOWN_COMMIT = 12


@dataclass(frozen=True)
class Line:
    """One printed number beside ours.

    off: ours / paper - 1, a percentage, where that means something. spread: over seeds. in_spreads: the difference over
    it; both empty for a row of one seed.
    """

    quantity: str
    paper: str
    here: str
    stderr: str
    difference: str
    off: str
    agrees: bool
    relative: float | None
    spread: str = ""
    in_spreads: str = ""


@dataclass(frozen=True)
class Model:
    """The printed numbers of one row. dataset: printed where an item is about several."""

    name: str
    dataset: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Cell:
    """Ours, and below it its spread over seeds and the paper's, if there are such."""

    here: str
    paper: str = ""
    spread: str = ""


@dataclass(frozen=True)
class Turned:
    """A grid with a row for each quantity and a column for each model. heads: (name, what tells it apart)."""

    title: str
    note: str
    corner: str
    heads: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Fact:
    """A line of provenance. code: set it as what is typed. long: it takes a line of its own."""

    term: str
    text: str
    code: bool = False
    long: bool = False


@dataclass(frozen=True)
class Picture:
    stem: str
    image: Embedded
    words: Words


@dataclass(frozen=True)
class Origin:
    """How an item's models were made, from the manifests of all that stands behind its rows."""

    seconds: float = 0.0
    n_artifacts: int = 0
    devices: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, payload: Payload) -> Origin:
        """Entry `origin` of a result, empty where it has none."""
        entry = payload.get("origin")
        if entry is None:
            return cls()
        return cls(float(entry["seconds"]), entry["n_artifacts"], tuple(entry["devices"]), tuple(entry["missing"]))


@dataclass(frozen=True)
class ItemView:
    """A table or figure of the paper; `made` is false where there is no result yet."""

    key: str
    label: str
    subject: str
    made: bool
    models: tuple[Model, ...] = ()
    tables: tuple[Turned, ...] = ()
    facts: tuple[Fact, ...] = ()
    pictures: tuple[Picture, ...] = ()
    links: tuple[str, ...] = ()  # files beside the page that it does not carry
    notes: tuple[str, ...] = field(default=())
    budget: str = names.NULL
    time: str = names.NULL
    n_printed: int = 0

    @property
    def command(self) -> str:
        return f"make reproduce-{self.key}"

    @property
    def lines(self) -> list[Line]:
        return [line for model in self.models for line in model.lines]

    @property
    def summary(self) -> str:
        """`5 of 12 to the printed digit`, for the overview."""
        if not self.n_printed:
            return "no number is printed"
        if not self.made:
            return f"{self.n_printed} printed"
        return f"{sum(line.agrees for line in self.lines)} of {self.n_printed}"

    @property
    def median_off(self) -> str:
        """Median of the absolute relative differences: `3.1%`."""
        offs = sorted(abs(line.relative) for line in self.lines if line.relative is not None)
        if not offs:
            return names.NULL
        half = len(offs) // 2
        return percent(offs[half] if len(offs) % 2 else (offs[half - 1] + offs[half]) / 2, sign=False)


def missing_item(key: str) -> ItemView:
    """The view of an item that has not been made."""
    item = Item(key)
    return ItemView(key, item.label, item.subject, made=False, n_printed=sum(p.item == key for p in PRINTED))


def item_view(
    payload: Payload, origin: Origin | None = None, pictures: Sequence[Picture] = (), links: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> ItemView:  # fmt: skip
    """The view of a result (`gpot.report.tables` says what it holds). origin: from the manifests."""
    key = str(payload["item"])
    item, origin = Item(key), origin or Origin()
    models = tuple(_models(payload))
    return ItemView(
        key, item.label, item.subject, True, models, tuple(turn(grid) for grid in grids(payload)),
        tuple(_facts(payload, origin)), tuple(pictures), tuple(links),
        tuple(notes), str(payload.get("budget", names.NULL)),
        duration(origin.seconds) if origin.n_artifacts else names.NULL, sum(len(model.lines) for model in models),
    )  # fmt: skip


def turn(grid: Grid) -> Turned:
    """A table of models as a table of quantities, which fits a narrow screen: the paper's number goes below ours."""
    labels = grid.rows and [row[: grid.n_labels] for row in grid.rows]
    heads = tuple((label[0], ", ".join(label[1:])) for label in labels or ())
    rows, column = [], 0
    for heading, subs in grid.groups:
        if column >= grid.n_labels:
            cells = []
            for row in grid.rows:
                texts = dict(zip(subs, row[column : column + len(subs)], strict=True))
                below = (texts.get(sub, names.NULL) for sub in ("paper", SPREAD))
                cells.append(Cell(minus(row[column]), *("" if text == names.NULL else minus(text) for text in below)))
            if any(cell.here != names.NULL or cell.paper for cell in cells):
                rows.append((heading, tuple(cells)))
        column += len(subs)
    return Turned(grid.title, grid.note, grid.groups[0][0], heads, tuple(rows))


def row_label(payload: Payload, row: Mapping[str, Any]) -> str:
    """Printed name of a row of a result: `BNAF+GP (ridge)`."""
    return row_name(row["row"], row.get("flow") or payload.get("flow") or FLOW_OF.get(row.get("dataset", "")))


def _models(payload: Payload) -> Iterable[Model]:
    """Rows of the result that the paper prints, in the paper's order."""
    key = str(payload["item"])
    printed = [p for p in PRINTED if p.item == key]
    several = len({p.dataset for p in printed}) > 1
    settings = bool(printed) and all(p.metric in names.SETTINGS for p in printed)
    for dataset, base in dict.fromkeys((p.dataset, p.row) for p in printed):
        numbers = [p for p in printed if (p.dataset, p.row) == (dataset, base)]
        rows = [row for row in payload["rows"] if _matches(row, dataset, base, settings)]
        for row in rows or [{"row": base, "dataset": dataset}]:
            lines = tuple(_line(p, row) for p in numbers)
            yield Model(row_label(payload, row), names.DATASETS.get(dataset, dataset) if several else "", lines)


def _matches(row: Mapping[str, Any], dataset: str, base: str, variants: bool) -> bool:
    """Whether a row stands beside the paper's. Variants are other models; of a table of settings, other settings."""
    name = base_row(row["row"]) if variants else row["row"]
    return name == base and row.get("dataset", dataset) == dataset and row.get("protocol") in (None, "with_shape")


def _line(printed: Printed, row: Mapping[str, Any]) -> Line:
    metric = names.metric(printed.metric)
    ours = row.get(printed.metric)
    # a row has no paper's number where it is about another flow than the paper's
    if ours is None or printed.metric not in (row.get("paper") or {}):
        return Line(metric.name, minus(printed.text), names.NULL, "", names.NULL, names.NULL, False, None)
    value = printed.value
    # of a log-density the zero is arbitrary, so only the difference means something
    relative = None if metric.unit == "nats" or value == 0 else (ours - value) / abs(value)
    stderr, spread = row.get(f"{printed.metric}_stderr"), row.get(f"{printed.metric}_spread")
    return Line(
        metric.name + (f" ({metric.unit})" if metric.unit else ""), minus(printed.text), minus(metric.text(ours)),
        "" if stderr is None else f"± {minus(metric.text(stderr))}",
        "0" if ours == value else minus(metric.difference_text(ours, value)),
        names.NULL if relative is None else percent(relative), printed.agrees(ours), relative,
        "" if spread is None else minus(metric.text(spread)),
        "" if not spread else minus(names.spreads_text(ours, value, spread)),
    )  # fmt: skip


def _facts(payload: Payload, origin: Origin) -> Iterable[Fact]:
    key, budget = str(payload["item"]), payload.get("budget")
    yield Fact("Command", f"make reproduce-{key}" + (f" BUDGET={budget}" if budget else ""), code=True, long=True)
    if payload.get("command"):
        yield Fact("This call", str(payload["command"]), code=True, long=True)
    yield Fact("Budget", _text(budget))
    devices = list(dict.fromkeys([*origin.devices, *([payload["device"]] if payload.get("device") else [])]))
    yield Fact("Hardware", "; ".join(devices) or names.NULL)
    if origin.n_artifacts:
        yield Fact("Time from nothing", f"{duration(origin.seconds)} ({origin.n_artifacts} results)")
    if payload.get("seconds") is not None:
        yield Fact("Time of this call", duration(float(payload["seconds"])))
    if payload.get("peak_memory_gb") is not None:
        yield Fact("Peak memory", f"{float(payload['peak_memory_gb']):.1f} GB")
    yield Fact("Seed", _text(payload.get("seed")))
    seeds = dict.fromkeys(seed for row in payload["rows"] for seed in row.get("seeds") or ())
    if len(seeds) > 1:
        yield Fact("Seeds of the GP flows", ", ".join(map(str, seeds)))
    yield Fact("Commit", _commit(payload.get("commit")), code=True)
    versions = payload.get("versions") or {}
    if versions:
        yield Fact("Versions", ", ".join(f"{name} {_text(version)}" for name, version in versions.items()), long=True)
    if origin.missing:
        yield Fact("Not in the store", ", ".join(origin.missing), long=True)


def _commit(commit: Any) -> str:
    if not commit:
        return names.NULL
    text = str(commit)
    return text[:_SHOWN_COMMIT] + ("-dirty" if text.endswith("-dirty") else "")


def _text(value: Any) -> str:
    return names.NULL if value is None else str(value)
