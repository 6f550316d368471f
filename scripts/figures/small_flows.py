"""A small flow of any table of numbers, in seconds: BNAF on standardized columns, stopped by its validation."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from gpot.flows.bnaf import BNAFFlow
from gpot.maths.schedule import one_cycle
from gpot.maths.transport import gaussian_log_density
from third_party.bnaf import BNAF

CHECK = 25  # steps between looks at the validation


class Standardized(nn.Module):
    """A flow of (x - mean) / scale, as a flow of x."""

    mean: Tensor
    scale: Tensor

    def __init__(self, inner: BNAFFlow, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.dim, self.inner = inner.dim, inner
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.inner((x - self.mean) / self.scale)
        return z, log_det - self.scale.log().sum()

    def transform(self, x: Tensor) -> Tensor:
        return self.inner.transform((x - self.mean) / self.scale)

    def inverse(self, z: Tensor) -> Tensor:
        return self.inner.inverse(z) * self.scale + self.mean


def small_flow(
    train: Tensor, validation: Tensor, width: int = 16, steps: int = 600, lr: float = 5e-3, seed: int = 0
) -> tuple[Standardized, float]:
    """The flow of the best validation, and that validation's -log p in nats; `width` hidden units per column."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dim = train.shape[1]
        flow = Standardized(BNAFFlow(BNAF(dim, width * dim, n_layers=2)), train.mean(0), train.std(0))
        optimizer = torch.optim.Adam(flow.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, steps))
        best, state = float("inf"), copy.deepcopy(flow.state_dict())
        for step in range(steps):
            rows = torch.randint(len(train), (min(512, len(train)),))
            loss = -_log_likelihood(flow, train[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            if (step + 1) % CHECK == 0:
                with torch.no_grad():
                    value = -_log_likelihood(flow, validation).item()
                if value < best:
                    best, state = value, copy.deepcopy(flow.state_dict())
    flow.load_state_dict(state)
    return flow.eval().requires_grad_(False), best


def _log_likelihood(flow: Standardized, x: Tensor) -> Tensor:
    z, log_det = flow(x)
    return (gaussian_log_density(z) + log_det).mean()
