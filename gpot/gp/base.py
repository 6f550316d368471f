"""What every Gaussian-preserving map is to the rest of gpot: the flow of an ODE, or a chain of couplings."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.flows.weights import WRAPPERS
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
        self.register_load_state_dict_pre_hook(_without_wrapper)
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

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """s(z) (n, d) and the analytic log|det ds/dz| = (|s|^2 - |z|^2) / 2 (n,), eq. (3)."""
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
        return self.exact_log_det(z, chunk) - analytic_log_det(self.transport(z), z)


def analytic_log_det(s: Tensor, z: Tensor) -> Tensor:
    """(|s|^2 - |z|^2) / 2 (n,): what log|det ds/dz| is of a map that preserves the Gaussian (eq. 3)."""
    return 0.5 * ((s**2).sum(-1) - (z**2).sum(-1))


def _without_wrapper(_gp: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    """Before a state dict is loaded: the names of a wrapped s are those of s."""
    for wrapper in WRAPPERS:
        if not prefix and state and all(name.startswith(wrapper) for name in state):
            for name in list(state):
                state[name.removeprefix(wrapper)] = state.pop(name)


def _check_state(gp: GaussianPreserving, _keys: Any) -> None:
    """After a state dict was loaded: Q is still orthogonal."""
    check_orthogonal(gp.rotation)
