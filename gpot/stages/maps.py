"""What the rows of a result are: Monge maps s o f from data to codes, with an identity where f or s is absent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpot.config.schema import Config, FlowConfig, GpConfig
from gpot.flows.base import FrozenFlow
from gpot.flows.identity import IdentityFlow
from gpot.gp.base import GaussianPreserving
from gpot.gp.monge import MongeMap
from gpot.gp.orthogonal import Rotation
from gpot.paper.rows import Row
from gpot.progress import track
from gpot.stages.flow import load_flow
from gpot.stages.gp import load_gp
from gpot.stages.rotation import load_rotation
from gpot.stages.stage import Stage
from gpot.store import Artifact
from gpot.training import families

CHUNK = 4096  # points at a time
_MOVED_AT_ONCE = 512  # by a GP flow, whose tangents are then in the cache


@dataclass(frozen=True)
class RowParts:
    """What a row's map is made of, and what its values depend on besides, for keys."""

    row: Row
    stages: tuple[Stage, ...]
    settings: Mapping[str, Any]

    @classmethod
    def of(cls, row: Row, stages: tuple[Stage, ...], flow: FlowConfig, gp: GpConfig) -> RowParts:
        """Arguments: stages: the points or codes first, then flow, rotation or GP flow."""
        settings: dict[str, Any] = {"row": row.value}
        if row is not Row.latent:
            settings["flow"] = families.evaluation_settings(flow)
        if row is Row.rotation:
            settings["gp"] = {"chart": gp.chart.value, "rotation": gp.rotation.value}
        return cls(row, stages, settings)


def map_of(config: Config, results: Mapping[str, Artifact]) -> MongeMap:
    """The map of a row, from the results of its stages by their names."""
    dim, device = config.dataset.dim, config.device.first
    flow = load_flow(config, results["flow"]) if "flow" in results else FrozenFlow(IdentityFlow(dim))
    gp: GaussianPreserving = Rotation(dim)
    if "rotation" in results:
        gp = load_rotation(results["rotation"])
    elif "gp" in results:
        gp = load_gp(config.gp, dim, results["gp"])
    return MongeMap(flow, gp.to(device))


def codes_of(monge: MongeMap, x: Tensor, what: str) -> Tensor:
    """s(f(x)) (n, d), on the CPU. what: for the progress bar."""
    return in_chunks(monge.transport, x, monge.gp.rotation.device, what)


def moved_by(gp: GaussianPreserving, z: Tensor, what: str = "moving what the flow mapped") -> Tensor:
    """s(z) (n, d), on the CPU. what: for the progress bar."""
    return in_chunks(gp.transport, z, gp.rotation.device, what, _MOVED_AT_ONCE)


def in_chunks(
    function: Callable[[Tensor], Tensor], x: Tensor, device: torch.device, what: str, size: int = CHUNK
) -> Tensor:
    """A function of points x (n, d), `size` of them at a time on a device; the result on the CPU."""
    chunks = x.split(size)
    with torch.no_grad():
        return torch.cat([function(chunk.to(device)).cpu() for chunk in track(chunks, len(chunks), what)])
