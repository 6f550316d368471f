"""The learning rate's cycle, as a pure function of the position in a training."""

from __future__ import annotations

import math

WARM_UP = 0.15  # share of a cycle in which the learning rate rises


def cycle(position: float) -> float:
    """Factor of the learning rate at a share of the training: linear to 1 over the first 15 %, then half a cosine to 0.

    >>> cycle(0.0), cycle(0.15), round(cycle(0.575), 3), cycle(1.0)
    (0.0, 1.0, 0.5, 0.0)
    """
    if position <= WARM_UP:
        return position / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (position - WARM_UP) / (1 - WARM_UP))))


def one_cycle(step: int, steps: int) -> float:
    """`cycle` at a step, from 0, of `steps`."""
    return cycle((step + 1) / max(1, steps))
