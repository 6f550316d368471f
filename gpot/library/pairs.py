"""Pairs (x, z = f(x)) to train and to measure on: samples of the flow's own law, or data."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.errors import BadInput, FlowRefused
from gpot.flows.base import FrozenFlow
from gpot.progress import track

_CHUNK = 8192
_FEWEST = 4096  # prior samples, however short the time
_HELD_OUT = 4096  # pairs that no step sees, or a fifth of all
PRIOR = "prior"  # a source of pairs: draws of z
LARGEST_LOSS = 0.01  # share of draws without an x above which training on the prior is refused


@dataclass(frozen=True)
class Pairs:
    """x, z for training; held-out ones, which no step sees; where they come from; draws without an x."""

    x: Tensor
    z: Tensor
    x_held: Tensor
    z_held: Tensor
    source: str
    lost: int


def from_prior(flow: FrozenFlow, n: int, like: Tensor, seed: int, until: float | None, progress: bool) -> Pairs:
    """n pairs and some held-out ones with z ~ N(0, I) and x = f^-1(z), of the dtype and device of `like`.

    until: the time (monotonic) at which drawing ends, with no fewer than `_FEWEST` pairs. z is what f maps x to, where
    f^-1 is inexact: the pairs are those of f.
    """
    generator = torch.Generator().manual_seed(seed)
    held = min(_HELD_OUT, max(2, n // 4))
    kept, lost, drawn, total = [], 0, 0, n + held
    starts = range(0, total, _CHUNK)
    with torch.no_grad():
        for start in track(starts, len(starts), "draw samples of the flow") if progress else starts:
            z = torch.randn(min(_CHUNK, total - start), flow.dim, generator=generator, dtype=torch.float64).to(like)
            x = flow.inverse(z)
            good = x.isfinite().all(1)
            lost += int((~good).sum())
            drawn += len(z)
            kept.append((x[good], z[good]))
            if lost > max(10.0, LARGEST_LOSS * drawn):
                raise FlowRefused(
                    f"{lost} of {drawn} Gaussian draws have no finite x under f^-1: f is far from onto, or its inverse "
                    "overflows; train f for longer, or fit on data alone: gpot.fit(flow, x, source='data')"
                )
            if until is not None and time.monotonic() > until and drawn >= _FEWEST + held:
                break
    x, z = (torch.cat(parts) for parts in zip(*kept, strict=True))
    return Pairs(x[held:], z[held:], x[:held], z[:held], PRIOR, lost)


def from_data(flow: FrozenFlow, x: Tensor, seed: int) -> Pairs:
    """Data and their codes, a fifth of the rows held out (at most `_HELD_OUT`)."""
    held = min(_HELD_OUT, len(x) // 5)
    if held < 2:
        raise BadInput(f"to train on data takes at least 10 rows, and got {len(x)}; pass more, or a flow with inverse")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    with torch.no_grad():
        z = torch.cat([flow.transform(rows) for rows in x.split(_CHUNK)])
    bad = int((~z.isfinite().all(1)).sum())
    if bad:
        raise FlowRefused(
            f"{bad} of {len(x)} rows have no finite code; scale them as in the training of f, or drop them"
        )
    x, z = x[order], z[order]
    return Pairs(x[held:], z[held:], x[:held], z[:held], "data", 0)
