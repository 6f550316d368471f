r"""The inverse of a block, which the paper does not have: d monotone equations in one unknown, one after the other.

With :math:`x_1 \dots x_{k-1}` known, :math:`y_k` is an increasing function of :math:`x_k` alone. What the earlier
groups of hidden units add to group k is then fixed: an evaluation runs a network of width p = width / d, not the block.

Bracket, in closed form. Where all units of the first hidden layer are saturated to rounding, on the left and on the
right, f has reached its infimum and its supremum in floating point: y_k is in the image when it lies strictly between
(known to rounding, as they are).
For a gated block y = s f + (1 - s) x, which is onto, these two bound x: :math:`(y - s \sup f) / (1 - s) < x <
(y - s \inf f) / (1 - s)`.

Root. Newton's step from the last point when it stays inside the bracket and is at most half as long as the step before;
else the middle of the bracket, on the scale of asinh while it spans orders of magnitude. Both halve something, so the
number of evaluations is bounded, about twice that of bisection. A Newton step shorter than half the tolerance is made
that long: it crosses the root, and the bracket closes.

Tolerance, of x: a row ends when its bracket, at whose ends f(x) - y is of different signs as computed, is no longer
than tolerance * max(1, |x|), or than four floating-point numbers if that is more. x is then one last Newton step from
its end where that stays inside (usually good to rounding), else the point seen with the least |f(x) - y|. Near the ends
of the image f is nearly flat, and f(x) = y fixes x no better than rounding lets it: `residual` does not show that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from third_party.bnaf.model import Block


@dataclass(frozen=True)
class Inversion:
    """x (n, d): preimages, NaN in the whole row where `converged` is False. converged (n,): the row is in the image and
    was solved. residual (n,): max_k |f(x) - z|_k of the whole map, NaN where not converged. iterations: evaluations in
    the longest of the root findings."""

    x: Tensor
    converged: Tensor
    residual: Tensor
    iterations: int


@dataclass(frozen=True)
class Coordinate:
    """y_k as a function of x_k: per layer the positive block (b, a) and what the solved groups add, (b, n)."""

    blocks: list[Tensor]
    offsets: list[Tensor]

    def units(self, u: Tensor, rows: Tensor | slice = slice(None)) -> list[Tensor]:
        """tanh of the hidden layers, (p, n) each, and last f_k, (1, n), at x_k = u (n,) of the given particles."""
        state, units = u[None], []
        for block, offset in zip(self.blocks, self.offsets, strict=True):
            pre = offset[:, rows] + block @ state
            state = 2 * torch.sigmoid(2 * pre) - 1
            units.append(state)
        return [*units[:-1], pre]

    def __call__(self, u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """f_k and its derivative, (n,). The derivative only steers: where it cancels to 0 the root finding bisects."""
        *hidden, value = self.units(u, rows)
        slope = self.blocks[0]
        for block, t in zip(self.blocks[1:], hidden, strict=True):
            slope = block @ (slope * (1 - t * t))
        return value[0], slope[0]

    def saturation(self) -> tuple[Tensor, Tensor]:
        """x_k, (n,), left and right of which every unit of the first layer is -1 or 1 to rounding."""
        far = -math.log(torch.finfo(self.blocks[0].dtype).eps)
        low, high = ((sign * far - self.offsets[0]) / self.blocks[0] for sign in (-1, 1))
        return low.amin(0), high.amax(0)


def invert_block(block: Block, y: Tensor, tolerance: float, max_iterations: int) -> tuple[Tensor, int]:
    """x with block(x) = y (d, n), NaN in the whole column where there is none or it was not found; and how many
    evaluations the longest root finding took."""
    dim, iterations = block.dim, 0
    grouped = [layer.matrix().view(dim, -1, dim, layer.mask_d.shape[1] // dim) for layer in block.layers()]
    biases = [layer.bias.view(dim, -1, 1) for layer in block.layers()]
    known = [y.new_empty(0, y.shape[1]) for _ in grouped]  # the inputs of each layer from the groups that are solved
    for k in range(dim):
        parts = zip(grouped, biases, known, strict=True)
        offsets = [bias[k] + matrix[k, :, :k].flatten(1) @ before for matrix, bias, before in parts]
        coordinate = Coordinate([matrix[k, :, k] for matrix in grouped], offsets)
        function, low, high = _bracketed(coordinate, block.gate, y[k])
        x, evaluations = find_roots(function, y[k], low, high, tolerance, max_iterations)
        iterations = max(iterations, evaluations)
        # a column of NaN stays one: it makes the offsets of the coming coordinates NaN, and no bracket holds there
        known = [torch.cat(pair) for pair in zip(known, [x[None], *coordinate.units(x)[:-1]], strict=True)]
    return known[0].where(known[0].isfinite().all(0), torch.nan), iterations


Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def _bracketed(coordinate: Coordinate, gate: Tensor | None, y: Tensor) -> tuple[Function, Tensor, Tensor]:
    """The function to solve for y (n,), and two ends between which its root lies if there is one."""
    low, high = coordinate.saturation()
    if gate is None:
        return coordinate, low, high
    s, rest = torch.sigmoid(gate), torch.sigmoid(-gate)

    def function(u: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        value, slope = coordinate(u, rows)
        return s * value + rest * u, s * slope + rest

    low, high = ((y - s * coordinate.units(end)[-1][0]) / rest for end in (high, low))
    margin = 0.01 * (1 + torch.maximum(low.abs(), high.abs()))  # rounding may not move an end past the root
    return function, low - margin, high + margin


def find_roots(
    function: Function, y: Tensor, low: Tensor, high: Tensor, tolerance: float, max_iterations: int
) -> tuple[Tensor, int]:
    """x (n,) in (low, high) with function(x) = y (n,), NaN where not; and the number of iterations. See the module.

    function(u, rows): values and derivatives at u of the particles `rows`, increasing in u.
    """
    smallest = max(tolerance, 4 * torch.finfo(y.dtype).eps)
    x = torch.full_like(y, torch.nan)
    rows = torch.arange(len(y), device=y.device)
    rows = rows[(function(low, rows)[0] < y) & (y < function(high, rows)[0])]
    low, high, y = low[rows], high[rows], y[rows]
    u, last = _middle(low, high), high - low
    best, least = u, torch.full_like(u, torch.inf)
    iterations = 0
    while len(rows) > 0 and iterations < max_iterations:
        iterations += 1
        value, slope = function(u, rows)
        gap = value - y
        low, high = torch.where(gap <= 0, u, low), torch.where(gap >= 0, u, high)
        closer = gap.abs() < least
        best, least = torch.where(closer, u, best), torch.where(closer, gap.abs(), least)
        short = smallest * best.abs().clamp(min=1.0)
        step = -gap / slope
        polished = torch.where((low <= u + step) & (u + step <= high), u + step, best)
        done = high - low <= short
        x[rows[done]] = polished[done]

        step = torch.where(step.abs() < short / 2, step.sign() * short / 2, step)
        target = u + step
        good = (low < target) & (target < high) & ((2 * step.abs() <= last) | (step.abs() <= short))
        target = torch.where(good, target, _middle(low, high))
        last = (target - u).abs()
        rows, y, low, high, u, last, best, least = (
            part[~done] for part in (rows, y, low, high, target, last, best, least)
        )
    return x, iterations


def _middle(low: Tensor, high: Tensor) -> Tensor:
    """Between the ends: their mean, or the mean of their asinh where they are far apart for their size."""
    near = high - low <= 1 + torch.minimum(low.abs(), high.abs())
    return torch.where(near, low + (high - low) / 2, torch.sinh((torch.asinh(low) + torch.asinh(high)) / 2))
