"""What every Gaussian-preserving map is to the rest of gpot: the flow of an ODE, or a chain of couplings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig, BadInput
from gpot.flows.points import as_points
from gpot.flows.weights import without_wrapper
from gpot.gp.rotation import check_orthogonal

if TYPE_CHECKING:
    from gpot.gp.flow import GaussianPreservingFlow


class GaussianPreserving(nn.Module, ABC):
    """s: z -> z with s#N(0, I) = N(0, I), a rotation Q before all else. z and s of shape (n, d).

    `n_steps` is the number of time steps, None for a map that has no time. The buffer `rotation` is in the state dict,
    and is checked when one is loaded.
    """

    rotation: Tensor
    n_steps: int | None

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("rotation", torch.eye(dim))
        self.register_load_state_dict_pre_hook(without_wrapper)
        self.register_load_state_dict_post_hook(_check_state)

    @property
    def flow_in_time(self) -> GaussianPreservingFlow | None:
        """Itself where it is the end of a flow in time, with velocities, a path and an energy; None elsewhere."""
        return None

    def counting(self) -> GaussianPreserving:
        """This map, which from now on counts particles that leave its domain, where it raised before."""
        return self

    @abstractmethod
    def transport(self, z: Tensor) -> Tensor:
        """s(z) alone: shape (n, d)."""

    @abstractmethod
    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """z with s(z) = s; `refine` corrections, where the inverse is not exact."""

    @abstractmethod
    def exact_log_det(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """log|det ds/dz| by automatic differentiation, `chunk` rows at a time: (n,), no graph."""

    def points(self, z: Any) -> Tensor:
        """z as points (n, d) of the dtype and on the device of s: a tensor that has them, or an array, converted."""
        like = self.rotation
        if not isinstance(z, Tensor):
            z = as_points(z, like.dtype, like.device)
        if z.ndim != 2 or z.shape[1] != self.dim:
            raise BadInput(
                f"a Gaussian-preserving flow of dimension {self.dim} needs points of shape (n, {self.dim}), and got "
                f"{tuple(z.shape)}; give one particle per row"
            )
        if z.dtype != like.dtype:
            keep = f", or .to({z.dtype}) of the flow to keep their digits" if z.is_floating_point() else ""
            raise BadInput(f"s computes in {like.dtype}, and got points of {z.dtype}; type z.to({like.dtype}){keep}")
        if z.device != like.device:
            raise BadInput(f"s is on {like.device}, and got points on {z.device}; type z.to('{like.device}')")
        return z

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """s(z) (n, d) and the analytic log|det ds/dz| = (|s|^2 - |z|^2) / 2 (n,), eq. (3)."""
        z = self.points(z)
        s = self.transport(z)
        return s, analytic_log_det(s, z)

    def set_rotation(self, rotation: Tensor) -> None:
        """Put Q (d, d) before the flow; it must be orthogonal."""
        if rotation.shape != (self.dim, self.dim):
            raise BadConfig(
                f"the rotation of a flow of dimension {self.dim} has the shape ({self.dim}, {self.dim}), and got "
                f"{tuple(rotation.shape)}; fit it with fit_rotation(x, z) on points of that dimension"
            )
        self.rotation = check_orthogonal(rotation.detach().to(self.rotation, copy=True))

    @torch.no_grad()
    def escaped(self, z: Tensor) -> int:
        """Rows of z whose image is not finite."""
        return int((~self.transport(z).isfinite().all(dim=1)).sum())

    @torch.no_grad()
    def log_det_error(self, z: Tensor, chunk: int = 1024) -> Tensor:
        """Exact log|det ds/dz| of the map as computed minus the analytic value: nats, shape (n,), no graph.

        Departure: neither the paper nor its code measures it; their likelihood after s equals that before it by
        construction.
        """
        z = self.points(z)
        return self.exact_log_det(z, chunk) - analytic_log_det(self.transport(z), z)


def analytic_log_det(s: Tensor, z: Tensor) -> Tensor:
    """(|s|^2 - |z|^2) / 2 (n,): what log|det ds/dz| is of a map that preserves the Gaussian (eq. 3)."""
    return 0.5 * ((s**2).sum(-1) - (z**2).sum(-1))


def _check_state(gp: GaussianPreserving, _keys: Any) -> None:
    """After a state dict was loaded: Q is still orthogonal."""
    check_orthogonal(gp.rotation)
