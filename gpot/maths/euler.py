r"""Euler's equations as a penalty, and the kinetic energy that their solutions minimize (paper, section 4).

Symbols: `field(t, y)` the velocity v in the coordinates of `y` (n, d); `w = d_t v + (v . grad) v` its total
derivative along its own particles. v solves Euler's equations (eq. 8) if and only if w is a gradient (-grad p), that
is, if its Jacobian in y is symmetric. The particles do not interact: row i of every output depends on row i of y
alone.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gpot.constants import finite_difference_step
from gpot.errors import BadInput
from gpot.maths.integrate import Along, Field

Reduction = Literal["sum", "integral"]


def total_derivative(field: Field, t: Tensor, y: Tensor, step: float | None = None) -> Tensor:
    r"""Total derivative of the velocity by one forward difference along the particle (eq. 12).

    .. math:: w = \frac{v(t + h, y + h\, v(t, y)) - v(t, y)}{h}

    Arguments:
        field: v.
        t: 0-dim, or (n,) for a field that takes one per row.
        y: shape (n, d).
        step: h, by default 2 sqrt(eps) of the dtype of y. The error is O(h).
    Returns: shape (n, d), differentiable in y and in the parameters of the field.
    Departure: X(t^{n+1}) of eq. (12) is one explicit Euler step from y, as in the released code, which uses the h of
    float32 for every dtype.
    """
    h = finite_difference_step(y.dtype) if step is None else step
    velocity = field(t, y)
    return (field(t + h, y + h * velocity) - velocity) / h


def total_derivative_exact(field: Field, t: Tensor, y: Tensor) -> Tensor:
    r"""Total derivative of the velocity by one forward-mode product: no step, no cancellation.

    .. math:: w = \partial_t v + (\nabla v)\, v, \qquad (\nabla v)_{ij} = \partial_j v_i

    Arguments:
        field: v.
        t: 0-dim, or (n,) as above.
        y: shape (n, d).
    Returns: shape (n, d), differentiable in y and in the parameters of the field.
    Departure: replaces eq. (12). The velocity is evaluated twice, as there.
    """
    t = torch.as_tensor(t, dtype=y.dtype, device=y.device)
    return torch.func.jvp(field, (t, y), (torch.ones_like(t), field(t, y)))[1]


def antisymmetric_penalty(w: Tensor, y: Tensor, a: Tensor, b: Tensor) -> Tensor:
    r"""Squared antisymmetric part of the Jacobian of w along two probes (eq. 11, integrand).

    .. math:: (a^\top (\nabla w)\, b - b^\top (\nabla w)\, a)^2

    Zero for all probes if and only if w is locally a gradient, that is, v solves Euler's equations (eq. 8).
    For a, b ~ N(0, I) the expectation is the squared Frobenius norm of J - J^T.

    Arguments:
        w: shape (n, d), computed from y with gradients enabled.
        y: shape (n, d).
        a, b: probes, shape (n, d) or what broadcasts to it.
    Returns: shape (n,). Where gradients are enabled it can be differentiated again.
    Departure: the released code shares one pair of probes over the whole batch; here the caller says (`euler_penalty`
    draws one pair per particle).
    """
    create_graph = torch.is_grad_enabled()
    a, b = a.expand_as(w), b.expand_as(w)
    if not w.requires_grad:  # w does not depend on y: its Jacobian is 0
        return torch.zeros_like(w[:, 0])
    along_a = _vector_jacobian(w, y, a, create_graph)
    along_b = _vector_jacobian(w, y, b, create_graph)
    return ((along_a * b).sum(1) - (along_b * a).sum(1)) ** 2


def quotient_penalty(along: Along, t: Tensor, y: Tensor, probe_pairs: Tensor, step: float | None = None) -> Tensor:
    r"""`antisymmetric_penalty` of `total_derivative` (eq. 12) from products of grad v with directions alone.

    With :math:`Y = y + h v(t, y)` and :math:`J = \nabla v(t, y)`,

    .. math:: (\nabla w)\, b = \frac{\nabla v(t + h, Y)\,(b + h J b) - J b}{h}

    so that the probes are carried forward and nothing is differentiated twice: the same number, up to rounding, and a
    reverse derivative over two evaluations of the field with the tangents a and b.

    Arguments: t (n,), y (n, d), probe_pairs (probes, 2, n, d), step h as in `total_derivative`.
    Returns: shape (probes, n).
    """
    h = finite_difference_step(y.dtype) if step is None else step
    probes = probe_pairs.flatten(0, 1)
    velocity, tangents = along(t, y, probes)
    moved = along(t + h, y + h * velocity, torch.add(probes, tangents, alpha=h))[1]
    across = ((moved - tangents) / h).view_as(probe_pairs).flip(1)  # (grad w) b beside a, (grad w) a beside b
    along_a, along_b = (probe_pairs * across).sum(-1).unbind(1)
    return (along_a - along_b) ** 2


def _vector_jacobian(w: Tensor, y: Tensor, probe: Tensor, create_graph: bool) -> Tensor:
    """probe^T (grad w), row by row: shape (n, d); 0 where w does not depend on y."""
    (product,) = torch.autograd.grad(w, y, probe, retain_graph=True, create_graph=create_graph, materialize_grads=True)
    return product


def euler_penalty(
    field: Field,
    times: Tensor,
    points: Tensor,
    probes: int = 1,
    exact: bool = False,
    generator: torch.Generator | None = None,
    reduction: Reduction = "sum",
    step: float | None = None,
    at_once: bool = False,
    along: Along | None = None,
) -> Tensor:
    r"""Monte-Carlo estimate of R (eq. 11) along given particles.

    .. math:: R = \delta \sum_k \mathrm{mean}_i\;
              (a^\top \nabla w(t_k, y_{ki})\, b - b^\top \nabla w(t_k, y_{ki})\, a)^2

    Arguments:
        times (N,), points (N, n, d): points[k] the particles at times[k] (the first N points of a trajectory, say);
            their graph is kept, so the penalty also moves the particles.
        probes: pairs (a, b) ~ N(0, I) per particle and time, from `generator`.
        exact: the total derivative by forward mode in place of eq. (12) with `step`.
        reduction: "sum" has delta = 1, which is what the lambda of the paper's tables was used with; "integral" has
            delta = 1/N and does not change with the number of steps.
        at_once: the field is evaluated at all N n particles together, for a field that takes t of shape (N n,), one
            time per row (those of `gpot.gp` networks do): the same number from the same draws, in an Nth of the
            operations.
        along: the field with its derivatives along directions, where it has them written (`Velocity.along`): with
            eq. (12) the same number at all N n particles together by :func:`quotient_penalty`.
    Returns: 0-dim. With gradients disabled it is a plain number.
    Departure: the released code draws one pair per time for the whole batch, and pairs a position with the time one
    step before it.
    """
    if reduction not in ("sum", "integral"):
        raise BadInput(f"euler_penalty has the reductions 'sum' and 'integral', and got {reduction!r}")
    if probes < 1 or len(times) != len(points) or len(times) == 0:
        raise BadInput(
            f"euler_penalty needs at least one probe and as many times as sets of points, and got {probes} probes, "
            f"{len(times)} times and {len(points)} sets of points; pass path.times[:-1], path.points[:-1]"
        )
    shape = (2, *points.shape[1:])
    draws = [
        torch.randn(shape, dtype=points.dtype, device=points.device, generator=generator)
        for _ in range(len(times) * probes)
    ]
    probe_pairs = torch.stack(draws).unflatten(0, (len(times), probes))  # (N, probes, 2, n, d)
    if at_once or (along is not None and not exact):
        rows, all_pairs = times.to(points).repeat_interleave(points.shape[1]), probe_pairs.movedim(0, 2).flatten(2, 3)
        if along is not None and not exact:
            total = len(times) * quotient_penalty(along, rows, points.flatten(0, 1), all_pairs, step).mean()
        else:
            total = len(times) * _penalty(field, rows, points.flatten(0, 1), all_pairs, exact, step)
    else:
        each = zip(times, points, probe_pairs, strict=True)
        total = torch.stack([_penalty(field, t, y, pairs, exact, step) for t, y, pairs in each]).sum()
    return total / len(times) if reduction == "integral" else total


def _penalty(field: Field, t: Tensor, y: Tensor, probe_pairs: Tensor, exact: bool, step: float | None) -> Tensor:
    """Mean over particles y (n, d) and over probe_pairs (probes, 2, n, d) of the squared antisymmetric part of w."""
    with torch.enable_grad():
        y = y if y.requires_grad else y.detach().requires_grad_()
        w = total_derivative_exact(field, t, y) if exact else total_derivative(field, t, y, step)
    return torch.stack([antisymmetric_penalty(w, y, a, b).mean() for a, b in probe_pairs]).mean()


def kinetic_energy(velocities: Tensor, dt: float | Tensor) -> Tensor:
    r"""Action of a path, averaged over particles (eq. 9).

    .. math:: \mathcal E = \sum_{n=0}^{N-1} \Delta t\; \mathrm{mean}_i\; \tfrac12 |v_{ni}|^2

    Arguments:
        velocities (N, n, d), one set per time step (the first N of a trajectory).
    Returns: 0-dim. An energy over the uniform cube when the particles are uniform in it (a mean, so per unit of
    volume).
    Departure: the released code evaluates the velocity of step n at the position after it.
    """
    return 0.5 * dt * (velocities**2).sum(-1).mean(1).sum()
