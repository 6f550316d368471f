"""The units of a user's columns, for a flow that was trained on standardized ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpot.data.points import Standardization
from gpot.errors import BadInput
from gpot.flows.points import as_points


@dataclass(frozen=True, eq=False)
class Units:
    r"""x = mean + scale u, column by column: x in the units of the data, u what the flow was trained on.

    A move of u to s is one of x to mean + scale s, towards the Gaussian of the data's own means and scales. names: of
    the columns, or None.
    """

    standardization: Standardization
    names: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        dim = len(self.standardization.mean)
        if self.names is not None and len(self.names) != dim:
            raise BadInput(f"the points have {dim} columns, and {len(self.names)} names were given; one for each")

    @classmethod
    def of(cls, x: Any, names: Sequence[str] | None = None) -> Units:
        """Mean and standard deviation of the columns of x (n, d), in float64 before any other conversion."""
        points = as_points(x, torch.float64, torch.device("cpu"))
        return cls(Standardization.of(points.numpy()), None if names is None else tuple(map(str, names)))

    @property
    def log_det(self) -> float:
        """log|det du/dx|."""
        return self.standardization.log_det

    def enter(self, x: Any, like: Tensor) -> Tensor:
        """u of x (n, d), subtracted in float64, in the dtype and on the device of `like`; it keeps a graph."""
        points = x.double() if isinstance(x, Tensor) else as_points(x, torch.float64, like.device)
        mean, scale = (torch.as_tensor(part, device=points.device) for part in self._parts())
        return ((points - mean) / scale).to(like)

    def leave(self, u: Tensor) -> Tensor:
        """x of u (n, d), in float64: a column far from 0 keeps its digits."""
        mean, scale = (torch.as_tensor(part, device=u.device) for part in self._parts())
        return u.double() * scale + mean

    def described(self) -> dict[str, Any]:
        """What `rebuilt` needs, as plain values; float64 is written exactly."""
        mean, scale = (part.tolist() for part in self._parts())
        return {"mean": mean, "scale": scale, "names": None if self.names is None else list(self.names)}

    @classmethod
    def rebuilt(cls, description: dict[str, Any]) -> Units:
        """The units of a description."""
        mean, scale = (torch.tensor(description[part], dtype=torch.float64).numpy() for part in ("mean", "scale"))
        names = description["names"]
        return cls(Standardization(mean, scale), None if names is None else tuple(names))

    def _parts(self) -> tuple[Any, Any]:
        return self.standardization.mean, self.standardization.scale


def names_of(x: Any) -> tuple[str, ...] | None:
    """The names of the columns of a table, where it has any."""
    columns = getattr(x, "columns", None)
    return None if columns is None else tuple(map(str, columns))
