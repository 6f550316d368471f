"""The Monge map s o f: a frozen flow followed by a Gaussian-preserving one, and its inverse (section 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.gp.base import GaussianPreserving

if TYPE_CHECKING:
    from gpot.flows.base import Flow


class MongeMap(nn.Module):
    """x -> s(f(x)): the density of f at a smaller transport cost. It is itself a flow (`forward`, `inverse`, `dim`)."""

    def __init__(self, flow: Flow, gp: GaussianPreserving) -> None:
        super().__init__()
        if flow.dim != gp.dim:
            raise BadConfig(f"f has the dimension {flow.dim}, and s has {gp.dim}; build s with dim={flow.dim}")
        self.dim = gp.dim
        self.flow = cast(nn.Module, flow)
        self.gp = gp

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s(f(x)) (n, d), and log|det df/dx| + (|s|^2 - |f(x)|^2) / 2 (n,): eq. (1) with eq. (3)."""
        z, log_det_f = self.flow(x)
        s, log_det_s = self.gp(z)
        return s, log_det_f + log_det_s

    def transport(self, x: Tensor) -> Tensor:
        """s(f(x)) alone (n, d); skips the log-determinant of f where f can (it has `transform`)."""
        transform = getattr(self.flow, "transform", None)
        z = self.flow(x)[0] if transform is None else transform(x)
        return self.gp.transport(z)

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """f^-1(s^-1(s)) (n, d); `refine` corrections of s^-1. Raises InverseNotAvailable where f has no inverse."""
        return cast("Flow", self.flow).inverse(self.gp.inverse(s, refine))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws of the model (n, d): the inverse of N(0, I), in the dtype and on the device of s."""
        like = self.gp.rotation
        return self.inverse(torch.randn(n, self.dim, dtype=like.dtype, device=like.device, generator=generator))
