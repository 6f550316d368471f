"""What a JSON file can hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from gpot.errors import BadInput


def jsonable(value: Any, lost: list[str] | None = None, where: str = "") -> Any:
    """Only what JSON holds: arrays become lists, enums their value, paths text, numbers that are not finite None.

    Arguments:
        lost: receives where each such number stood, as `rows.2.cost`.
    """
    if isinstance(value, Enum):
        value = value.value
    elif hasattr(value, "tolist"):  # arrays, tensors, and their scalars
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        if lost is not None:
            lost.append(where)
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    inner = f"{where}." if where else ""
    if isinstance(value, Mapping):
        return {str(key): jsonable(entry, lost, f"{inner}{key}") for key, entry in value.items()}
    if isinstance(value, Sequence):
        return [jsonable(entry, lost, f"{inner}{k}") for k, entry in enumerate(value)]
    raise BadInput(f"A result holds numbers, text, lists and dictionaries; '{where}' is a {type(value).__name__}.")
