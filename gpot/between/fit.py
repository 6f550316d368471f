r"""The fit of a Monge map between two flows: min over s of E c(x, g^-1(s(f(x)))), x ~ P.

Prior samples z ~ N(0, I) stand for f(x), x = f^-1(z): no data is needed. The steps: the rotation of s, by descent from
several starts (for a general g there is no closed form); then the velocity, by Adam or Muon with one cycle of the
learning rate, under a guard: the log-determinant error is measured on held-out points, the time grid is refined where
it passes its tolerance, and only parameters that keep the Gaussian are kept.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gpot.between.maps import MongeBetween
from gpot.between.measure import measure
from gpot.errors import BadInput, TrainingDiverged
from gpot.evaluation.fidelity import Best, Guard, Words
from gpot.flows.base import Flow
from gpot.flows.implicit import Map, differentiable_inverse, orientation
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.optimizer import Descent, known_descent, optimizer_of
from gpot.gp.rotation import descend_rotation
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.charts import Chart
from gpot.maths.costs import Cost, as_cost, check_cost, descended
from gpot.maths.schedule import cycle
from gpot.maths.transport import procrustes

MAX_LOST = 0.01  # share of the points that may have no image under g^-1 (flows that are not onto)
ROTATION_POINTS = 2048
RANDOM_STARTS = 16
GUARD_POINTS = 512
CHECKS = 20  # looks at the held-out cost and at the law, in a fit
# of the gradient's norm. Few points, in the gaps between the parts of Q, where g is flat and g^-1 steep, carry the mass
# from one part to another and most of the gradient: a norm of 1 cut them off, and the cost stalled 2 % higher
CLIP = 10.0
_WORDS = Words("tolerance", "max_steps", "n_steps", "lr", "steps", "gp=GaussianPreservingFlow(..., 'gaussian', 8)")
_ROWS = 8192  # pulled back at a time


def monge_between(
    source: Flow,
    target: Flow,
    *,
    cost: str | Cost | None = None,
    gp: GaussianPreserving | None = None,
    n: int = 20_000,
    n_held_out: int = 2048,
    steps: int = 2000,
    batch_size: int = 512,
    lr: float = 1e-2,
    optimizer: Descent | str = Descent.adam,
    tolerance: float = 1e-3,
    max_steps: int = 64,
    time_limit: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> MongeBetween:
    r"""T = g^-1 o s o f of least E c(x, T(x)), f = `source`, g = `target`; `.report` says how good it is.

    Arguments:
        source, target: f and g.
        cost: |x - y|^2 by default; a name or a function, see :func:`gpot.maths.costs.as_cost`.
        gp: s with fresh parameters, by default a ridge field of 128 neurons in the chart `direct` with 5 time steps.
        n: prior samples, used over and over.
        n_held_out: further ones, behind the choice of the best parameters and the report.
        steps, batch_size, lr: of the optimizer; a gradient is clipped to the norm 10.
        optimizer: "adam" or "muon".
        tolerance: of the mean log-determinant error, nats.
        max_steps: the finest time grid.
        time_limit: seconds of the descent, which ends there (the best parameters until then are the result).
        progress: called at each look with steps done, steps, held-out cost.

    The gradient passes through g^-1, which is steep where Q has gaps. Of two laws take as the target the one with fewer
    of them: the map the other way is `.reversed()`, of the same cost.

    Raises: FidelityLost where no parameters kept the law, TrainingDiverged where a loss is not finite, BadInput where
    more than 1 % of the points have no image.
    """
    started, optimizer = time.monotonic(), known_descent(optimizer)
    chosen = as_cost(cost)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gp = GaussianPreservingFlow(RidgeVelocity(source.dim, 128), Chart.direct, 5) if gp is None else gp
    map_ = MongeBetween(source, target, gp)
    z = torch.randn(n + 2 * n_held_out, source.dim, generator=generator).to(gp.rotation)
    train, held_out, other = z[:n], z[n : n + n_held_out], z[n + n_held_out :]
    x = torch.cat([map_.source.inverse(rows) for rows in train.split(_ROWS)])
    kept = _mostly_finite(x, "f^-1")
    train, x = train[kept], x[kept]
    back = differentiable_inverse(map_.target, train[:4])
    check_cost(chosen, x[:100], back(train[:100]).detach().nan_to_num())
    rows = slice(0, ROTATION_POINTS)
    gp.set_rotation(best_rotation(x[rows], train[rows], back, _sign(map_, x[:64]), descended(chosen, 1.0), generator))
    x_held = map_.source.inverse(held_out)
    before = (_cost(chosen, x_held, map_.target.inverse(held_out)), _cost(chosen, x_held, _rotated(map_, held_out)))
    guard, best, state = Guard(gp, tolerance, max_steps, _WORDS), Best(), copy.deepcopy(gp.state_dict())
    descent = optimizer_of(gp, optimizer, lr)
    every = max(1, steps // CHECKS)
    for step in range(steps):
        batch = torch.randint(len(x), (batch_size,), generator=generator).to(x.device)
        y = back(gp.transport(train[batch]))
        finite = _mostly_finite(y, "g^-1")
        loss = descended(chosen, step / max(1, steps - 1))(x[batch][finite], y[finite]).mean()
        if not loss.isfinite():
            raise TrainingDiverged(f"the cost must stay finite; it is {loss.item()} at step {step}. Lower lr={lr:g}.")
        for group in descent.param_groups:
            group["lr"] = lr * max(cycle(step / steps), 1e-4)
        descent.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(gp.parameters(), CLIP)
        descent.step()
        out_of_time = time_limit is not None and time.monotonic() - started > time_limit
        if (step + 1) % every == 0 or step + 1 == steps or out_of_time:
            value = _cost(chosen, x_held, map_.target.inverse(gp.transport(held_out).detach()))
            while guard.judge(guard.measure(held_out[:GUARD_POINTS]), f"step {step + 1}") is not None:
                pass  # refined
            if best.offer(value, step):
                state = copy.deepcopy(gp.state_dict())
            if progress is not None:
                progress(step + 1, steps, value)
        if out_of_time:
            break
    if best.at < 0:
        raise guard.nothing_kept()
    gp.load_state_dict(state)
    gp.eval().requires_grad_(False)
    map_.report = measure(map_, held_out, other, chosen, before, time.monotonic() - started)
    return map_


def best_rotation(
    x: Tensor, z: Tensor, back: Map, sign: int, cost: Cost, generator: torch.Generator, starts: int = RANDOM_STARTS
) -> Tensor:
    """Q (d, d) with det Q = sign of small mean c(x, g^-1(Q z)), x, z (n, d): descent from the best of several starts.

    The starts: I, `starts` random ones, and the best Q for the affine map A z + b nearest to g^-1 (Procrustes of
    (A^T x, z), exact for a g that is affine and the squared Euclidean cost).
    """
    dim = z.shape[1]
    flip = torch.ones(dim)
    flip[0] = float(sign)
    with torch.no_grad():
        y = back(z)
        finite = y.isfinite().all(1)
        ones = torch.ones_like(z[finite][:, :1])
        affine = torch.linalg.lstsq(torch.cat([z[finite], ones], 1), y[finite]).solution[:dim].T
    nearest = procrustes(x @ affine, z, allow_reflection=True)
    nearest = nearest if torch.linalg.det(nearest).sign().item() == sign else procrustes(x @ affine, z * flip) * flip
    candidates = [torch.diag(flip).to(z), nearest.to(z)]
    for _ in range(starts):
        q = torch.linalg.qr(torch.randn(dim, dim, generator=generator)).Q
        q[:, 0] *= torch.linalg.det(q).sign() * sign
        candidates.append(q.to(z))

    def objective(q: Tensor) -> Tensor:
        y = back(z @ q.T)
        rows = y.isfinite().all(1)
        if rows.float().mean() < 1.0 - MAX_LOST:
            return (q - q).sum() + torch.inf
        return cost(x[rows], y[rows]).mean()

    q = descend_rotation(objective, candidates)
    u, _, vh = torch.linalg.svd(q.double())  # the exponential is orthogonal to rounding, and this is to float64's
    return (u @ vh).to(z)


def _sign(map_: MongeBetween, x: Tensor) -> int:
    """det s must have the sign of det g' det f': then T keeps the orientation, as a Monge map does (Lemma 1)."""
    y = map_.target.inverse(map_.source.transform(x))
    return orientation(map_.source, x) * orientation(map_.target, y[y.isfinite().all(1)])


def _rotated(map_: MongeBetween, z: Tensor) -> Tensor:
    return map_.target.inverse(z @ map_.gp.rotation.T)


def _cost(cost: Cost, x: Tensor, y: Tensor) -> float:
    """Mean over the rows that have an image."""
    rows = (x.isfinite() & y.isfinite()).all(1)
    return cost(x[rows], y[rows]).mean().item()


def _mostly_finite(y: Tensor, what: str) -> Tensor:
    """The rows (n,) that are finite; BadInput if more are not than chance has of 1 % (four standard deviations)."""
    finite = y.detach().isfinite().all(1)
    lost, expected = int((~finite).sum()), MAX_LOST * len(y)
    if lost > expected + 4.0 * math.sqrt(expected):
        raise BadInput(
            f"{what} is needed on the whole Gaussian side, and {lost} of {len(y)} points have no image; the flow is "
            "far from onto there: train it longer, or take one whose image is all of R^d (FFJORD, CP-Flow, splines)"
        )
    return finite
