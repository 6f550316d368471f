"""The key of a result: a hash of the canonical JSON of all that determines it."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from gpot.errors import BadInput

KEY_DIGITS = 16  # 64 bits: a collision among a million artefacts has probability 3e-8


def content_key(
    stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str], data_hash: str | None
) -> str:
    """First 16 hexadecimal digits of the sha256 of the canonical JSON of the arguments.

    Arguments:
        stage: its name.
        version: of its code, raised when the same config begins to mean another result.
        config: resolved, of plain values.
        inputs: name and key of each artefact read.
        data_hash: of data from elsewhere.

    Canonical: keys sorted, enums by value, tuples as lists, numbers by value (`1e-3` is `0.001`; `5.0` is `5`, because
    YAML writes a learning rate of one either way). `True` is not `1`, and what JSON cannot say is refused.

    >>> content_key("flow", 1, {"lr": 1e-3, "n": 5}, {}, None)
    '8febff0d34a06c8a'
    >>> content_key("flow", 1, {"n": 5.0, "lr": 0.001}, {}, None)
    '8febff0d34a06c8a'
    """
    parts = {"stage": stage, "version": version, "config": config, "inputs": inputs, "data_hash": data_hash}
    text = json.dumps(canonical(parts, ""), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:KEY_DIGITS]


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def canonical(value: Any, where: str, record: bool = False) -> Any:
    """Plain JSON with one form for each value; `record` also takes array scalars and writes nan and inf as words."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, str)):
        return value
    if record and not isinstance(value, (int, float)) and callable(getattr(value, "item", None)):
        value = value.item()
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            if record:
                return str(value)
            raise BadInput(f"{where} must be a finite number; found {value}")
        return int(value) if value.is_integer() else float(value)
    if isinstance(value, (list, tuple)):
        return [canonical(item, f"{where}[{i}]", record) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        names = ((name.value if isinstance(name, Enum) else name, item) for name, item in value.items())
        return {name: canonical(item, f"{where}.{name}".lstrip("."), record) for name, item in names}
    raise BadInput(
        f"{where} must be plain JSON (None, bool, number, string, enum, list, dict with string keys); "
        f"found {type(value).__name__}: {str(value)[:80]}. "
        "Convert it first: OmegaConf.to_container(config, resolve=True), tensor.tolist(), str(path)"
    )


def check_names(stage: str, key: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", stage):
        raise BadInput(f"a stage is named in lower case letters, digits and underscores; found '{stage}'")
    if not re.fullmatch(rf"[0-9a-f]{{{KEY_DIGITS}}}", key):
        raise BadInput(f"a key is {KEY_DIGITS} hexadecimal digits, from content_key(...); found '{key}'")
