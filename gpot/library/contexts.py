"""`gpot.fit_contexts(flow, contexts)`: one s(z; c) for all contexts of a conditional flow."""

from __future__ import annotations

import os
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import torch
from torch import Tensor

from gpot.errors import BadConfig, GpotWarning
from gpot.evaluation.estimate import Estimate
from gpot.evaluation.fidelity import Guard, Words
from gpot.evaluation.likelihood import LogDetError, log_det_error
from gpot.flows.adapters import adapt
from gpot.flows.base import FrozenFlow, meet
from gpot.flows.points import as_points, device_of, dtype_of
from gpot.gp.amortized import AmortizedFlow
from gpot.gp.monge import MongeMap
from gpot.gp.rotation import fit_rotation
from gpot.library import saved
from gpot.library.families import Training, described, rebuilt
from gpot.library.loop import Course, descend
from gpot.library.pairs import Pairs, from_prior
from gpot.maths.costs import Cost, as_cost, check_cost

_WORDS = Words("tolerance", "max_steps", "max_steps", "rate", "steps", "more steps")
_CONTEXTS = 256  # that are trained on
_HELD_OUT = 10  # one context in so many is never trained on, and judges
_PROBES = 8  # points whose codes say whether a flow is the one that a map was fitted to
_PER_CONTEXT = 64  # samples at least


@dataclass(frozen=True)
class ContextReport:
    """Means over contexts, those of `contexts` many: E c(x, .) of f, of Q o f with one Q, and of s o f; the
    log-determinant error of s over all of them, nats; costs: of each context, before and after."""

    contexts: int
    before: Estimate
    rotation: Estimate
    after: Estimate
    density: LogDetError
    costs: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        return "\n".join(
            [
                f"cost before           {self.before}   (mean of {self.contexts} contexts)",
                f"cost after rotation   {self.rotation}",
                f"cost after            {self.after}",
                f"log-det error of s    {self.density.mean:.1e} nats on average, {self.density.max:.1e} at most",
            ]
        )


