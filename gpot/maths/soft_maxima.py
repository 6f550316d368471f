r"""A convex function as soft maxima of affine functions, with its gradient and its Hessian in closed form.

.. math:: u(z) = \tfrac12 |C^\top z|^2 + \tfrac{\alpha}{2} |z|^2 + \langle c, z \rangle
          + \sum_g p_g \log \sum_j \exp(\langle w_{gj}, z \rangle + b_{gj})

A maximum of affine functions is convex, log-sum-exp is its smooth form (boyd2004, section 3.1.5), and sums of such with
p_g >= 0 come close to any convex function as their pieces grow. The p_g are softplus of free numbers, so that every
value of the parameters is a convex function, strongly so with the modulus alpha > 0. With :math:`\pi_g` the softmax of
the pieces of g at z, and :math:`\bar w_g = \sum_j \pi_{gj} w_{gj}`:

.. math:: \nabla u = (C C^\top + \alpha) z + c + \sum_g p_g \bar w_g, \qquad
          \nabla^2 u = C C^\top + \alpha + \sum_g p_g \Big( \sum_j \pi_{gj} w_{gj} w_{gj}^\top
          - \bar w_g \bar w_g^\top \Big):

each group moves z towards a mean of its w, sharply where two pieces are equal, as an optimal map to a law of clusters
does.

Symbols: `z` (n, d), rows are particles; G groups of J pieces.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gpot.maths.convex_network import inverse_softplus
from gpot.maths.quadratic import Quadratic


@dataclass(frozen=True)
class SoftMaxima(Quadratic):
    """u above. weight: w (G, J, d). bias: b (G, J). output: (G,), the free numbers whose softplus are p. No group is a
    quadratic alone."""

    weight: Tensor
    bias: Tensor
    output: Tensor

    @classmethod
    def quadratic(cls, root: Tensor, linear: Tensor, modulus: float) -> SoftMaxima:
        """|C^T z|^2 / 2 + modulus / 2 |z|^2 + <c, z>, without a group."""
        return cls(root, linear, modulus, root.new_zeros(0, 1, len(root)), root.new_zeros(0, 1), root.new_zeros(0))

    @property
    def is_quadratic(self) -> bool:
        return len(self.output) == 0

    def tensors(self) -> list[Tensor]:
        """All parameters, in a fixed order."""
        return [self.root, self.linear, self.weight, self.bias, self.output]

    def map(self, change: Callable[[Tensor], Tensor]) -> SoftMaxima:
        """The function of changed parameters, in the order of `tensors`: `u.map(Tensor.double)`."""
        root, linear, weight, bias, output = (change(tensor) for tensor in self.tensors())
        return SoftMaxima(root, linear, self.modulus, weight, bias, output)

    def value(self, z: Tensor) -> Tensor:
        """u(z), (n,)."""
        return self.quadratic_value(z) + torch.logsumexp(self._pieces(z), dim=2) @ softplus(self.output)

    def gradient(self, z: Tensor) -> Tensor:
        """Gradient of u at z, (n, d)."""
        return self._gradient(z, self._weighted(self._shares(z)))

    def gradient_and_hessian(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Gradient (n, d) and Hessian (n, d, d) of u at z."""
        (n, d), shares, rows = z.shape, self._shares(z), self._rows()
        weighted, sizes = self._weighted(shares), softplus(self.output)
        second = weighted @ (rows[:, :, None] * rows[:, None, :]).flatten(1)
        means = torch.bmm(shares.transpose(0, 1), self.weight).transpose(0, 1)  # (n, G, d)
        hessian = second.view(n, d, d) - torch.bmm((means * sizes[:, None]).transpose(1, 2), means)
        return self._gradient(z, weighted), hessian + self.quadratic_hessian()

    def _rows(self) -> Tensor:
        """w as the rows of one matrix, (G J, d)."""
        return self.weight.flatten(0, 1)

    def _pieces(self, z: Tensor) -> Tensor:
        """<w, z> + b, (n, G, J)."""
        return torch.addmm(self.bias.flatten(), z, self._rows().T).view(len(z), *self.bias.shape)

    def _shares(self, z: Tensor) -> Tensor:
        """pi, (n, G, J)."""
        return torch.softmax(self._pieces(z), dim=2)

    def _weighted(self, shares: Tensor) -> Tensor:
        """p_g pi_gj, (n, G J)."""
        return (shares * softplus(self.output)[:, None]).flatten(1)

    def _gradient(self, z: Tensor, weighted: Tensor) -> Tensor:
        return self.quadratic_gradient(z) + weighted @ self._rows()


def soft_maxima(
    dim: int, groups: int, pieces: int, modulus: float, generator: torch.Generator, *, quadratic: float,
    added: float = 0.7,
) -> SoftMaxima:  # fmt: skip
    r"""A fresh function in float32: quadratic part (quadratic + modulus) / 2 |z|^2, w ~ N(0, 1), b ~ N(0, 1).

    added: about what the groups add to the Hessian's eigenvalues, all p_g being added / groups.
    """
    weight = torch.randn(groups, pieces, dim, generator=generator)
    bias = torch.randn(groups, pieces, generator=generator)
    output = torch.full((groups,), inverse_softplus(added / groups))
    return SoftMaxima(math.sqrt(quadratic) * torch.eye(dim), torch.zeros(dim), modulus, weight, bias, output)
