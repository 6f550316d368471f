r"""How far a map is from optimal, measured on the map alone: the gap of cyclical monotonicity.

The graph of a Monge map is cyclically monotone, for the cost it is the best for: on any finite set of its pairs
(x_i, T(x_i)) no other assignment of the same points costs less. So the gap of a Monge map is 0 at every batch size,
with no sampling bias, and a gap above 0 proves a map improvable. Whatever the cost (rockafellar1966; villani2008,
theorem 5.10).
"""

from __future__ import annotations

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from gpot.errors import BadInput
from gpot.evaluation.estimate import Estimate
from gpot.maths.costs import Cost, pairwise, squared_euclidean


def assignment_gap(x: Tensor, z: Tensor, cost: Cost = squared_euclidean) -> float:
    r"""1 - (least cost of any assignment) / (cost of the pairs as they are), for pairs x, z (n, d) of one batch.

    .. math:: 1 - \min_\sigma \sum_i c(x_i, z_{\sigma(i)}) \Big/ \sum_i c(x_i, z_i) \;\in [0, 1]

    The pairs as they are count among the assignments, also to rounding; a cost of 0 has the gap 0.
    """
    x, z = (part.detach().to("cpu", torch.float64) for part in (x, z))
    costs = pairwise(cost, x, z)
    paired = costs.diagonal()
    # numbers taken from rows and columns change no assignment's rank, and the search ends three times sooner
    reduced = costs - costs.min(1, keepdim=True).values
    rows, columns = linear_sum_assignment((reduced - reduced.min(0).values).numpy())
    saved = (paired - costs[rows, columns]).sum().item()
    return max(saved, 0.0) / paired.sum().item() if saved != 0.0 else 0.0


def certificate(
    x: Tensor,
    z: Tensor,
    batch_size: int = 512,
    n_batches: int = 8,
    generator: torch.Generator | None = None,
    cost: Cost = squared_euclidean,
) -> Estimate:
    """Mean gap over random batches of pairs x, z (n, d), z the image of x, with its standard error over batches.

    Batches are disjoint while there are pairs left; with n < batch_size * n_batches they overlap, and the standard
    error is then too small. `generator` is a CPU one.
    Departure: ours; the paper judges optimality by the cost alone.
    """
    if x.shape != z.shape or x.ndim != 2:
        raise BadInput(f"a certificate is made of pairs, and got {tuple(x.shape)}, {tuple(z.shape)}; pass (n, d)")
    if not 1 < batch_size <= len(x) or n_batches < 1:
        raise BadInput(
            f"a certificate of {n_batches} batches of {batch_size} pairs was asked for, with {len(x)} pairs; pass more "
            "pairs, or a batch_size from 2 to that number and at least one batch"
        )
    if not (x.isfinite().all() and z.isfinite().all()):
        raise BadInput("a certificate is made of finite pairs, and some are not; leave those rows out and count them")
    batches: list[Tensor] = []
    while len(batches) < n_batches:
        order = torch.randperm(len(x), generator=generator)
        batches += [rows for rows in order.split(batch_size) if len(rows) == batch_size]
    gaps = [assignment_gap(x[rows.to(x.device)], z[rows.to(z.device)], cost) for rows in batches[:n_batches]]
    return Estimate.of(torch.tensor(gaps, dtype=torch.float64))
