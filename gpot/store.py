"""The artefact store: the result of a stage lives in a folder named by the hash of all that determines it.

::

    <root>/<stage>/<key>/manifest.json     the record: config, inputs, versions, seed, metrics, sha256 of every file
                        /...               the files themselves (safetensors, npy, json); nothing is pickled
    <root>/../work/<stage>/<key>/          checkpoints of a training that has not finished

The key is a hash of the stage, its version, its resolved sub-config, the keys of what it read and the hash of its data
(`content_key`). Device, workers, logger and paths change how a result is made and not what it is: they stay out. An
artefact is built in a temporary folder under a file lock and then renamed: a folder with its final name is complete.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import platform
import re
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import Enum
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import filelock
import numpy as np
from numpy.typing import NDArray

from gpot.errors import ArtifactCorrupt, ArtifactMissing, BadInput

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = "manifest.json"
KEY_DIGITS = 16  # 64 bits: a collision among a million artefacts has probability 3e-8
RECORDED_PACKAGES = ("torch", "lightning", "numpy", "gpot")
_GIVEN = ("version", "config", "inputs", "data_hash", "seed", "device")  # by the caller of Store.make
_MADE = ("stage", "key", "versions", "commit", "started", "duration", "metrics", "files")  # by Store.make

logger = logging.getLogger(__name__)


def content_key(
    stage: str, version: int, config: Mapping[str, Any], inputs: Mapping[str, str], data_hash: str | None
) -> str:
    """First 16 hexadecimal digits of the sha256 of the canonical JSON of the arguments.

    Arguments: `version` of the stage's code, raised when the same config begins to mean another result; `config`,
    resolved, of plain values; `inputs`, name and key of each artefact read; `data_hash`, of data from elsewhere.
    Canonical: keys sorted, enums by value, tuples as lists, numbers by value (`1e-3` is `0.001`; `5.0` is `5`, because
    YAML writes a learning rate of one either way). `True` is not `1`, and what JSON cannot say is refused.

    >>> content_key("flow", 1, {"lr": 1e-3, "n": 5}, {}, None)
    '8febff0d34a06c8a'
    >>> content_key("flow", 1, {"n": 5.0, "lr": 0.001}, {}, None)
    '8febff0d34a06c8a'
    """
    parts = {"stage": stage, "version": version, "config": config, "inputs": inputs, "data_hash": data_hash}
    text = json.dumps(_canonical(parts, ""), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:KEY_DIGITS]


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Artifact:
    """A finished result: `folder` holds `manifest.json` and the files that it lists."""

    stage: str
    key: str
    folder: Path
    manifest: dict[str, Any] = field(repr=False, compare=False)

    def file(self, name: str) -> Path:
        """Path of a file that the manifest lists, by its name relative to the folder."""
        if name not in self.manifest["files"]:
            listed = ", ".join(sorted(self.manifest["files"])) or "none"
            raise BadInput(f"file '{name}' of artefact {self.stage}/{self.key} was asked for; it has: {listed}")
        return self.folder / name

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Tensors of a safetensors file, on the CPU."""
        from safetensors.torch import load_file  # here, because torch takes seconds to import and looking needs none

        return load_file(self.file(name))

    def array(self, name: str) -> NDArray[Any]:
        """Array of an npy file; one that would need pickle is refused."""
        array: NDArray[Any] = np.load(self.file(name), allow_pickle=False)
        return array

    def verify(self) -> None:
        """Raises `ArtifactCorrupt` unless the key follows from the manifest and every file has the content recorded."""
        key = content_key(self.stage, *(self.manifest[name] for name in ("version", "config", "inputs", "data_hash")))
        if key != self.key:
            raise _corrupt(self.folder, f"{MANIFEST} should give the key {self.key}, and its config gives {key}")
        for name, recorded in self.manifest["files"].items():
            path = self.folder / name
            actual = file_sha256(path) if path.is_file() else "no such file"
            if actual != recorded["sha256"]:
                raise _corrupt(self.folder, f"{name} should have sha256 {recorded['sha256']}; found: {actual}")


