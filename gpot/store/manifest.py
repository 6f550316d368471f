"""The record that lies beside the files of an artefact: what the caller gives, and what the store adds."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from gpot.errors import BadInput
from gpot.store.keys import canonical, content_key, file_sha256

MANIFEST = "manifest.json"
MANIFEST_HASH = "manifest.sha256"
RECORDED_PACKAGES = ("torch", "lightning", "numpy", "gpot")
BY_CALLER = ("version", "config", "inputs", "data_hash", "seed", "device")  # by the caller of Store.make
BY_STORE = ("stage", "key", "versions", "commit", "started", "duration", "metrics", "files")  # by Store.make


def check_given(stage: str, key: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's part of the manifest in canonical form; checked before the build, which may take days."""
    missing, reserved = [n for n in BY_CALLER if n not in manifest], [n for n in BY_STORE if n in manifest]
    if missing or reserved:
        raise BadInput(
            f"the manifest of {stage}/{key} must give {', '.join(BY_CALLER)}; missing: {', '.join(missing) or 'none'}; "
            f"filled in by the store, so to be left out: {', '.join(reserved) or 'none'}"
        )
    record: dict[str, Any] = canonical(manifest, "manifest")
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


def hashes(folder: Path) -> dict[str, dict[str, Any]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    if taken := {MANIFEST, MANIFEST_HASH} & names.keys():
        raise BadInput(
            f"build wrote {', '.join(sorted(taken))}, which the store writes; return its content as metrics instead"
        )
    return {name: {"sha256": file_sha256(path), "bytes": path.stat().st_size} for name, path in names.items()}


def versions() -> dict[str, str | None]:
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
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):  # git is absent, or the checkout has no commit yet
        return None
