"""The law of a flow's codes, held against N(0, I): moments, and a two-sample test."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

ROWS = 500  # of each sample in the test
_PERMUTATIONS = 199
_LEVEL = 0.01


@dataclass(frozen=True)
class Law:
    """mean: largest |mean| of a coordinate. spread: least and largest eigenvalue of the covariance. distance: the
    energy distance to N(0, I). p_value: of the permutation test of that distance."""

    mean: float
    spread: tuple[float, float]
    distance: float
    p_value: float

    @property
    def gaussian(self) -> bool:
        """Whether the test does not see a difference, at the level of one in a hundred."""
        return self.p_value > _LEVEL

    def __str__(self) -> str:
        low, high = self.spread
        return (
            f"means up to {self.mean:.2g}, variances from {low:.2g} to {high:.2g}, energy distance "
            f"{self.distance:.2g} (p = {self.p_value:.2g})"
        )


def law_of(z: Tensor, generator: torch.Generator | None = None) -> Law:
    r"""Moments of z (n, d), and the energy distance of at most `ROWS` of its rows to as many of N(0, I).

    .. math:: 2 E|Z - G| - E|Z - Z'| - E|G - G'| \;\ge 0, \quad 0 \text{ iff } Z \sim G

    (szekely2013); its p-value by permutations of the pooled sample. `generator` is a CPU one.
    """
    z = z.detach().to("cpu", torch.float64)
    spread = torch.linalg.eigvalsh(torch.atleast_2d(torch.cov(z.T)))
    generator = generator or torch.Generator().manual_seed(0)
    rows = z[torch.randperm(len(z), generator=generator)[:ROWS]]
    gaussian = torch.randn(rows.shape, dtype=torch.float64, generator=generator)
    distances = torch.cdist(torch.cat([rows, gaussian]), torch.cat([rows, gaussian]))
    n = len(rows)
    signs = torch.cat([torch.ones(n), -torch.ones(n)]).double()
    orders = [torch.arange(2 * n), *(torch.randperm(2 * n, generator=generator) for _ in range(_PERMUTATIONS))]
    labels = torch.stack([signs[order] for order in orders])
    values = -((labels @ distances) * labels).sum(1) / n**2  # the V-statistic: its diagonal is 0
    p_value = (values >= values[0] - 1e-12).double().mean().item()
    return Law(z.mean(0).abs().max().item(), (spread[0].item(), spread[-1].item()), values[0].item(), p_value)
