"""Checkpoints as `torch.save` writes them, a state dict or a whole module, read without running anything of theirs.

Two layouts: a zip archive (`data.pkl`, and one entry of raw numbers per storage), and before PyTorch 1.6 one stream (a
magic number, a protocol number, a description of the machine, the pickle, the list of storages, then each storage's
length and numbers). A tensor in the pickle is a reference to a storage with offset, shape and strides; both layouts are
checked against the file's size before memory is taken.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from gpot.data.unpickle import Construction, Name, read_pickle
from gpot.errors import BadInput

MAX_BYTES = 1 << 30
MAX_MODULES = 10_000  # a module that two others share counts twice, and one within itself without end
MAX_NAME = 4096
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_STORAGES = {
    f"torch.{name}Storage": dtype
    for name, dtype in {
        "Float": torch.float32, "Double": torch.float64, "Half": torch.float16, "BFloat16": torch.bfloat16,
        "Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8, "Byte": torch.uint8,
        "Bool": torch.bool,
    }.items()
}  # fmt: skip
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"


@dataclass(frozen=True)
class _Storage:
    """Numbers that lie elsewhere in the file."""

    key: str
    dtype: torch.dtype
    length: int


@dataclass(frozen=True)
class _View:
    """A tensor: how it lies in a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a state dict, or of a pickled module, under the names of its state dict, on the CPU.

    A module's classes are not needed, and none is looked up: its parameters, buffers and modules are where every
    `torch.nn.Module` has them. Raises: BadInput where the file is neither, or is not what it says.
    """
    path = Path(path)
    what = f"the checkpoint '{path}'"
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise BadInput(f"{what} has {size} bytes, and those that gpot reads have at most {MAX_BYTES}.")
    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
        file.seek(0)
        content, load = _read_archive(file, what, size) if is_archive else _read_stream(file, what, size)
        views = dict(_named_views(content, what))
        if not views:
            raise BadInput(f"{what} was to be a state dict or a module, and has no tensor.")
        storages = {view.storage.key: view.storage for view in views.values()}
        numbers = {key: load(storage) for key, storage in storages.items()}
    return {name: _tensor(view, numbers[view.storage.key], f"{name} of {what}") for name, view in views.items()}


Loader = Callable[[_Storage], Tensor]


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """Whatever a zip archive's bytes say ends in BadInput."""
    try:
        yield
    except BadInput:  # a ValueError too
        raise
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError, ValueError, KeyError) as error:
        raise _broken(what, error) from error


def _read_archive(file: IO[bytes], what: str, size: int) -> tuple[Any, Loader]:
    with _reading(what):
        archive = zipfile.ZipFile(file)
        entries = {entry.filename: entry for entry in archive.infolist()}
        pickles = [name for name in entries if name.rpartition("/")[2] == "data.pkl"]
        # torch.save compresses nothing; what is not compressed is no larger than the file
        stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in entries.values())
        if len(pickles) != 1 or not stored or sum(entry.file_size for entry in entries.values()) > size:
            raise BadInput(f"{what} is a zip archive, and not one that torch.save wrote.")
        folder = pickles[0].rpartition("data.pkl")[0]
        if f"{folder}byteorder" in entries and archive.read(f"{folder}byteorder") != b"little":
            raise BadInput(f"{what} was written on a big-endian machine, which gpot does not read.")
        content = read_pickle(io.BytesIO(archive.read(pickles[0])), what, _reference)

    def load(storage: _Storage) -> Tensor:
        with _reading(what):
            return _numbers(storage, archive.read(f"{folder}data/{storage.key}"), what)

    return content, load


def _read_stream(file: IO[bytes], what: str, size: int) -> tuple[Any, Loader]:
    head = [read_pickle(file, what, _no_reference) for _ in range(3)]
    machine = head[2] if isinstance(head[2], dict) else {}
    if head[:2] != [_MAGIC, _PROTOCOL] or machine.get("little_endian") is not True:
        raise BadInput(f"{what} was to be a file of torch.save from a little-endian machine, and is none.")
    used: dict[str, _Storage] = {}

    def refer(reference: Any) -> Any:
        entry = _reference(reference)
        if isinstance(entry, _Storage) and used.setdefault(entry.key, entry) != entry:
            raise BadInput(f"{what} describes its storage {entry.key} in two ways.")
        return entry

    content = read_pickle(file, what, refer)
    keys = read_pickle(file, what, _no_reference)
    named = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
    if not named or set(keys) != set(used) or len(keys) != len(used):
        raise BadInput(f"{what} lists other storages than its tensors have.")
    places: dict[str, int] = {}
    for key in keys:
        length = int.from_bytes(file.read(8), "little")
        places[key] = file.tell()
        if length != used[key].length or places[key] + _bytes(used[key]) > size:
            raise _broken(what, f"storage {key} has another length than its tensor says")
        file.seek(_bytes(used[key]), io.SEEK_CUR)

    def load(storage: _Storage) -> Tensor:
        file.seek(places[storage.key])
        return _numbers(storage, file.read(_bytes(storage)), what)

    return content, load


