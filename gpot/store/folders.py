"""Folders of artefacts: found by their keys; built under a lock in a temporary folder, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from gpot.errors import ArtifactMissing
from gpot.store.artifact import Artifact, read
from gpot.store.keys import canonical, check_names, file_sha256
from gpot.store.locks import Locks
from gpot.store.manifest import MANIFEST, MANIFEST_HASH, check_given, commit, hashes, versions


class Store:
    """Artefacts below `root`, written and read, and below `pretrained`, only read (None: there are none)."""

    def __init__(self, root: Path, pretrained: Path | None = None) -> None:
        self.root = Path(root)
        self.pretrained = None if pretrained is None else Path(pretrained)
        self._verified: set[tuple[Path, int]] = set()
        self._locks = Locks(self.root)

    def find(self, stage: str, key: str) -> Artifact | None:
        """The artefact, from `root` or else from `pretrained`, or None; its files are hashed once per store."""
        check_names(stage, key)
        for folder in (base / stage / key for base in self._bases()):
            if folder.is_dir():
                artifact = read(stage, key, folder)
                state = (folder, (folder / MANIFEST).stat().st_mtime_ns)
                if state not in self._verified:
                    artifact.verify()
                    self._verified.add(state)
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

    def forget_work(self, artifact: Artifact) -> None:
        """Remove the checkpoints of an artefact of this store that is done: a kill just after it was leaves them."""
        if artifact.folder.parent.parent == self.root:
            shutil.rmtree(self._work(artifact.stage, artifact.key), ignore_errors=True)

    def make(
        self, stage: str, key: str, build: Callable[[Path], Mapping[str, Any]], manifest: Mapping[str, Any]
    ) -> Artifact:
        """The artefact: found, or else made by `build(folder)`, which writes its files there and returns its metrics.

        A second process that asks for the same artefact waits, and then finds it; so the processes of one distributed
        training must be started inside `build`, not each call `make`. `manifest` gives version, config, inputs and
        data_hash, from which `key` was computed, and seed and device; anything else in it is recorded too. If `build`
        fails or the process is killed, no artefact appears and the work folder stays.
        """
        check_names(stage, key)
        record = check_given(stage, key, manifest)
        parent = self.root / stage
        parent.mkdir(parents=True, exist_ok=True)
        with self._locks.of(parent, key, f"{stage}/{key}"):
            artifact = self.find(stage, key)
            if artifact is None:
                for stale in parent.glob(f".{key}.tmp-*"):  # of killed processes: a living one would hold the lock
                    shutil.rmtree(stale)
                self._build(parent / key, stage, key, build, record)
                artifact = self.find(stage, key)
                assert artifact is not None
            self.forget_work(artifact)
        return artifact

    def _build(
        self, final: Path, stage: str, key: str, build: Callable[[Path], Mapping[str, Any]], entries: dict[str, Any]
    ) -> None:
        """Builds in a temporary folder beside `final`, writes the manifest, syncs to disk, renames."""
        folder = final.parent / f".{key}.tmp-{uuid.uuid4().hex[:8]}"
        folder.mkdir()
        try:
            record: dict[str, Any] = {"stage": stage, "key": key, **entries}
            record |= {"versions": versions(), "commit": commit()}  # before the build: the code on disk may change
            record["started"], clock = datetime.now(timezone.utc).isoformat(timespec="seconds"), time.monotonic()
            record["metrics"] = canonical(build(folder), "metrics", record=True)
            record["duration"] = round(time.monotonic() - clock, 3)
            record["files"] = hashes(folder)
            text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
            (folder / MANIFEST).write_text(text, encoding="utf-8")
            (folder / MANIFEST_HASH).write_text(file_sha256(folder / MANIFEST) + "\n", encoding="ascii")
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
        check_names(stage, key)
        return self.root.parent / "work" / stage / key


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
