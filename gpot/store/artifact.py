"""An artefact: a folder of files and the manifest that lists them, with their hashes."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gpot.errors import ArtifactCorrupt, BadInput
from gpot.store.keys import content_key, file_sha256
from gpot.store.manifest import BY_CALLER, BY_STORE, MANIFEST, MANIFEST_HASH

if TYPE_CHECKING:
    from torch import Tensor


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an .npy file by way of Python, which raises where a disk is full: NumPy's own writer loses an error of its
    last flush, and leaves a file that is too short."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    path.write_bytes(buffer.getbuffer())


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

    @property
    def parents(self) -> list[tuple[str, str]]:
        """Stage and key of all that it was made from; of an input that it read partly, and that need not be there, also
        what that is made from."""
        inputs = [self.manifest["inputs"], *self.manifest.get("through", {}).values()]
        return [pair for keys in inputs for pair in keys.items()]

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
            raise corrupt(self.folder, f"{MANIFEST} should give the key {self.key}, and its config gives {key}")
        for name, recorded in self.manifest["files"].items():
            path = self.folder / name
            actual = file_sha256(path) if path.is_file() else "no such file"
            if actual != recorded["sha256"]:
                raise corrupt(self.folder, f"{name} should have sha256 {recorded['sha256']}; found: {actual}")


def read(stage: str, key: str, folder: Path) -> Artifact:
    try:
        content = (folder / MANIFEST).read_bytes()
        manifest = json.loads(content.decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise corrupt(folder, f"{MANIFEST} cannot be read ({error})") from error
    recorded = folder / MANIFEST_HASH
    if recorded.is_file() and recorded.read_bytes() != f"{hashlib.sha256(content).hexdigest()}\n".encode("ascii"):
        raise corrupt(folder, f"{MANIFEST} does not have the sha256 that {MANIFEST_HASH} records")
    lacking = [n for n in (*BY_CALLER, *BY_STORE) if n not in manifest] if isinstance(manifest, dict) else ["all"]
    if lacking:
        raise corrupt(folder, f"{MANIFEST} lacks: {', '.join(lacking)}")
    return Artifact(stage, key, folder, manifest)


def corrupt(folder: Path, problem: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"artefact {folder}: {problem}. Run: rm -r {folder}  and then the same command again")
