"""What the rows of a result are: the maps from data to codes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.config.choices import PenaltyKind
from gpot.config.schema import Config, SpectralConfig
from gpot.flows.base import FrozenFlow
from gpot.gp.base import GaussianPreserving
from gpot.paper.rows import Row
from gpot.progress import track

CHUNK = 4096  # points at a time


_ROW_OF_PENALTY = {PenaltyKind.none: Row.gp, PenaltyKind.euler: Row.gp_euler, PenaltyKind.kinetic: Row.gp_kinetic}


def gp_row(config: Config) -> Row:
    """The row of the config's own GP flow."""
    if isinstance(config.gp.family, SpectralConfig):
        return Row.gp_spectral
    return _ROW_OF_PENALTY[config.penalty.acting]


@dataclass(frozen=True)
class Chain:
    """The maps of a row: the frozen flow f, and s after it, either of which may be absent."""

    flow: FrozenFlow | None
    gp: GaussianPreserving | None

    def codes(self, x: Tensor, what: str) -> Tensor:
        """s(f(x)), or as much of it as there is: (n, d) float32 on the CPU."""
        if self.flow is None:
            return x
        device = next(self.flow.parameters()).device
        parts = []
        chunks = x.split(CHUNK)
        with torch.no_grad():
            for chunk in track(chunks, len(chunks), what):
                z = self.flow.transform(chunk.to(device))
                parts.append((z if self.gp is None else self.gp.transport(z)).cpu())
        return torch.cat(parts)

    def inverse(self, s: Tensor) -> Tensor:
        """f^-1(s^-1(s)), (n, d)."""
        assert self.flow is not None
        return self.flow.inverse(s if self.gp is None else self.gp.inverse(s))
