"""Documents whose numbers are generated: results and a template go in, markdown comes out.

A template (`docs/templates/*.md`, Jinja) has words, commands and references, and takes each measured number from a
result in `docs/numbers/*.json`, which `scripts/documents.py` copies from where the commands write them. What may stand
in a template as a digit is what nobody measured: see :func:`typed_numbers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from gpot.errors import BadInput, DataMissing
from gpot.paper import names
from gpot.report import summary, tables
from gpot.report.grids import grids

Result = Mapping[str, Any]

# Digits that nobody measured: code, addresses of links and pictures, numbers of tables, figures and equations, years of
# publications, and dimensions
_NOT_MEASURED = re.compile(
    r"```.*?```|`[^`]*`|\]\([^)]*\)|<[^>]*>|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}"
    r"|(?:Tables?|Figures?|Lemma|[Ee]qs?\.|Proposition|[Ss]ections?|Appendix [A-Z]\.?) \(?\d+(?:\.\d+)*\)?"
    r"(?:(?:,| and| to| or) \(?\d+\)?)*|\((?:19|20)\d\d\)|(?:19|20)\d\d[;)]|\b[23]-D\b|\bN\(0, [1I]\)|\^2\b",
    re.DOTALL,
)


_ELSEWHERE = {"README.md": "README.md", "model_card.md": "pretrained/README.md"}  # documents that are not in docs/


def typed_numbers(template: str) -> list[str]:
    """Digits in the words of a template, which ought to come from a result, each with what stands around it.

    >>> typed_numbers("Table 2 (`seed=1`): the cost falls to 5.3, printed {{ 3 }}")
    ['cost falls to 5.3, printed']
    """
    words = _NOT_MEASURED.sub(lambda match: "\0" * len(match.group()), template)
    return [
        words[max(0, number.start() - 14) : number.end() + 9].replace("\0", "").strip()
        for number in re.finditer(r"\d[\d.,]*(?<=\d)", words)
    ]


def read_results(folder: Path) -> dict[str, Result]:
    """Name -> result of every JSON file of a folder.  Raises: DataMissing where there is no such folder."""
    if not folder.is_dir():
        raise DataMissing(f"documents take their numbers from {folder}, and there is no such folder. Run: make numbers")
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


class Numbers:
    """What templates call. Every look-up that finds nothing, or more than one row, is an error.

    Arguments:
        results: name -> result: items of the paper (see `gpot.report.tables`), and whatever else commands write.
    """

    def __init__(self, results: Mapping[str, Result]) -> None:
        self.results = results
        self.read: set[str] = set()

    def scores(self, name: str, row: str, *, printed: bool = False) -> str:
        """Disentanglement, completeness, informativeness of a row with shape, ours or as printed; a dash for none."""
        entry = self.row(name, row)
        values = [(entry["paper"] if printed else entry).get(key) for key in names.SCORES]
        return names.NULL if None in values else " / ".join(f"{value:.2f}" for value in values)

    def result_names(self) -> list[str]:
        """The results that there are: what has not been run has no section."""
        return list(self.results)

    def result(self, name: str) -> Result:
        """A whole result, for what the other functions do not say."""
        if name not in self.results:
            raise BadInput(f"a document asks for result '{name}', and there are {', '.join(self.results)}.")
        self.read.add(name)
        return self.results[name]

    def row(self, name: str, row: str, dataset: str | None = None, protocol: str | None = None) -> Result:
        """The one row of an item with these labels; of an item with protocols that with shape."""
        rows = [r for r in self.result(name)["rows"] if r["row"] == row and dataset in (None, r.get("dataset"))]
        factors = protocol or ("with_shape" if any(r.get("protocol") for r in rows) else None)
        rows = [r for r in rows if r.get("protocol") == factors]
        if len(rows) != 1:
            raise BadInput(f"a document asks for row '{row}' of {name} ({dataset}, {factors}); {len(rows)} rows fit.")
        return rows[0]

    def value(
        self, name: str, row: str, metric: str, dataset: str | None = None, *, spread: bool = False, spec: str = ""
    ) -> str:
        """Our number as it is printed; spread: with its spread over seeds, or else its standard error."""
        entry = self.row(name, row, dataset)
        number, error = entry.get(metric), entry.get(f"{metric}_spread") or entry.get(f"{metric}_stderr")
        if spec:
            return names.NULL if number is None else format(number, spec)
        return names.metric(metric).text(number, error if spread else None)

    def paper(self, name: str, row: str, metric: str, dataset: str | None = None) -> str:
        """The printed number beside it, to the digits that are printed."""
        printed = (self.row(name, row, dataset).get("paper") or {}).get(metric)
        return names.metric(metric).paper_text(printed)

    def ratio(self, name: str, row: str, over: str, metric: str, dataset: str | None = None) -> str:
        """A metric of one row as a share of that of another, in percent."""
        part, whole = (self.row(name, key, dataset).get(metric) for key in (row, over))
        return names.NULL if part is None or whole is None else f"{part / whole:.0%}"

    def table(self, name: str, title: str, dataset: str | None = None) -> str:
        """One of the tables of an item (`Scores`, `Transport and fidelity`, `Settings`, ...), with its note, without
        metrics that no row has."""
        result = dict(self.result(name))
        if dataset is not None:
            result["rows"] = [row for row in result["rows"] if row.get("dataset") == dataset]
        by_title = {grid.title: grid for grid in grids(result)}
        if title not in by_title:
            raise BadInput(f"a document asks for table '{title}' of {name}, which has {', '.join(by_title)}.")
        grid = tables.without_empty(by_title[title])
        return "\n".join([*tables.grid_markdown(grid), "", grid.note])

    def made(self, name: str, *keys: str) -> str:
        """How a result was made, in one line: budget, seed, versions and device, or those of them that are named."""
        result = self.result(name)
        known = {key: result[key] for key in keys or ("budget", "seed", "device", "versions") if key in result}
        return "; ".join(tables.provenance({"item": name, "rows": [], **known}))

    def minutes(self, name: str) -> str:
        """How long the item took, from the released models, in minutes or seconds."""
        seconds = float(self.result(name)["seconds"])
        return f"{seconds:.0f} seconds" if seconds < 100 else f"{seconds / 60:.1f} minutes"

    def summary(self) -> str:
        """The table of the summary: what was reproduced, how close."""
        items = {name: self.result(name) for name in summary.ORDER if name in self.results}
        rule = [":--", *["--:"] * (len(summary.HEADS) - 1)]
        rows: Sequence[Sequence[str]] = [summary.HEADS, rule, *summary.lines(items)]
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def sweep_value(self, name: str, metric: str, settings: Mapping[str, str]) -> str:
        """A metric of the one setting of a sweep that has these options, mean and spread over repetitions."""
        groups = [g for g in self.result(f"sweep_{name}")["groups"] if settings.items() <= g["settings"].items()]
        if len(groups) != 1:
            raise BadInput(f"a document asks sweep '{name}' for {dict(settings)}; {len(groups)} of its settings fit.")
        entry = groups[0]["metrics"][metric]
        return names.metric(metric).text(entry["mean"], entry["spread"])

    def sweep_table(self, name: str) -> str:
        """A line per setting of a sweep: its options, and each metric as mean and spread over repetitions."""
        result = self.result(f"sweep_{name}")
        groups = result["groups"]
        keys = [key for key in names.METRICS if any(key in group["metrics"] for group in groups)]
        rows = [
            [*(f"`{option}`" for option in result["varying"]), "Repetitions", *(names.metric(k).heading for k in keys)],
            ["--:"] * (len(result["varying"]) + 1 + len(keys)),
        ]
        for group in groups:
            entries = [group["metrics"].get(key) for key in keys]
            numbers = [
                names.NULL if entry is None else names.metric(key).text(entry["mean"], entry["spread"])
                for key, entry in zip(keys, entries, strict=True)
            ]
            options = (group["settings"].get(option, names.NULL) for option in result["varying"])
            rows.append([*options, str(group["repetitions"]), *numbers])
        return "\n".join("| " + " | ".join(row) + " |" for row in rows)

    def rows(self, name: str) -> Sequence[Result]:
        """The rows of a result."""
        rows: Sequence[Result] = self.result(name)["rows"]
        return rows

    def functions(self) -> dict[str, Callable[..., Any]]:
        public = (
            self.result, self.row, self.rows, self.value, self.paper, self.ratio, self.table, self.made, self.minutes,
            self.summary, self.result_names, self.scores, self.sweep_value, self.sweep_table,
        )  # fmt: skip
        return {function.__name__: function for function in public}


def render(template: str, numbers: Numbers, loader: jinja2.BaseLoader | None = None) -> str:
    """The document of a template.  Raises: BadInput for a name that is not known, and what a look-up raises."""
    environment = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals.update(numbers.functions())
    environment.filters["number"] = lambda value, spec: names.NULL if value is None else format(value, spec)
    try:
        return environment.from_string(template).render()
    except jinja2.TemplateError as error:
        raise BadInput(f"a template of the documents cannot be rendered: {error}.") from error


def documents(root: Path) -> dict[Path, str]:
    """Every generated document of a checkout, path -> text.

    Arguments:
        root: the folder that holds README.md and docs/.
    """
    numbers = Numbers(read_results(root / "docs" / "numbers"))
    return {
        root / _ELSEWHERE.get(path.name, f"docs/{path.name}"): render(path.read_text(encoding="utf-8"), numbers)
        for path in templates(root)
    }


def templates(root: Path) -> list[Path]:
    """What the documents of a checkout are written from."""
    return sorted((root / "docs" / "templates").glob("*.md"))


def stale(root: Path, pages: Mapping[Path, str] | None = None) -> list[Path]:
    """The documents that differ from what their templates and results say.

    Arguments:
        root: as of :func:`documents`.
        pages: what that gave for this root, where it is known already.
    """
    expected = documents(root) if pages is None else pages
    return [path for path, text in expected.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
