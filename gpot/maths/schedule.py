"""Factors of a training, the learning rate's above all, as pure functions of the position in it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

WARM_UP = 0.15  # share of a cycle in which the learning rate rises


def cycle(position: float) -> float:
    """Factor of the learning rate at a share of the training: linear to 1 over the first 15 %, then half a cosine to 0.

    >>> cycle(0.0), cycle(0.15), round(cycle(0.575), 3), cycle(1.0)
    (0.0, 1.0, 0.5, 0.0)
    """
    if position <= WARM_UP:
        return position / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (position - WARM_UP) / (1 - WARM_UP))))


def through_points(step: int, points: Mapping[int, float]) -> float:
    """Factor (of a learning rate, of a weight) at a step, from 0: straight lines through {step: factor}, constant
    outside of them.

    >>> [through_points(step, {0: 0.0, 10: 1.0, 20: 0.5}) for step in (4, 9, 14, 99)]
    [0.5, 1.0, 0.75, 0.5]
    """
    return float(np.interp(step + 1, list(points), list(points.values())))


def one_cycle(step: int, steps: int) -> float:
    """`cycle` at a step, from 0, of `steps`."""
    return cycle((step + 1) / max(1, steps))
