r"""The Fenchel-Young gap of pairs: how far a map is from optimal, bounded from above.

For a convex u with the conjugate :math:`u^*(x) = \sup_z \langle x, z \rangle - u(z)`, every pair has

.. math:: u(z) + u^*(x) - \langle x, z \rangle \;\ge\; 0,

with equality if and only if x is a subgradient of u at z. For any u, the two first terms depend on the laws of x and of
z alone, and of all pairings of these laws the optimal one has the largest :math:`E \langle x, z \rangle`
(villani2008). So for pairs z = T(x)

.. math:: E |x - T(x)|^2 - W_2^2 \;\le\; 2\, E\,[ u(z) + u^*(x) - \langle x, z \rangle ]:

the cost of T, less twice the mean gap, is below the optimum between the laws of x and of T(x), *whatever u is*.

Nothing is assumed of the maximization in u* either. With alpha the modulus of strong convexity of u, and
:math:`r = x - \nabla u(a)` the residual at any point a at all,

.. math:: u^*(x) \;\le\; \langle x, a \rangle - u(a) + |r|^2 / (2 \alpha).

Symbols: `x`, `z` (n, d), rows are pairs; `a` the argmax of the conjugate, z itself where the map is optimal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gpot.errors import BadInput

_SUFFICIENT = 1e-4  # share of the decrease that the gradient promises (Armijo)
_HALVINGS = 40


class ConvexFunction(Protocol):
    """A convex function of rows, as :class:`gpot.maths.convex_network.ConvexNetwork` is one."""

    @property
    def modulus(self) -> float:
        """alpha > 0: u(z) - alpha / 2 |z|^2 is convex."""
        ...

    def value(self, z: Tensor) -> Tensor: ...

    def gradient_and_hessian(self, z: Tensor) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True)
class Conjugates:
    """At each x: the point a that was reached (n, d), |x - grad u(a)| there (n,), and the gap of (x, start), corrected
    for what is left, (n,): never below the true one."""

    points: Tensor
    residual: Tensor
    gap: Tensor


def conjugates(u: ConvexFunction, x: Tensor, z: Tensor, *, steps: int = 50, tolerance: float = 1e-9) -> Conjugates:
    r"""The argmax of <x, a> - u(a) by damped Newton from a = z, and the gap of the pairs (x, z) by what was reached.

    .. math:: a \leftarrow a + s\, (\nabla^2 u(a))^{-1} (x - \nabla u(a)),

    s the first of 1, 1/2, 1/4, ... with an Armijo decrease. A row ends at |x - grad u(a)| <= tolerance, or where
    rounding lets nothing decrease. The gap is (u(z) - <x, z>) - (u(a) - <x, a>) + |r|^2 / (2 alpha): its first
    difference is of a descent that began at z, hence no less than 0 in any arithmetic.

    Arguments:
        u: in float64.
        x, z (n, d).
        steps: at most; 0 is allowed, and the gap is then |r|^2 / (2 alpha).
    """
    if x.shape != z.shape or x.ndim != 2:
        raise BadInput(f"a Fenchel-Young gap is of pairs, and got {tuple(x.shape)}, {tuple(z.shape)}; pass (n, d) each")
    x, z = x.detach().double(), z.detach().double()
    if not (x.isfinite().all() and z.isfinite().all()):
        raise BadInput("a Fenchel-Young gap is of finite pairs, and some are not; leave those rows out and count them")
    with torch.no_grad():
        points, least = z.clone(), _objective(u, x, z)
        start = least.clone()
        gradient, hessian = u.gradient_and_hessian(points)
        residual = x - gradient
        active = torch.arange(len(x), device=x.device)
        for _ in range(steps):
            moving = residual[active].norm(dim=1) > tolerance
            active, hessian = active[moving], hessian[moving]
            if len(active) == 0:
                break
            step = _solve(hessian, residual[active])
            reached, values = _line_search(u, x[active], points[active], least[active], step, residual[active])
            better = values < least[active]
            active, reached, values = active[better], reached[better], values[better]
            if len(active) == 0:
                break
            points[active], least[active] = reached, values
            gradient, hessian = u.gradient_and_hessian(reached)
            residual[active] = x[active] - gradient
        squares = (residual**2).sum(1)
        return Conjugates(points, squares.sqrt(), start - least + squares / (2.0 * u.modulus))


def gaps_of(u: ConvexFunction, x: Tensor, z: Tensor, reached: Conjugates) -> Tensor:
    """The gaps of pairs (x, z) (n,), by what :func:`conjugates` reached for the same x from another start.

    u^*(x) is of x alone, so that one maximization serves every map from these points. Never negative, as there: where
    rounding makes z the better point, the descent begins at z once more.
    """
    x, z = x.detach().double(), z.detach().double()
    with torch.no_grad():
        saved = _objective(u, x, z) - _objective(u, x, reached.points)
    gap = saved + reached.residual**2 / (2.0 * u.modulus)
    again = torch.nonzero(saved < 0.0)[:, 0]
    if len(again):
        gap[again] = conjugates(u, x[again], z[again]).gap
    return gap


def newton_step(u: ConvexFunction, x: Tensor, a: Tensor, longest: float) -> Tensor:
    """One Newton step of every row towards the argmax of <x, a> - u(a): what keeps the argmax of slowly changing u.

    Arguments:
        x, a: shape (n, d).
        longest: no step is longer.
    Returns: shape (n, d), without a graph.
    """
    with torch.no_grad():
        gradient, hessian = u.gradient_and_hessian(a)
        step = _solve(hessian, x - gradient)
        return a + step * (longest / step.norm(dim=1, keepdim=True).clamp(min=longest))


def envelope_gap(u: ConvexFunction, x: Tensor, z: Tensor, a: Tensor) -> Tensor:
    r"""u(z) - u(a) - <x, z - a> (n,), whose derivative in the parameters of u is that of the gap.

    At the argmax a the derivative of u^*(x) in a parameter is that of -u(a) with a held fixed (the envelope theorem):
    no derivative of the argmax is needed, and an error in a is of second order. The value is at most the gap.

    Arguments:
        x, z: the pairs, shape (n, d).
        a: where <x, a> - u(a) is largest, or nearly, shape (n, d).
    """
    both = u.value(torch.cat([z, a]))
    return both[: len(z)] - both[len(z) :] - ((z - a) * x).sum(1)


def _objective(u: ConvexFunction, x: Tensor, a: Tensor) -> Tensor:
    return u.value(a) - (a * x).sum(1)


def _solve(hessian: Tensor, residual: Tensor) -> Tensor:
    return torch.cholesky_solve(residual[:, :, None], torch.linalg.cholesky(hessian))[:, :, 0]


def _line_search(
    u: ConvexFunction, x: Tensor, start: Tensor, value: Tensor, step: Tensor, residual: Tensor
) -> tuple[Tensor, Tensor]:
    """The points and values of the first halving that decreases enough; the last one where none does."""
    promised = _SUFFICIENT * (step * residual).sum(1)
    reached = start + step
    values = _objective(u, x, reached)
    size = 1.0
    for _ in range(_HALVINGS):
        # at the end of a descent the decrease is less than rounding: then no increase is enough
        rows = torch.nonzero(~(values <= value - size * promised) & ~(values == value))[:, 0]
        if len(rows) == 0:
            break
        size *= 0.5
        reached[rows] = start[rows] + size * step[rows]
        values[rows] = _objective(u, x[rows], reached[rows])
    return reached, values
