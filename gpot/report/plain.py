"""Entries of a result in words."""

from __future__ import annotations

from typing import Any

from gpot.jsonable import jsonable
from gpot.paper import names


def words(value: Any) -> str:
    """Of an entry of a result, in one line."""
    value = jsonable(value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(entry)}" for key, entry in value.items())
    if isinstance(value, list):
        return ", ".join(words(entry) for entry in value)
    return names.NULL if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