class Store:
    """Artefacts below `root`, written and read, and below `pretrained`, only read (None: there are none)."""

    def __init__(self, root: Path, pretrained: Path | None = None) -> None:
        self.root = Path(root)
        self.pretrained = None if pretrained is None else Path(pretrained)
        self._verified: set[tuple[Path, int]] = set()

    def find(self, stage: str, key: str) -> Artifact | None:
        """The artefact, from `root` or else from `pretrained`, or None; its files are hashed once per store."""
        _check_names(stage, key)
        for folder in (base / stage / key for base in self._bases()):
            if folder.is_dir():
                artifact = _read(stage, key, folder)
                seen = (folder, (folder / MANIFEST).stat().st_mtime_ns)
                if seen not in self._verified:
                    artifact.verify()
                    self._verified.add(seen)
                return artifact
        return None

    def require(self, stage: str, key: str, what: str, command: str) -> Artifact:
        """The artefact, or `ArtifactMissing`.

        `what` says who needs what ("stage gp needs a trained 'bnaf' on 'two_moons'"), `command` what to type.
        """
        artifact = self.find(stage, key)
        if artifact is None:
            places = " or ".join(str(base / stage) for base in self._bases())
            raise ArtifactMissing(f"{what} (key {key}), and none is in {places}. Run: {command}")
        return artifact

    def work(self, stage: str, key: str) -> Path:
        """Folder for the checkpoints of an unfinished training; survives a kill, removed when `make` succeeds."""
        folder = self._work(stage, key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def make(
        self, stage: str, key: str, build: Callable[[Path], Mapping[str, Any]], manifest: Mapping[str, Any]
    ) -> Artifact:
        """The artefact: found, or else made by `build(folder)`, which writes its files there and returns its metrics.

        A second process that asks for the same artefact waits, and then finds it; so the processes of one distributed
        training must be started inside `build`, not each call `make`. `manifest` gives version, config, inputs and
        data_hash, from which `key` was computed, and seed and device; anything else in it is recorded too. If `build`
        fails or the process is killed, no artefact appears and the work folder stays.
        """
        _check_names(stage, key)
        record = _check_given(stage, key, manifest)
        parent = self.root / stage
        parent.mkdir(parents=True, exist_ok=True)
        with _locked(parent / f".{key}.lock", f"{stage}/{key}"):
            artifact = self.find(stage, key)
            if artifact is None:
                for stale in parent.glob(f".{key}.tmp-*"):  # of killed processes: a living one would hold the lock
                    shutil.rmtree(stale)
                self._build(parent / key, stage, key, build, record)
                artifact = self.find(stage, key)
                assert artifact is not None
            shutil.rmtree(self._work(stage, key), ignore_errors=True)
        return artifact

    def _build(
        self, final: Path, stage: str, key: str, build: Callable[[Path], Mapping[str, Any]], entries: dict[str, Any]
    ) -> None:
        """Builds in a temporary folder beside `final`, writes the manifest, syncs to disk, renames."""
        folder = final.parent / f".{key}.tmp-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        try:
            record: dict[str, Any] = {"stage": stage, "key": key, **entries}
            record |= {"versions": _versions(), "commit": commit()}  # before the build: the code on disk may change
            record["started"], clock = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
            record["metrics"] = _canonical(build(folder), "metrics", record=True)
            record["duration"] = round(time.monotonic() - clock, 3)
            record["files"] = _files(folder)
            text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (folder / MANIFEST).write_text(text, encoding="utf-8")
            for path in [*folder.rglob("*"), folder]:
                _sync(path)
            folder.rename(final)
            _sync(final.parent)
        except BaseException:  # also an interrupt from the keyboard
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _bases(self) -> list[Path]:
        return [self.root] if self.pretrained is None else [self.root, self.pretrained]

    def _work(self, stage: str, key: str) -> Path:
        _check_names(stage, key)
        return self.root.parent / "work" / stage / key


def _canonical(value: Any, where: str, record: bool = False) -> Any:
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
        return [_canonical(item, f"{where}[{i}]", record) for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        names = ((name.value if isinstance(name, Enum) else name, item) for name, item in value.items())
        return {name: _canonical(item, f"{where}.{name}".lstrip("."), record) for name, item in names}
    raise BadInput(
        f"{where} must be plain JSON (None, bool, number, string, enum, list, dict with string keys); "
        f"found {type(value).__name__}: {str(value)[:80]}. "
        "Convert it first: OmegaConf.to_container(config, resolve=True), tensor.tolist(), str(path)"
    )


def _check_names(stage: str, key: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", stage):
        raise BadInput(f"a stage is named in lower case letters, digits and underscores; found '{stage}'")
    if not re.fullmatch(rf"[0-9a-f]{{{KEY_DIGITS}}}", key):
        raise BadInput(f"a key is {KEY_DIGITS} hexadecimal digits, from content_key(...); found '{key}'")


def _check_given(stage: str, key: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's part of the manifest in canonical form; checked before the build, which may take days."""
    missing, reserved = [n for n in _GIVEN if n not in manifest], [n for n in _MADE if n in manifest]
    if missing or reserved:
        raise BadInput(
            f"the manifest of {stage}/{key} must give {', '.join(_GIVEN)}; missing: {', '.join(missing) or 'none'}; "
            f"filled in by the store, so to be left out: {', '.join(reserved) or 'none'}"
        )
    record: dict[str, Any] = _canonical(manifest, "manifest")
    for where, text in _strings(record, "manifest"):
        if PurePosixPath(text).is_absolute() or PureWindowsPath(text).is_absolute():
            raise BadInput(f"{where} must not be a path on one machine; found '{text}'. Leave paths out of the config")
    expected = content_key(stage, record["version"], record["config"], record["inputs"], record["data_hash"])
    if key != expected:
        raise BadInput(
            f"key {key} of stage {stage} must follow from its manifest, which gives {expected}. Use content_key(...)"
        )
    return record


def _strings(value: Any, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, (list, dict)):
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(item, f"{where}.{name}")


@contextmanager
def _locked(path: Path, what: str) -> Iterator[None]:
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        logger.info("another process is making %s: waiting for it", what)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _read(stage: str, key: str, folder: Path) -> Artifact:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _corrupt(folder, f"{MANIFEST} cannot be read ({error})") from error
    lacking = [n for n in (*_GIVEN, *_MADE) if n not in manifest] if isinstance(manifest, dict) else ["all"]
    if lacking:
        raise _corrupt(folder, f"{MANIFEST} lacks: {', '.join(lacking)}")
    return Artifact(stage, key, folder, manifest)


def _corrupt(folder: Path, problem: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"artefact {folder}: {problem}. Run: rm -r {folder}  and then the same command again")


def _files(folder: Path) -> dict[str, dict[str, Any]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    if MANIFEST in names:
        raise BadInput(f"build wrote {MANIFEST}, which the store writes; return its content as metrics instead")
    return {name: {"sha256": file_sha256(path), "bytes": path.stat().st_size} for name, path in names.items()}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None for one that is not installed."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def commit() -> str | None:
    """Commit of the checkout this code lies in, with "-dirty" if a tracked file differs; None outside of a checkout."""
    checkout = Path(__file__).resolve().parents[1]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # git is absent, or the checkout has no commit yet
        return None
