r"""How far a map is from optimal, bounded from above: the optimum lies between the cost less this bound, and the cost.

The other side of :mod:`gpot.evaluation.certificate`: an exchange that saves proves a gap, and says nothing where points
are few for the dimension; a convex potential proves that no map between the same two laws is better by more than twice
its mean Fenchel-Young gap (:mod:`gpot.maths.fenchel`). It holds for any potential, so fitting it on training pairs and
reporting held-out ones leaves no bias, only the standard error of a mean of terms that are never negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.evaluation.estimate import Estimate
from gpot.evaluation.potential import Potential, PotentialFit, fit_potential, gelbrich_potential
from gpot.maths.fenchel import Conjugates, conjugates, gaps_of
from gpot.progress import track

_CHUNK = 4096
_VALIDATION_SHARE = 10  # one in so many training pairs decides between soft maxima and the quadratic
_MAX_VALIDATION = 4096


@dataclass(frozen=True)
class GapBound:
    """Upper bound of cost less optimum: mean and standard error over held-out pairs.

    fitted: whether it is by soft maxima, and not by a quadratic alone. residual: the largest |x - grad u| that Newton's
    method left, paid for in the mean.
    """

    mean: float
    stderr: float
    fitted: bool
    residual: float
    n: int


def fenchel_young_bound(
    x: Tensor, z: Tensor, x_held_out: Tensor, z_held_out: Tensor, fit: PotentialFit | None = None, seed: int = 0
) -> GapBound:
    r"""The bound of the map behind pairs z = T(x), fitted on some and reported on others.

    .. math:: E |x - T(x)|^2 - W_2^2 \le 2\, E\,[ u(z) + u^*(x) - \langle x, z \rangle ]

    The result is no worse than the bound of means and covariances (:func:`choose_potential`); the held-out pairs take
    no part in the fit or the choice.

    Arguments:
        x, z: pairs, shape (n, d).
        x_held_out, z_held_out: pairs, shape (m, d).
        fit: how the potential is fitted.
        seed: fixes the result.
    Departure: ours; the paper judges optimality by the cost alone.
    """
    return bound_by(choose_potential(x, z, fit or PotentialFit(), seed), x_held_out, z_held_out)


def choose_potential(x: Tensor, z: Tensor, fit: PotentialFit, seed: int) -> Potential:
    """Soft maxima fitted on nine tenths of the pairs x, z (n, d), or Gelbrich's quadratic of the same pairs, if that
    has the lesser bound on the last tenth."""
    n_validation = min(len(x) // _VALIDATION_SHARE, _MAX_VALIDATION)
    if n_validation < 2 or x.shape != z.shape:
        raise BadInput(
            f"a potential is fitted on at least {2 * _VALIDATION_SHARE} pairs (n, d), and got {tuple(x.shape)}, "
            f"{tuple(z.shape)}; pass more"
        )
    x, z = x.detach().cpu(), z.detach().cpu()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    chosen, kept = order[:n_validation], order[n_validation:]
    candidates = gelbrich_potential(x[kept], z[kept]), fit_potential(x[kept], z[kept], fit, seed)
    quadratic, fitted = (gaps(potential, x[chosen], z[chosen])[0].mean() for potential in candidates)
    return candidates[1] if fitted < quadratic else candidates[0]


def bound_by(potential: Potential, x: Tensor, z: Tensor, reached: Conjugates | None = None) -> GapBound:
    """The bound of the map behind pairs x, z (n, d) that took no part in the choice of the potential.

    The potential may come from another map between the same laws, as of all Gaussian-preserving flows after one frozen
    flow: the bound holds for any. reached: of :func:`conjugates_at` these x, where it is known already.
    """
    own, residual = gaps(potential, x, z, reached)
    bound = Estimate.of(own)
    return GapBound(bound.mean, bound.stderr, not potential.base.is_quadratic, residual, len(own))


def gaps(potential: Potential, x: Tensor, z: Tensor, reached: Conjugates | None = None) -> tuple[Tensor, float]:
    """2 (u(z) + u*(x) - <x, z>) of each pair (n,), in float64 and never negative, and the largest residual.

    reached: of :func:`conjugates_at` these x; None looks for the argmax of each, from z.
    """
    t, y = potential.coordinates(x.cpu(), z.cpu())
    if reached is None:
        reached = _conjugates(potential, t, y)
        return 2.0 * reached.gap, reached.residual.max().item()
    return 2.0 * gaps_of(potential.base, t, y, reached), reached.residual.max().item()


def conjugates_at(potential: Potential, x: Tensor) -> Conjugates:
    """Where u*(x) takes its maximum, for points x (n, d), in the potential's own coordinates: the part of a bound that
    all maps from these points share. Begun where the optimal linear map takes them."""
    t, _ = potential.coordinates(x.cpu(), torch.zeros_like(x.cpu()))
    return _conjugates(potential, t, t)


def _conjugates(potential: Potential, t: Tensor, start: Tensor) -> Conjugates:
    parts = list(zip(t.split(_CHUNK), start.split(_CHUNK), strict=True))
    pieces = [conjugates(potential.base, *part) for part in track(parts, len(parts), "conjugates of a potential")]
    return Conjugates(*(torch.cat([getattr(c, name) for c in pieces]) for name in ("points", "residual", "gap")))
