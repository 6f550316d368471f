"""Optimizers of Gaussian-preserving maps, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn

from gpot.errors import BadConfig
from gpot.gp.twist import TwistFlow
from gpot.maths.orthogonalize import orthogonal_factor

_MOMENTUM = 0.95
_RMS = 0.2  # root mean square of a step, times lr: that of Adam's steps, so that one lr serves both


class Descent(str, Enum):
    """How the parameters of a map move."""

    adam = "adam"
    """Every number by itself."""
    muon = "muon"
    """Weight matrices by the orthogonal factor of their momentum, the other parameters by Adam."""


class Muon(torch.optim.Optimizer):
    r"""Momentum whose orthogonal factor is the step of a matrix (jordan2024muon); Adam for what is no matrix.

    .. math:: M \leftarrow \mu M + G, \qquad W \leftarrow W - 0.2\, \mathrm{lr} \sqrt{\max(m, n)}\; UV^\top(G + \mu M)

    Arguments:
        matrices: parameters (..., m, n), each m x n a matrix of its own.
        others: what Adam moves.
        lr: of both.
        weight_decay: times the parameter, a part of every gradient, as in torch's Adam.
    """

    def __init__(
        self, matrices: Sequence[Tensor], others: Sequence[Tensor], lr: float, weight_decay: float = 0.0
    ) -> None:
        groups = [{"params": list(matrices), "matrices": True}, {"params": list(others), "matrices": False}]
        super().__init__([group for group in groups if group["params"]], {"lr": lr, "weight_decay": weight_decay})
        self._adam = torch.optim.Adam(others, lr=lr, weight_decay=weight_decay) if others else None

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if not group["matrices"]:
                assert self._adam is not None
                self._adam.param_groups[0]["lr"] = group["lr"]
                self._adam.step()
                continue
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                gradient = weight.grad.add(weight, alpha=group["weight_decay"])
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.mul_(_MOMENTUM).add_(gradient)
                step = orthogonal_factor(gradient + _MOMENTUM * momentum)
                weight.sub_(step, alpha=_RMS * group["lr"] * max(weight.shape[-2:]) ** 0.5)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """With the state of the inner Adam."""
        return super().state_dict() | {"adam": None if self._adam is None else self._adam.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Of `state_dict`."""
        inner = state_dict["adam"]
        super().load_state_dict({key: value for key, value in state_dict.items() if key != "adam"})
        if self._adam is not None:
            self._adam.load_state_dict(inner)


def known_descent(name: Descent | str) -> Descent:
    """The optimizer of a name.  Raises: BadConfig for another one."""
    try:
        return Descent(name)
    except ValueError:
        listed = ", ".join(repr(choice.value) for choice in Descent)
        raise BadConfig(f"an optimizer of a map is one of {listed}, and got {name!r}") from None


def optimizer_of(gp: nn.Module, descent: Descent | str, lr: float, weight_decay: float = 0.0) -> torch.optim.Optimizer:
    """The optimizer of a map. Of twists the matrices of all layers are stacked, and so are their bias vectors."""
    parameters = list(gp.parameters())
    if known_descent(descent) is Descent.adam:
        return torch.optim.Adam(parameters, lr=lr, weight_decay=weight_decay)
    is_matrix = 3 if isinstance(gp, TwistFlow) else 2
    matrices, others = ([p for p in parameters if (p.ndim == is_matrix) is wanted] for wanted in (True, False))
    return Muon(matrices, others, lr, weight_decay)
