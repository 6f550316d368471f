"""The results of a report folder, as the page reads them: `<item>.json`, and the arrays of `<item>_page.npz`.

`gpot.report.tables` says what the JSON holds. Of the models behind a result the page also takes: `origin` (`seconds`,
`n_artifacts`, `devices`, `missing`), `models` (one dictionary per trained model: `stage`, `key`, `dataset`, `row`,
`flow`, `seed`, `metric`, `best`, `best_epoch`, `epochs`, `seconds`, `device`, `budget`, `commit`, `watched`); and the
arrays that `gpot.items.page_arrays` lists.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpot.errors import BadInput
from gpot.paper.items import Item

SUFFIX = "_page.npz"


@dataclass(frozen=True)
class Result:
    """An item's result. arrays: name -> array; empty where there is no file of them."""

    payload: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @property
    def rows(self) -> Sequence[Mapping[str, Any]]:
        rows: Sequence[Mapping[str, Any]] = self.payload["rows"]
        return rows

    @property
    def models(self) -> Sequence[Mapping[str, Any]]:
        """The trained models behind the rows."""
        return self.payload.get("models") or ()


def read_results(folder: Path) -> dict[str, Mapping[str, Any]]:
    """The JSON of each item that has a result in the folder, in the paper's order.

    Raises: BadInput for a broken file.
    """
    payloads: dict[str, Mapping[str, Any]] = {}
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
        payloads[item] = payload
    return payloads


def read_arrays(folder: Path, item: str) -> dict[str, NDArray[Any]]:
    """All arrays of `<item>_page.npz`.  Raises: BadInput for a file that is not there or is broken."""
    path = folder / f"{item}{SUFFIX}"
    again = f"Run: make reproduce-{item}"
    if not path.is_file():
        raise BadInput(f"{path.name} is not in the report folder. {again}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise BadInput(f"{path.name} is not a file of arrays ({error}). {again}") from error
