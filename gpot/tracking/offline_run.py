"""What an offline W&B run holds, read back from its own file: no account, no network.

A `.wandb` file is a log of protobuf records in the form of LevelDB's: a header of 7 bytes, then blocks of 32 KiB, in
which a record is one fragment or several, each with its checksum, length and type.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

from gpot.errors import BadInput

_MAGIC = b":W&B"
_BLOCK, _HEADER = 32768, struct.Struct("<IHB")  # checksum, length, type
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


def records(file: Path) -> Iterator[Any]:
    """The records of a file, in order; the file may end within one, as it does while W&B writes it.

    Raises: BadInput for another kind of file, and for a fragment that does not have its checksum.
    """
    data = file.read_bytes()
    if not _MAGIC.startswith(data[: len(_MAGIC)]):
        raise BadInput(f"an offline W&B run is a file run-*.wandb; found another kind of file: {file}")
    record: Any = wandb_internal_pb2.Record  # type: ignore[attr-defined]  # its members are made at run time
    at, parts = 7, b""
    while at + _HEADER.size <= len(data):
        left = _BLOCK - at % _BLOCK
        if left < _HEADER.size:  # too short for a header: filled with zeros
            at += left
            continue
        checksum, length, kind = _HEADER.unpack_from(data, at)
        body = data[at + _HEADER.size : at + _HEADER.size + length]
        if len(body) < length:
            return
        at += _HEADER.size + length
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or zlib.crc32(body, zlib.crc32(bytes([kind]))) != checksum:
            raise BadInput(f"{file} is damaged before byte {at}. Delete the folder of this run, and run it again.")
        parts = body if kind in (_FULL, _FIRST) else parts + body
        if kind in (_FULL, _LAST):
            yield record.FromString(parts)


@dataclass
class OfflineRun:
    """A run: settings by key, history by key as (step, value), artefacts made and used by name; exit_code is None while
    the run goes on, or where it was killed."""

    folder: Path
    identity: str = ""
    name: str = ""
    stage: str = ""
    group: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    used: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def names(self) -> set[str]:
        """What the run logged, less what W&B adds."""
        return {name for name in self.history if not name.startswith("_")}


def read_run(folder: Path) -> OfflineRun:
    """The run in a folder `offline-run-*`.  Raises: BadInput if there is none, or if a picture or table that the
    history names is not there."""
    files = sorted(folder.glob("run-*.wandb"))
    if len(files) != 1:
        raise BadInput(f"an offline W&B run was to be in {folder}, as one file run-*.wandb; found {len(files)}")
    run = OfflineRun(folder)
    for record in records(files[0]):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run.identity, run.group = record.run.run_id, record.run.run_group
            run.name, run.stage = record.run.display_name, record.run.job_type
            _update(run.config, record.run.config)
        elif kind == "config":
            _update(run.config, record.config)
        elif kind == "history":
            _row(run, record.history.item)
        elif kind == "artifact":
            (run.used if record.artifact.use_after_commit else run.made)[record.artifact.name] = record.artifact
        elif kind == "exit":
            run.exit_code = record.exit.exit_code
    return run


def read_runs(parent: Path) -> list[OfflineRun]:
    """All offline runs in a folder, oldest first."""
    return [read_run(folder) for folder in sorted(parent.glob("offline-run-*"))]


def _update(config: dict[str, Any], record: Any) -> None:
    for item in record.update:
        if item.key and item.key != "_wandb":
            config[item.key] = json.loads(item.value_json)


def _row(run: OfflineRun, items: Any) -> None:
    """One call of `log`: keys, and the fields of what is a file."""
    row: dict[str, Any] = {}
    for item in items:
        path = list(item.nested_key) or [item.key]
        value = json.loads(item.value_json)
        if len(path) == 1:
            row[path[0]] = value
        else:
            row.setdefault(path[0], {})[".".join(path[1:])] = value
    step = int(row.get("trainer/global_step", row.get("_step", 0)))
    for key, value in row.items():
        for name in _files(value):
            if not (run.folder / "files" / name).is_file():
                raise BadInput(f"{run.folder}: '{key}' names the file {name}, and it is not there")
        run.history.setdefault(key, []).append((step, value))


def _files(value: Any) -> list[str]:
    if not isinstance(value, dict):
        return []
    if "filenames" in value:  # several images under one key
        return list(value["filenames"])
    return [value["path"]] if "path" in value else []
