r"""FFJORD (Grathwohl et al., 2019): a chain of continuous normalizing flows (CNF) carries data x to a Gaussian z.

Written from the paper. Names and shapes of the state dict are those of the released models, so that such a checkpoint
loads.

.. math::
    \dot y = v(t, y), \qquad \frac{d}{dt} \log \left| \det \frac{\partial y}{\partial x} \right|
    = \mathrm{tr} \frac{\partial v}{\partial y}, \qquad t \in [0, T], \; T = 1.

The network is that of :mod:`third_party.ffjord.network`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torchdiffeq import odeint, odeint_adjoint

from third_party.ffjord.network import ODEFunction, ODENet, Snapshot
from third_party.ffjord.written import Rate, with_written_gradient

SOLVERS = ("dopri5", "rk4")
DIVERGENCES = ("exact", "hutchinson", "rademacher")

State = tuple[Tensor, ...]
Rule = Callable[[Snapshot, Tensor], Rate]  # the network at one time and y: velocity and divergence


class CNF(nn.Module):
    """One continuous flow on [0, T], T = sqrt_end_time^2 a constant."""

    sqrt_end_time: Tensor

    def __init__(self, dim: int, hidden: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("sqrt_end_time", torch.tensor(1.0))
        self.odefunc = ODEFunction(dim, hidden)


class FFJORD(nn.Module):
    r"""A chain of CNFs, f = CNF_{n_blocks-1} o ... o CNF_0, data to Gaussian.

    "dopri5" chooses its steps for the batch as a whole: within the tolerance, z of one sample depends on the others.
    With "rk4" it does not. The solver and its settings are plain attributes: a trained flow may be solved anew with
    others, as in `flow.n_steps = 64`.

    Arguments:
        dim: d.
        hidden: widths of each velocity's hidden layers (at least one).
        n_blocks: CNFs in the chain.
        solver: "dopri5" (adaptive, torchdiffeq; gradients by the adjoint equation) or "rk4" (classical Runge-Kutta;
            gradients through the steps, so exact for the discrete map).
        atol, rtol: tolerances of dopri5.
        n_steps: equal steps per CNF of rk4.
    """

    def __init__(
        self,
        dim: int,
        hidden: Sequence[int] = (64, 64),
        n_blocks: int = 3,
        solver: str = "dopri5",
        atol: float = 1e-5,
        rtol: float = 1e-5,
        n_steps: int | None = None,
    ) -> None:
        super().__init__()
        if dim < 1 or n_blocks < 1 or len(hidden) == 0:
            raise ValueError(f"need dim >= 1, n_blocks >= 1 and a hidden layer, got {dim}, {n_blocks}, {tuple(hidden)}")
        self.dim, self.atol, self.rtol, self.n_steps, self.solver = dim, atol, rtol, n_steps, solver
        self.chain = nn.ModuleList(CNF(dim, hidden) for _ in range(n_blocks))
        self._check_solver()

    def forward(
        self,
        x: Tensor,
        divergence: str = "exact",
        probes: Tensor | None = None,
        generator: torch.Generator | None = None,
        n_steps: int | None = None,
        phase: float | None = None,
    ) -> tuple[Tensor, Tensor]:
        r"""z = f(x), (n, d), and log|det df/dx|, (n,).

        divergence: "exact", the trace, or Hutchinson's estimate :math:`e^\top (\partial v / \partial y)\, e` with an e
        per sample and CNF, kept through the solve, whose mean over e is the trace. "hutchinson": e is Gaussian, as in
        the released code. "rademacher": its entries are 1 or -1, so that the Jacobian's diagonal adds no variance.
        probes: these e, (n_blocks, n, d); without them they are drawn from `generator`. n_steps: of this call by "rk4",
        in place of the flow's own. phase: in (0, 1), shifts the grid of "rk4" by as much of a step, see `grid`; drawn
        at random in training, it keeps the network from learning the error of one grid.
        """
        if divergence not in DIVERGENCES:
            raise ValueError(f"divergence is one of {', '.join(DIVERGENCES)}, got '{divergence}'")
        if divergence != "exact" and probes is None:
            probes = x.new_empty((len(self.chain), *x.shape))
            if divergence == "hutchinson":
                probes.normal_(generator=generator)
            else:
                probes.bernoulli_(generator=generator).mul_(2).sub_(1)
        z, log_det = x, x.new_zeros(len(x))
        for k, cnf in enumerate(self._cnfs()):
            rule = _trace if probes is None or divergence == "exact" else _estimate(probes[k])
            z, log_det = self._solve(cnf, (z, log_det), rule, n_steps=n_steps, phase=phase)
        return z, log_det

    def transform(self, x: Tensor) -> Tensor:
        """z = f(x), without its log-determinant."""
        for cnf in self._cnfs():
            (x,) = self._solve(cnf, (x,))
        return x

    def inverse(self, z: Tensor) -> Tensor:
        """x = f^-1(z): the chain in reverse, each CNF from T to 0; exact up to the solver's error."""
        for cnf in reversed(self._cnfs()):
            (z,) = self._solve(cnf, (z,), reverse=True)
        return z

    def _cnfs(self) -> list[CNF]:
        return cast("list[CNF]", list(self.chain))

    def _check_solver(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver is one of {', '.join(SOLVERS)}, got '{self.solver}'")
        if self.solver == "rk4" and (self.n_steps is None or self.n_steps < 1):
            raise ValueError(f"solver 'rk4' needs n_steps >= 1 per CNF, got {self.n_steps}")

    def _solve(
        self,
        cnf: CNF,
        state: State,
        rule: Rule | None = None,
        reverse: bool = False,
        n_steps: int | None = None,
        phase: float | None = None,
    ) -> State:
        """Carries (y,) or, with a rule, (y, log_det) through one CNF."""
        self._check_solver()
        function = cnf.odefunc
        function.evaluations = 0

        def rate(net: Snapshot, y: Tensor) -> State:
            function.evaluations += 1
            return net.velocity(y)[:1] if rule is None else rule(net, y)

        net, end = function.diffeq, float(cnf.sqrt_end_time) ** 2
        t0, t1 = (end, 0.0) if reverse else (0.0, end)
        n_steps = self.n_steps if n_steps is None else n_steps
        if self.solver == "rk4" and n_steps is not None:
            state = _rk4(net, rate, state, grid(t0, t1, n_steps, phase))
        elif phase is not None:
            raise ValueError(f"a phase shifts the grid of solver 'rk4', got solver '{self.solver}'")
        else:
            times = torch.tensor([t0, t1], dtype=state[0].dtype, device=state[0].device)
            options = {"method": self.solver, "atol": self.atol, "rtol": self.rtol}
            learning = state[0].requires_grad or any(p.requires_grad for p in net.parameters())
            if torch.is_grad_enabled() and learning:
                options["adjoint_params"] = tuple(net.parameters())
                path = odeint_adjoint(lambda t, s: rate(net.at(t[None])[0], s[0]), state, times, **options)
            else:
                path = odeint(lambda t, s: rate(net.at(t[None])[0], s[0]), state, times, **options)
            state = tuple(part[-1] for part in path)
        return state


def _trace(net: Snapshot, y: Tensor) -> Rate:
    velocity, slopes = net.velocity(y)
    return velocity, net.trace(slopes)


def _estimate(e: Tensor) -> Rule:
    def rule(net: Snapshot, y: Tensor) -> Rate:
        layers = [part for layer in zip(net.weights, net.biases, strict=True) for part in layer]
        learning = torch.is_grad_enabled() and net.weights[0].requires_grad
        return (_estimate_written if learning else _estimate_formula)(y, e, *layers)

    return rule


def _estimate_formula(y: Tensor, e: Tensor, *layers: Tensor) -> Rate:
    net = Snapshot(layers[::2], layers[1::2], None)
    velocity, slopes = net.velocity(y)
    return velocity, (net.tangent(slopes, e) * e).sum(1)


_estimate_written = with_written_gradient(_estimate_formula)


def grid(t0: float, t1: float, n: int, phase: float | None = None) -> Tensor:
    r"""Ends of n equal steps from t0 to t1, shape (n + 1,), float64; with a phase u in (0, 1) of n + 1 steps, (n + 2,).

    .. math:: t_0, \; t_0 + u h, \; t_0 + (1 + u) h, \; \dots, \; t_0 + (n - 1 + u) h, \; t_1, \qquad
        h = (t_1 - t_0) / n

    Every time of the inner ends is as likely as any other when u is uniform, so that over u the sum over steps of a
    function of time has no favourite times, which a fixed grid has: a network can be large between its ends, unseen.
    """
    ends = torch.arange(n + 1, dtype=torch.float64) / n
    if phase is not None:
        if not 0.0 < phase < 1.0:
            raise ValueError(f"phase is between 0 and 1, got {phase}")
        ends = torch.cat((ends[:1], ends[:-1] + phase / n, ends[-1:]))
    return t0 + (t1 - t0) * ends


def _rk4(net: ODENet, rate: Callable[[Snapshot, Tensor], State], state: State, ends: Tensor) -> State:
    """Classical Runge-Kutta with a step between each two ends."""
    middles = (ends[1:] + ends[:-1]) / 2
    times = torch.cat((ends[:1], torch.stack((middles, ends[1:]), 1).flatten()))
    nets = net.at(times.to(state[0]))
    steps = ends.diff().tolist()
    for h, start, middle, end in zip(steps, nets[0:-1:2], nets[1::2], nets[2::2], strict=True):
        y = state[0]
        k1 = rate(start, y)
        k2 = rate(middle, y + h / 2 * k1[0])
        k3 = rate(middle, y + h / 2 * k2[0])
        k4 = rate(end, y + h * k3[0])
        state = tuple(s + h / 6 * (a + 2 * (b + c) + d) for s, a, b, c, d in zip(state, k1, k2, k3, k4, strict=True))
    return state
