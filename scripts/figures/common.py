"""Shared by the figures of the documentation: the released flows of the plane, and where results go."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from gpot.config import compose
from gpot.flows.base import FrozenFlow
from gpot.gp.base import GaussianPreserving
from gpot.stages.flow import flow_stage, load_flow
from gpot.store import Store

ROOT = Path(__file__).resolve().parents[2]
DOCS, OUT = ROOT / "docs", ROOT / "outputs" / "figures"


def released_flow(dataset: str) -> FrozenFlow:
    """The BNAF of a 2-D density, as released in `pretrained/`."""
    config = compose("train_gp", [f"dataset={dataset}", "flow=bnaf"])
    stage = flow_stage(config)
    store = Store(Path(config.paths.artifacts), ROOT / "pretrained")
    return load_flow(
        config, store.require("flow", stage.key, "a figure needs a released flow", "git restore pretrained")
    )


def keep(name: str, gp: GaussianPreserving, numbers: Mapping[str, Any], **arrays: Tensor) -> None:
    """`outputs/figures/<name>.safetensors`, `.npz` and `.json`: drawing later needs no training."""
    OUT.mkdir(parents=True, exist_ok=True)
    save_file({key: value.contiguous() for key, value in gp.state_dict().items()}, OUT / f"{name}.safetensors")
    np.savez_compressed(OUT / f"{name}.npz", **{key: value.detach().numpy() for key, value in arrays.items()})
    (OUT / f"{name}.json").write_text(json.dumps(numbers, indent=2) + "\n")


def kept(name: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What `keep` wrote, numbers and arrays; None where it did not yet."""
    if not (OUT / f"{name}.json").is_file():
        return None
    with np.load(OUT / f"{name}.npz") as arrays:
        return json.loads((OUT / f"{name}.json").read_text()), dict(arrays)