def _broken(what: str, problem: object) -> BadInput:
    return BadInput(f"{what} is cut short or damaged ({problem}). Fetch it again.")


def _reference(reference: Any) -> Any:
    """('storage', type, key, device, length[, view]), or of a whole module ('module', class, file, source)."""
    if isinstance(reference, tuple) and reference[:1] == ("module",) and isinstance(reference[1], Name):
        return reference[1]
    if not isinstance(reference, tuple) or len(reference) not in (5, 6) or reference[5:] not in ((), (None,)):
        raise ValueError("it refers to something else than a storage")
    word, kind, key, _, length = reference[:5]
    dtype = _STORAGES.get(kind.path) if isinstance(kind, Name) else None
    if word != "storage" or dtype is None or not isinstance(key, str) or not _is_length(length):
        raise ValueError("it refers to a storage that is none of numbers")
    return _Storage(key, dtype, length)


def _no_reference(_: Any) -> Any:
    raise ValueError("it refers to something outside where it should not")


def _is_length(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_BYTES


def _bytes(storage: _Storage) -> int:
    return storage.length * storage.dtype.itemsize


def _numbers(storage: _Storage, content: bytes, what: str) -> Tensor:
    if len(content) != _bytes(storage):
        raise _broken(what, f"storage {storage.key} has {len(content)} bytes in place of {_bytes(storage)}")
    if sys.byteorder != "little":
        raise BadInput(f"{what} holds little-endian numbers, and this machine has others.")
    return torch.frombuffer(bytearray(content), dtype=storage.dtype) if content else torch.empty(0, dtype=storage.dtype)


def _named_views(content: Any, what: str) -> Iterator[tuple[str, _View]]:
    """Names and tensors of a state dict, or of a module as `torch.nn.Module.state_dict` lists them."""
    if isinstance(content, dict):
        for name, value in content.items():
            yield str(name), _view(value, f"{name} of {what}")
    elif isinstance(content, Construction):
        yield from _of_module(content, what)
    else:
        raise BadInput(f"{what} was to hold a state dict or a module, and holds {type(content).__name__}.")


def _of_module(top: Construction, what: str) -> Iterator[tuple[str, _View]]:
    todo, visits = [("", top)], 0
    while todo:
        prefix, module = todo.pop()
        visits += 1
        if visits > MAX_MODULES or len(prefix) > MAX_NAME:
            raise BadInput(f"{what} has a module within itself, or more than {MAX_MODULES} modules.")
        parts = [module.attributes.get(kind) for kind in ("_parameters", "_buffers", "_modules")]
        parameters, buffers, modules = (part if isinstance(part, dict) else None for part in parts)
        if parameters is None or buffers is None or modules is None:
            raise BadInput(f"{what} was to be a torch.nn.Module at '{prefix or 'its top'}', and is {module.by.path}.")
        passing = module.attributes.get("_non_persistent_buffers_set")
        passing = passing if isinstance(passing, set) else set()
        for name, value in {**parameters, **{n: v for n, v in buffers.items() if n not in passing}}.items():
            if value is not None:
                yield f"{prefix}{name}", _view(value, f"{prefix}{name} of {what}")
        for name, value in modules.items():
            if isinstance(value, Construction):
                todo.append((f"{prefix}{name}.", value))
            elif value is not None:
                raise BadInput(f"{what} was to have a module at '{prefix}{name}', and has {type(value).__name__}.")


def _view(value: Any, what: str) -> _View:
    if isinstance(value, Construction) and value.by.path == _PARAMETER and value.arguments:
        value = value.arguments[0]
    if isinstance(value, Construction) and value.by.path == _TENSOR and len(value.arguments) >= 4:
        storage, offset, shape, strides = value.arguments[:4]
        plain = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides)
        if isinstance(storage, _Storage) and plain and all(map(_is_length, (offset, *shape, *strides))):
            return _fitting(_View(storage, offset, shape, strides), what)
    kind = value.by.path if isinstance(value, Construction) else type(value).__name__
    raise BadInput(f"{what} was to be a tensor, and is something else ({kind}).")


def _fitting(view: _View, what: str) -> _View:
    """The view, if all of it lies in its storage, and its numbers are no more than that has."""
    last = view.offset + sum((n - 1) * stride for n, stride in zip(view.shape, view.strides, strict=True))
    n = math.prod(view.shape)
    if n and (last >= view.storage.length or n > view.storage.length):
        raise BadInput(f"{what} reaches beyond its storage of {view.storage.length} numbers.")
    return view


def _tensor(view: _View, numbers: Tensor, what: str) -> Tensor:
    return numbers.as_strided(view.shape, view.strides, view.offset).clone()
