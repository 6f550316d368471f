r"""Convex potential flows (Huang, Chen, Tsirigotis, Courville, 2021): z = grad G(x), G strictly convex.

Written from the paper. Names and shapes of the state dict are those of the released models. One block with its ActNorm
:math:`D(x + b)`, D diagonal and positive:

.. math:: G(y) = \mathrm{softplus}(w_1)\, F(y) + \tfrac12 \mathrm{softplus}(w_0)\, |y|^2, \qquad y = D (x + b),

F an input-convex network (`icnn.py`), and log|det| that of the Hessian, in closed form.

A gradient map is the Monge map between its source and its image (Brenier). The released order, z = grad G(y), is one
only if D is a multiple of the identity: otherwise its Jacobian :math:`\nabla^2 G\, D` is not symmetric. The gradient in
x of the convex function :math:`x \mapsto G(D (x + b))` is :math:`D\, \nabla G(D (x + b))`. So an ActNorm may stand

- "around" the block, z = D grad G(D (x + b)): a Monge map with one block. The default here.
- "before" the block, z = grad G(D (x + b)): the released form, for released weights.

Both have the same parameters. Several blocks compose to a map that is no gradient, with either.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from third_party.cpflow.icnn import ICNN, ActNorm
from third_party.cpflow.inverse import invert_gradient
from third_party.cpflow.log_det import exact_log_det, stochastic_log_det

ACTNORMS = ("around", "before")
LOG_DETS = ("exact", "conjugate_gradient")


class ConvexBlock(nn.Module):
    """The potential G and its gradient map. w0 starts at coefficient 1, and is a constant unless `trainable`."""

    def __init__(self, icnn: ICNN, trainable: bool) -> None:
        super().__init__()
        self.w0 = nn.Parameter(torch.tensor([math.log(math.e - 1)]), requires_grad=trainable)
        self.w1 = nn.Parameter(torch.zeros(1))
        self.icnn = icnn

    def _coefficients(self, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        return softplus(self.w0.to(dtype)), softplus(self.w1.to(dtype))

    def potential(self, y: Tensor) -> Tensor:
        """G(y), (n,)."""
        quadratic, network = self._coefficients(y.dtype)
        return network * self.icnn(y) + 0.5 * quadratic * y.square().sum(1)

    def forward(self, y: Tensor) -> Tensor:
        """grad G(y), (n, d)."""
        quadratic, network = self._coefficients(y.dtype)
        return network * self.icnn.expand(y).gradient + quadratic * y

    def derivatives(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """grad G(y), (n, d), and its Hessian, (n, d, d)."""
        quadratic, network = self._coefficients(y.dtype)
        expansion = self.icnn.expand(y)
        identity = torch.eye(y.shape[1], dtype=y.dtype, device=y.device)
        return network * expansion.gradient + quadratic * y, network * expansion.hessian() + quadratic * identity

    def with_log_det(self, y: Tensor, probes: Tensor | None) -> tuple[Tensor, Tensor]:
        """grad G(y), (n, d), and log det of its Hessian, (n,), exact or, with probes, by `stochastic_log_det`."""
        if probes is None:
            gradient, hessian = self.derivatives(y)
            return gradient, exact_log_det(hessian)
        quadratic, network = self._coefficients(y.dtype)
        expansion = self.icnn.expand(y)
        log_det = stochastic_log_det(lambda v: network * expansion.product(v) + quadratic * v, probes)
        return network * expansion.gradient + quadratic * y, log_det


class CPFlow(nn.Module):
    """ActNorm, block, ..., each block with the ActNorm in front of it, and a last ActNorm if there are several blocks.

    Arguments:
        dim: d.
        width: units of a hidden layer, even.
        depth: layers with positive weights, the output among them.
        n_blocks: 1 for a Monge map.
        activation: a key of ACTIVATIONS.
        actnorm: "around" or "before", see the module's head; it is not in the state dict, and a model's weights mean
            another map with the other one.

    A fresh flow works as it is, with ActNorms of b = logs = 0; `initialize` fits them to data, once, before training.
    """

    def __init__(
        self,
        dim: int,
        width: int = 32,
        depth: int = 3,
        n_blocks: int = 1,
        activation: str = "gaussian_softplus",
        actnorm: str = "around",
    ) -> None:
        super().__init__()
        if n_blocks < 1:
            raise ValueError(f"a CPFlow has at least one block, got n_blocks={n_blocks}. n_blocks=1 is a Monge map.")
        if actnorm not in ACTNORMS:
            raise ValueError(f"actnorm is one of {', '.join(ACTNORMS)}, got '{actnorm}'")
        self.dim, self.actnorm = dim, actnorm
        layers = list[nn.Module]()
        for _ in range(n_blocks):
            layers += [ActNorm(dim), ConvexBlock(ICNN(dim, width, depth, activation), trainable=n_blocks == 1)]
        self.flows = nn.ModuleList(layers if n_blocks == 1 else [*layers, ActNorm(dim)])

    def forward(
        self,
        x: Tensor,
        log_det: str = "exact",
        probes: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """z = f(x), (n, d), and log|det df/dx|, (n,).

        log_det: "exact", from the Hessian, or "conjugate_gradient", from its products with random signs: an unbiased
        value by Lanczos quadrature and, with gradients enabled, an unbiased gradient by conjugate gradients.
        probes: these signs, (n_blocks, n, d); without them they are drawn from `generator`.
        """
        if log_det not in LOG_DETS:
            raise ValueError(f"log_det is one of {', '.join(LOG_DETS)}, got '{log_det}'")
        pairs, last = self._pairs()
        if log_det == "conjugate_gradient" and probes is None:
            shape = (len(pairs), *x.shape)
            probes = torch.randint(2, shape, dtype=x.dtype, device=x.device, generator=generator) * 2 - 1
        y, total = x, x.new_zeros(len(x))
        for k, (norm, block) in enumerate(pairs):
            b, scale = norm.affine(x.dtype)
            y, part = block.with_log_det((y + b) * scale, None if probes is None or log_det == "exact" else probes[k])
            total = total + part + scale.log().sum() * (2 if self.actnorm == "around" else 1)
            y = y * scale if self.actnorm == "around" else y
        if last is not None:
            b, scale = last.affine(x.dtype)
            y, total = (y + b) * scale, total + scale.log().sum()
        return y, total

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x), without its log-determinant."""
        pairs, last = self._pairs()
        for norm, block in pairs:
            b, scale = norm.affine(x.dtype)
            x = block((x + b) * scale)
            x = x * scale if self.actnorm == "around" else x
        if last is not None:
            b, scale = last.affine(x.dtype)
            x = (x + b) * scale
        return x

    @torch.no_grad()
    def inverse(self, z: Tensor, tolerance: float = 1e-9, max_steps: int = 100) -> Tensor:
        """x = f^-1(z), (n, d), by Newton's method in float64 and then rounded to z's dtype; no graph is kept.

        tolerance: of the residual |f(x) - z| in each row and block (with several blocks, before the last ActNorm).
        max_steps: of Newton, per block. Raises InverseFailed.
        """
        pairs, last = self._pairs()
        y = z.double()
        if last is not None:
            b, scale = last.affine(y.dtype)
            y = y / scale - b
        for norm, block in reversed(pairs):
            b, scale = norm.affine(y.dtype)
            outer = scale if self.actnorm == "around" else torch.ones_like(scale)

            def derivatives(u: Tensor, block: ConvexBlock = block, outer: Tensor = outer) -> tuple[Tensor, Tensor]:
                """Of u -> G(D u) around, with u = x + b; of G before, with u = D (x + b)."""
                gradient, hessian = block.derivatives(u * outer)
                return gradient * outer, outer[:, None] * hessian * outer

            u = invert_gradient(derivatives, y, y / outer**2, tolerance, max_steps).x
            y = u * outer / scale - b
        return y.to(z.dtype)

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Fits every ActNorm to points x (n, d), from the first layer to the last, those in the networks too.

        Each gives mean 0 and standard deviation 1 in every column; one around a block does by its two scales together.
        To be called once, before training. A loaded state dict needs no call, and a call would overwrite its ActNorms.
        """
        pairs, last = self._pairs()
        around = self.actnorm == "around"
        for norm, block in pairs:
            norm.initialize(x, power=0.5 if around else 1.0)
            b, scale = norm.affine(x.dtype)
            y = (x + b) * scale
            block.icnn.initialize(y)
            x = block(y) * scale if around else block(y)
        if last is not None:
            last.initialize(x)

    def _pairs(self) -> tuple[list[tuple[ActNorm, ConvexBlock]], ActNorm | None]:
        """Each block with the ActNorm in front of it, and the last ActNorm."""
        layers = list(self.flows)
        pairs = cast("list[tuple[ActNorm, ConvexBlock]]", list(zip(layers[0::2], layers[1::2], strict=False)))
        return pairs, cast(ActNorm, layers[-1]) if len(layers) % 2 else None
