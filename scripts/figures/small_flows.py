"""A small flow of any table of numbers, in seconds: BNAF on standardized columns. Its width and where it stops are
chosen by the validation."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gpot.flows.bnaf import BNAFFlow
from gpot.maths.schedule import one_cycle
from gpot.maths.transport import gaussian_log_density
from third_party.bnaf import BNAF

CHECK = 25  # steps between looks at the validation
MEMORY = 0.998  # of the mean of the weights: some 500 steps


class Standardized(nn.Module):
    """A flow of (x - mean) / scale, as a flow of x, its codes divided by a temperature: of a few rows a flow learns
    more than they tell, and codes of other rows lie further out than N(0, I) has them."""

    mean: Tensor
    scale: Tensor
    temperature: Tensor

    def __init__(self, inner: BNAFFlow, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.dim, self.inner = inner.dim, inner
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, log_det = self.inner((x - self.mean) / self.scale)
        return z / self.temperature, log_det - self.scale.log().sum() - self.dim * self.temperature.log()

    def transform(self, x: Tensor) -> Tensor:
        return self.inner.transform((x - self.mean) / self.scale) / self.temperature

    def inverse(self, z: Tensor) -> Tensor:
        return self.inner.inverse(z * self.temperature) * self.scale + self.mean

    @torch.no_grad()
    def temper(self, x: Tensor) -> None:
        """The temperature T >= 1 with which x (n, d), that no step has seen, is the likeliest: T^2 = E|z|^2 / d, or 1.
        A few rows that happen to lie near the centre are no reason to draw all in."""
        z = self.inner.transform((x - self.mean) / self.scale)
        self.temperature = ((z**2).sum(1).mean() / self.dim).sqrt().clamp(min=1.0)


@dataclass(frozen=True)
class SmallFlow:
    """A flow, its hidden units per column, and the -log p of its validation, nats."""

    flow: Standardized
    width: int
    validation: float


def small_flow(
    train: Tensor, validation: Tensor, widths: Sequence[int] = (4, 24), steps: int = 2500, lr: float = 1e-2,
    seed: int = 0,
) -> SmallFlow:  # fmt: skip
    """The best of all widths and of all looks at the validation. A look is at the mean of the weights over the last
    steps: that of one step has noise of the learning rate, which a density shows."""
    return min((_one_width(train, validation, w, steps, lr, seed) for w in widths), key=lambda found: found.validation)


def _one_width(train: Tensor, validation: Tensor, width: int, steps: int, lr: float, seed: int) -> SmallFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        dim = train.shape[1]
        flow = Standardized(BNAFFlow(BNAF(dim, width * dim, n_layers=1)), train.mean(0), train.std(0))
        mean = copy.deepcopy(flow)
        optimizer = torch.optim.Adam(flow.parameters(), lr=lr)
        best, state = float("inf"), copy.deepcopy(flow.state_dict())
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = lr * one_cycle(step, steps)
            rows = torch.randint(len(train), (min(512, len(train)),))
            loss = -_log_likelihood(flow, train[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(flow.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                for average, weight in zip(mean.parameters(), flow.parameters(), strict=True):
                    average.lerp_(weight, 1.0 - min(MEMORY, (1 + step) / (10 + step)))
                if (step + 1) % CHECK == 0:
                    mean.temper(validation)
                    if (value := -_log_likelihood(mean, validation).item()) < best:
                        best, state = value, copy.deepcopy(mean.state_dict())
    flow.load_state_dict(state)
    return SmallFlow(flow.eval().requires_grad_(False), width, best)


def _log_likelihood(flow: Standardized, x: Tensor) -> Tensor:
    z, log_det = flow(x)
    return (gaussian_log_density(z) + log_det).mean()