class AmortizedMap:
    """What `gpot.fit_contexts` makes of a conditional flow and many contexts. `at(c)` is the Monge map of one context;
    `report(contexts)`; `save(path)`. gp: s(z; c); course: of the training, None for one that was loaded; held_out:
    contexts (m, k) that were not trained on; seed, seconds: of the training."""

    def __init__(
        self, flow: Any, gp: AmortizedFlow, adapted: dict[str, Any], held_out: Tensor, cost: str | Cost | None,
        seed: int, seconds: float, course: Course | None = None,
    ) -> None:  # fmt: skip
        self.flow, self.gp, self.seed, self.seconds, self.course = flow, gp, seed, seconds, course
        self.cost, self._cost_name, self.held_out = as_cost(cost), saved.cost_name(cost), held_out
        self._adapted = adapted

    def at(self, context: Any) -> MongeMap:
        """x -> s(f(x; c); c) for one context."""
        return MongeMap(_frozen(self.flow, context, self._adapted), self.gp.at(context))

    @torch.no_grad()
    def report(self, contexts: Any = None, n: int = 1000, seed: int = 1) -> ContextReport:
        """On n samples of the flow at each of the contexts (m, k); by default those held out of the training."""
        rows = self.held_out if contexts is None else as_points(contexts)
        costs: tuple[list[Tensor], ...] = ([], [], [])
        joint = []
        for number, context in enumerate(rows):
            x, z = _pairs(_frozen(self.flow, context, self._adapted), n, self.gp.rotation, seed + number)
            s = self.gp.at(context).transport(z)
            images = (z, z @ self.gp.rotation.T, s)
            for kept, image in zip(costs, images, strict=True):
                kept.append(self.cost(x, image).mean())
            joint.append(torch.cat((z[:64], context.to(z).expand(len(z[:64]), -1)), 1))
        means = [torch.stack(kept).double() for kept in costs]
        before, turned, after = (Estimate.of(values) for values in means)
        density = log_det_error(self.gp, torch.cat(joint))
        costs_of_each = tuple(zip(means[0].tolist(), means[2].tolist(), strict=True))
        return ContextReport(len(rows), before, turned, after, density, costs_of_each)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write s and its record to the folder `path`: weights.safetensors and manifest.json, whole or not at all.

        The flow is not in it: `gpot.load(path, flow)` takes it, and knows it again by the codes of a few points at the
        first of the held-out contexts.
        """
        frozen = _frozen(self.flow, self.held_out[0], self._adapted)
        x, z = _pairs(frozen, _PROBES, self.gp.rotation, self.seed)
        tensors = {f"gp.{name}": tensor for name, tensor in self.gp.state_dict().items()}
        tensors |= {"probe.x": x, "probe.z": z, "contexts": self.held_out}
        manifest = {
            "flow": saved.described_flow(frozen.flow, self.gp.dim, x.dtype), "gp": described(self.gp),
            "cost": self._cost_name, "seed": self.seed, "seconds": self.seconds,
        }  # fmt: skip
        return saved.write(path, tensors, manifest)


def loaded_contexts(
    folder: Path, manifest: dict[str, Any], tensors: saved.Tensors, flow: Any, base: Any,
    log_det: Literal["given", "exact"], device: torch.device | str | None,
) -> AmortizedMap:  # fmt: skip
    """The map of a folder that `AmortizedMap.save` wrote, for its flow. Raises: as `gpot.load`."""
    known, probes = manifest["flow"], tensors["probe.x"]
    options, contexts = {"base": base, "dim": known["dim"], "log_det": log_det}, tensors["contexts"]
    frozen = _frozen(flow, contexts[0], options)
    saved.check_flow(folder, known, frozen, probes, tensors["probe.z"])
    gp = rebuilt(manifest["gp"]).to(probes.dtype)
    gp.load_state_dict(saved.named("gp.", tensors))
    gp = gp.to(device or device_of(frozen.flow)).eval().requires_grad_(False)
    cost = saved.cost_named(manifest["cost"])
    return AmortizedMap(flow, cast(AmortizedFlow, gp), options, contexts, cost, manifest["seed"], manifest["seconds"])


def fit_contexts(
    flow: Any, contexts: Any, *, base: Any = None, dim: int | None = None,
    log_det: Literal["given", "exact"] = "given", cost: str | Cost | None = None, n_prior: int | None = None,
    steps: int | None = None, rate: float | None = None, batch: int | None = None, tolerance: float = 1e-3,
    max_steps: int = 64, seed: int = 0, time_limit: float | None = None, progress: bool = True, width: int = 128,
) -> AmortizedMap:  # fmt: skip
    """Train s(z; c) on samples of the flow at many contexts, of which one in ten is held out and judges.

    contexts: (m, k), or a function n -> (n, k) that draws n of them. width: neurons of s. The other arguments are those
    of :func:`gpot.fit`, which takes one context.
    """
    start = time.monotonic()
    options = {"base": base, "dim": dim, "log_det": log_det}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        rows = as_points(contexts(_CONTEXTS) if callable(contexts) else contexts)
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:_CONTEXTS].to(rows.device)
    rows = rows[order]
    n_held = max(1, len(rows) // _HELD_OUT)
    if len(rows) - n_held < 2:
        raise BadConfig(f"s(z; c) is trained on at least 3 contexts, and got {len(rows)}; pass more, or one: context=c")
    first = _frozen(flow, rows[0], options)
    meet(first.flow)
    like = torch.zeros(0, dtype=dtype_of(first.flow), device=device_of(first.flow))
    per_context = max(_PER_CONTEXT, (n_prior or 65_536) // len(rows))
    parts = []
    for number, row in enumerate(rows):
        x, z = _pairs(_frozen(flow, row, options), per_context, like, seed + number)
        parts.append((x, torch.cat((z, row.to(z).expand(len(z), -1)), 1)))
    held, trained = (_shuffled(group, seed) for group in (parts[:n_held], parts[n_held:]))
    pairs = Pairs(*trained, *held, "prior", 0)

    measured = as_cost(cost)
    check_cost(measured, held[0], held[1][:, : first.dim])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gp = AmortizedFlow(first.dim, rows.shape[1], width).to(like.device, like.dtype)
    gp.standardize(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GpotWarning)  # which concern one context
        gp.set_rotation(fit_rotation(pairs.x, pairs.z[:, : gp.dim], cost=measured))
    training = Training(rate or (1e-2 if gp.dim == 2 else 2e-3), batch or 1000, steps or 2000, len(pairs.x))
    until = None if time_limit is None else start + time_limit
    guard, generator = Guard(gp, tolerance, max_steps, _WORDS), torch.Generator().manual_seed(seed)
    course = descend(gp, pairs, measured, guard, training, generator, until, progress)
    gp.eval().requires_grad_(False)
    seconds = time.monotonic() - start
    return AmortizedMap(flow, gp, options, rows[:n_held].cpu(), cost, seed, seconds, course)


def _frozen(flow: Any, context: Any, options: dict[str, Any]) -> FrozenFlow:
    return FrozenFlow(adapt(flow, context=context, **options), graph=True, check=False)


def _pairs(frozen: FrozenFlow, n: int, like: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    drawn = from_prior(frozen, n, like, seed, None, False)
    return drawn.x, drawn.z


def _shuffled(parts: list[tuple[Tensor, Tensor]], seed: int) -> tuple[Tensor, Tensor]:
    x, z = (torch.cat(group) for group in zip(*parts, strict=True))
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed)).to(x.device)
    return x[order], z[order]
