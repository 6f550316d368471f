"""How long a training takes on this machine: its first steps, timed."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightning as L
import torch
from torch import Tensor

from gpot.config.choices import Precision

LONG = 3600.0  # seconds on a CPU, from which on a training says what would be faster
TIMED_STEPS = 3


def n_steps(epochs: int, n: int, batch_size: int) -> int:
    """Optimizer steps of that many passes over n rows; incomplete last batches are left out.

    >>> n_steps(2, 1050, 100)
    20
    """
    return epochs * (n // min(batch_size, n))


@dataclass(frozen=True)
class Pace:
    """Optimizer steps of a whole training, and seconds that one takes."""

    steps: int
    seconds: float

    @property
    def total(self) -> float:
        """Seconds of the whole training; validations come on top."""
        return self.steps * self.seconds


def pace(
    module: L.LightningModule,
    batches: Sequence[tuple[Tensor, ...]],
    steps: int,
    precision: Precision = Precision.float32,
    device: torch.device | None = None,
) -> Pace:
    """Time forward and backward passes of a copy of `module` on `batches`; the first of them warms up.

    Nothing of the training changes: no weight, and no random number. steps: of the whole training.
    """
    device = torch.device("cpu") if device is None else device
    trial = copy.deepcopy(module).to(device)
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the copy has no trainer to log to
        start = _now(device)
        for number, batch in enumerate(batches):
            if number == 1:
                start = _now(device)
            with torch.autocast(device.type, torch.bfloat16, enabled=precision is Precision.bfloat16):
                loss: Any = trial.training_step(tuple(tensor.to(device) for tensor in batch), number)
            loss.backward()
        seconds = _now(device) - start
    return Pace(steps, seconds / max(1, len(batches) - 1))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
