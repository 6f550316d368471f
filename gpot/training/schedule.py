"""Schedules as pure functions of the step or the epoch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gpot.config.choices import Schedule
from gpot.config.schema import OptimizerConfig
from gpot.maths.schedule import one_cycle, through_points


def penalty_weight(initial: float, halvings: int, epoch: int, epochs: int) -> float:
    r"""lambda at an epoch: :math:`\lambda_0 / 2^{\lfloor e (K + 1) / E \rfloor}`, K halvings in E epochs (appendix C).

    K + 1 plateaus of equal length; the last is :math:`\lambda_0 / 2^K`.

    >>> [penalty_weight(8.0, 3, epoch, 4) for epoch in range(4)]
    [8.0, 4.0, 2.0, 1.0]
    """
    return initial / 2 ** min(halvings, epoch * (halvings + 1) // epochs)


def adam(parameters: list[Tensor], config: OptimizerConfig, steps: int) -> dict[str, object]:
    """Adam and its learning-rate schedule in the form that Lightning's `configure_optimizers` returns."""
    return scheduled(torch.optim.Adam(parameters, lr=config.lr, weight_decay=config.weight_decay), config, steps)


def scheduled(optimizer: torch.optim.Optimizer, config: OptimizerConfig, steps: int) -> dict[str, object]:
    """An optimizer and the learning-rate schedule of `config`, in the form of :func:`adam`."""
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(config, steps))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def rate_factor(config: OptimizerConfig, steps: int) -> Callable[[int], float]:
    """Step -> the factor of the learning rate in a training of so many steps."""
    points = config.points
    factors: dict[Schedule, Callable[[int], float]] = {
        Schedule.constant: lambda step: 1.0,
        Schedule.one_cycle: lambda step: one_cycle(step, steps),
        Schedule.points: lambda step: through_points(step, points),
    }
    return factors[config.schedule]
