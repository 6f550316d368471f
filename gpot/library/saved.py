"""A fitted map as a folder: weights.safetensors and manifest.json, whole or not at all; no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpot.errors import ArtifactCorrupt, BadInput, DataMissing, FlowRefused
from gpot.flows.base import FrozenFlow
from gpot.flows.points import device_of, dtype_of
from gpot.flows.results import name_of
from gpot.maths.costs import Cost, as_cost

WEIGHTS, MANIFEST, FORMAT = "weights.safetensors", "manifest.json", 1
_SAME = 1e-3  # of the size of the codes: the same flow on another machine agrees better, another flow does not

Tensors = Mapping[str, Tensor]


def write(path: str | os.PathLike[str], tensors: Tensors, manifest: Mapping[str, Any]) -> Path:
    """Both files, from a folder beside `path` that takes its place. Raises: BadInput where something else is there."""
    folder = Path(path)
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        save_file({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, partial / WEIGHTS)
        digest = hashlib.sha256((partial / WEIGHTS).read_bytes()).hexdigest()
        whole = {"format": FORMAT, "sha256": {WEIGHTS: digest}, **manifest}
        (partial / MANIFEST).write_text(json.dumps(whole, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.chmod(0o755)
        if folder.exists():
            if not (folder / MANIFEST).is_file():
                raise BadInput(f"'{folder}' is there and is no saved map; give a folder that is not there yet")
            shutil.rmtree(folder)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The manifest and the tensors. Raises: DataMissing, ArtifactCorrupt, and BadInput for a later format."""
    manifest = _manifest(folder)
    try:
        return manifest, load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ArtifactCorrupt(
            f"'{folder / WEIGHTS}' is not a safetensors file ({error}); save the map again"
        ) from error


def described_flow(flow: Any, dim: int, dtype: torch.dtype) -> dict[str, Any]:
    """What a manifest says of the flow, which is not in the folder."""
    return {"name": name_of(flow), "dim": dim, "dtype": str(dtype)}


def check_flow(folder: Path, known: Mapping[str, Any], frozen: FrozenFlow, probes: Tensor, codes: Tensor) -> None:
    """Raises: FlowRefused for a flow of another dimension or dtype than that of the manifest, or that maps the stored
    points (n, d) to other codes (n, d)."""
    if frozen.dim != known["dim"]:
        raise FlowRefused(f"'{folder}' was fitted to a flow of dimension {known['dim']}, and this one has {frozen.dim}")
    here = dtype_of(frozen.flow, probes.dtype)
    if here != probes.dtype:
        raise FlowRefused(f"'{folder}' was fitted to a flow of {known['dtype']}, and this one has {here}; convert it")
    with torch.no_grad():
        codes_now = frozen.transform(probes.to(device_of(frozen.flow))).cpu()
    miss = (codes_now - codes).abs().max().item() / (1.0 + codes.abs().max().item())
    if not miss <= _SAME:
        raise FlowRefused(
            f"'{folder}' was fitted to {known['name']}, and this {name_of(frozen.flow)} maps the {len(probes)} points "
            f"stored with it to codes that differ by {miss:.2g} of their size; give the flow, weights and context that "
            "it was fitted to, or fit anew: gpot.fit(flow)"
        )


def named(prefix: str, tensors: Tensors) -> dict[str, Tensor]:
    """Those whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def cost_name(cost: str | Cost | None) -> str:
    """What a manifest says of a cost; of a function of the user's its name."""
    if cost is None or isinstance(cost, str):
        return cost or "euclidean"
    return getattr(cost, "__name__", type(cost).__name__)


def cost_named(name: str) -> Cost | None:
    """The cost of a manifest; None, the squared distance, where it is a function of the user's."""
    try:
        return as_cost(name)
    except BadInput:
        return None


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file() or not (folder / WEIGHTS).is_file():
        raise DataMissing(
            f"a map was to be read from '{folder}', and {MANIFEST} or {WEIGHTS} is not there; check the path"
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        digest = manifest["sha256"][WEIGHTS]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(f"'{file}' is not the manifest of a map ({error}); save the map again") from error
    if manifest["format"] > FORMAT:
        raise BadInput(
            f"'{folder}' has format {manifest['format']}, and this gpot reads {FORMAT}; install a newer gpot"
        )
    if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != digest:
        raise ArtifactCorrupt(f"'{folder / WEIGHTS}' is not what {MANIFEST} records (sha256); save the map again")
    return cast(dict[str, Any], manifest)
