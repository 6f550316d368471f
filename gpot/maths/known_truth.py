r"""Problems whose optimum is known exactly, and how far a map is from it.

With z0 ~ N(0, I), a convex u0 and a Gaussian-preserving h,

.. math:: x = \nabla u_0(z_0), \qquad z = h(z_0),

the flow :math:`f = h \circ (\nabla u_0)^{-1}` takes x to z, and the best Gaussian-preserving map after it is :math:`s =
h^{-1}`: then s(z) = z0, and x -> z0 is the gradient of a convex function (brenier1991). So the optimal cost is
:math:`E |\nabla u_0(z_0) - z_0|^2`, and the optimal image of every single point is known.

Symbols: `u` a :class:`gpot.maths.convex_network.ConvexNetwork`; `z0`, `x`, `s` (n, d), rows are particles.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.maths.convex_network import ConvexLayer, ConvexNetwork, convex_network, inverse_softplus

_EIGENVALUES = (0.25, 1.0)  # of the quadratic part, log-uniform
_MODULUS = 0.1
_STEEPNESS = 2.0  # |w_k| of a ridge: its kink is as wide as a standard deviation
_RIDGES_PER_DIMENSION = 4
_CURVATURE = 1.0  # mean of the Hessian's eigenvalues that the ridges or the network add, about


def ridge_potential(dim: int, generator: torch.Generator) -> ConvexNetwork:
    r"""A quadratic plus softplus ridges: u convex, its gradient far from linear, in float64.

    .. math:: u(z) = \tfrac12 z^\top S z + \langle c, z \rangle + \sum_k p_k\, \mathrm{softplus}(w_k \cdot z + b_k)

    S has a random frame and eigenvalues log-uniform in [.35, 1.1]; 4 d ridges of random directions, b ~ N(0, 1), p
    log-normal; c makes the mean of grad u about 0.
    """
    width = _RIDGES_PER_DIMENSION * dim
    directions = torch.randn(width, dim, generator=generator).double()
    weight = _STEEPNESS * directions / directions.norm(dim=1, keepdim=True)
    bias = torch.randn(width, generator=generator).double()
    size = torch.randn(width, generator=generator).double().mul(0.5).exp()
    # a ridge adds p sigma' |w|^2 to the trace of the Hessian, sigma' about .15 on average
    size *= _CURVATURE * dim / (0.15 * _STEEPNESS**2 * size.sum())
    layer = ConvexLayer(weight, bias, None, torch.log(torch.expm1(size)))
    linear = -(size[:, None] * torch.sigmoid(bias / 1.5)[:, None] * weight).sum(0)
    return ConvexNetwork(_random_root(dim, generator), linear, _MODULUS, (layer,))


def network_potential(dim: int, generator: torch.Generator, widths: tuple[int, ...] = (32, 32)) -> ConvexNetwork:
    """A quadratic plus a random input-convex network (amos2017icnn), in float64: kinks along curved sets, not planes.

    Scaled on 1,024 standard Gaussian draws so that the network adds 1 to the mean eigenvalue of the Hessian; the mean
    of grad u is 0 on the same draws.
    """
    fresh = convex_network(dim, widths, _MODULUS, generator, quadratic=1.0, scale=1.0).map(Tensor.double)
    z = torch.randn(1024, dim, generator=generator).double()
    added = fresh.gradient_and_hessian(z)[1].diagonal(dim1=1, dim2=2).mean().item() - 1.0 - _MODULUS
    factor = _CURVATURE / added
    # u is linear in the outputs p = softplus(free)
    layers = tuple(
        ConvexLayer(
            layer.weight, layer.bias, layer.mixing,
            torch.full_like(layer.output, inverse_softplus(factor / len(layer.output))),
        )
        for layer in fresh.layers
    )  # fmt: skip
    centred = ConvexNetwork(_random_root(dim, generator), fresh.linear, _MODULUS, layers)
    return ConvexNetwork(centred.root, -centred.gradient(z).mean(0), _MODULUS, layers)


POTENTIALS = {"ridges": ridge_potential, "network": network_potential}


def unexplained_variance(s: Tensor, z0: Tensor) -> Tensor:
    r"""L2-UVP in percent, per particle (n,): :math:`100\, |s - z_0|^2 / d`, with the mean 0 if and only if s(z) = z0.

    The share of the variance of the target, d for N(0, I), that a map leaves unexplained (korotin2021); a map that
    ignores its argument has 100 or more.
    """
    if s.shape != z0.shape or s.ndim != 2:
        raise BadInput(f"a map is compared point by point, and got {tuple(s.shape)}, {tuple(z0.shape)}; pass (n, d)")
    return 100.0 * ((s - z0) ** 2).mean(1)


def excess_cost(u: ConvexNetwork, s: Tensor, z0: Tensor) -> Tensor:
    r"""What each particle contributes to the cost above the optimum, (n,), never negative.

    .. math:: 2 \left[ u(s) - u(z_0) - \langle \nabla u(z_0), s - z_0 \rangle \right]

    Its mean is :math:`E|x - s|^2 - E|x - z_0|^2` where s is as Gaussian as z0 is, because E u(s) = E u(z0) and
    E |s|^2 = E |z0|^2; the Bregman divergence has far less variance than the difference of two costs.
    """
    return 2.0 * (u.value(s) - u.value(z0) - (u.gradient(z0) * (s - z0)).sum(1))


def _random_root(dim: int, generator: torch.Generator) -> Tensor:
    """C (d, d) with C C^T of a random frame and of eigenvalues log-uniform between the two bounds."""
    low, high = (math.log(value) for value in _EIGENVALUES)
    values = torch.exp(low + (high - low) * torch.rand(dim, generator=generator).double())
    frame = torch.linalg.qr(torch.randn(dim, dim, generator=generator).double())[0]
    return frame * values.sqrt()
