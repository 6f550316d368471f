"""The Monge map s o f: a frozen flow followed by a Gaussian-preserving one, and its inverse (section 5)."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig, FlowRefused, GpotWarning
from gpot.flows.adapters import adapt
from gpot.flows.base import FrozenFlow
from gpot.flows.weights import without_wrapper
from gpot.gp.base import GaussianPreserving

LARGEST_LOSS = 0.01  # share of draws outside the image of f above which `sample` refuses


class MongeMap(nn.Module):
    """x -> s(f(x)): the density of f at a smaller transport cost. It is itself a flow (`forward`, `inverse`, `dim`).

    Results may be differentiated in x. Points are tensors (n, d) of the dtype of f; NumPy arrays are converted to it.

    Arguments:
        flow: f, of gpot or of another library (see :func:`gpot.flows.adapt`); it is frozen in place, and looked at on a
            few rows first (:mod:`gpot.flows.handshake`).
        gp: s.
    """

    flow: FrozenFlow
    gp: GaussianPreserving

    def __init__(self, flow: Any, gp: GaussianPreserving) -> None:
        super().__init__()
        frozen = flow if isinstance(flow, FrozenFlow) else FrozenFlow(adapt(flow, dim=gp.dim), graph=True)
        if frozen.dim != gp.dim:
            raise BadConfig(f"f has the dimension {frozen.dim}, and s has {gp.dim}; build s with dim={frozen.dim}")
        self.dim = gp.dim
        self.flow = frozen
        self.gp = gp
        self.register_load_state_dict_pre_hook(without_wrapper)
        self._speak_of_orientation()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s(f(x)) (n, d), and log|det df/dx| + (|s|^2 - |f(x)|^2) / 2 (n,): eq. (1) with eq. (3)."""
        z, log_det_f = self.flow(x)
        s, log_det_s = self.gp(z)
        return s, log_det_f + log_det_s

    def transport(self, x: Tensor) -> Tensor:
        """s(f(x)) alone (n, d); skips the log-determinant of f where f can (it has `transform`)."""
        return self.gp.transport(self.flow.transform(x))

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """f^-1(s^-1(s)) (n, d); `refine` corrections of s^-1. Raises InverseNotAvailable where f has no inverse."""
        return self.flow.inverse(self.gp.inverse(s, refine))

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n draws of the model (n, d): the inverse of N(0, I), in the dtype and on the device of s.

        A flow that is not onto has no x for some draws; these are drawn again, and counted in a warning, while they are
        at most `LARGEST_LOSS` of all. Above that FlowRefused says how many.
        """
        like = self.gp.rotation

        def draw(count: int) -> Tensor:
            z = torch.randn(count, self.dim, dtype=like.dtype, device=like.device, generator=generator)
            return self.inverse(z)

        x = draw(n)
        lost = int((~x.isfinite().all(1)).sum())
        if lost > max(1.0, LARGEST_LOSS * n):
            raise FlowRefused(
                f"{n} samples were asked for, and {lost} Gaussian draws ({lost / n:.0%}) have no x under f^-1: f is "
                "far from onto, so the codes of its data are not Gaussian; train f for longer, or sample from the data"
            )
        if lost:
            warnings.warn(f"{lost} of {n} draws lay outside the image of f and were drawn again", GpotWarning, 2)
        while (gone := ~x.isfinite().all(1)).any():
            x[gone] = draw(int(gone.sum()))
        return x

    def _speak_of_orientation(self) -> None:
        meeting = self.flow.meeting
        turned = torch.linalg.det(self.gp.rotation.double()).sign().item()
        if meeting is not None and meeting.orientation * turned < 0:
            which = "f" if meeting.orientation < 0 else "the rotation of s"
            warnings.warn(
                f"{which} reverses orientation, and a Monge map does not: no training of s undoes that. "
                f"Type fit_rotation(x, z, allow_reflection={meeting.orientation < 0})",
                GpotWarning,
                3,
            )
