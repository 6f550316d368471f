"""The training of s outside of the experiments: one cycle of the learning rate, under the guard of the law, until the
held-out cost stops falling or the time is over."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from gpot.errors import FidelityLost, OutsideCube, TrainingDiverged
from gpot.evaluation.fidelity import Best, Fidelity, Guard
from gpot.gp.base import GaussianPreserving
from gpot.gp.optimizer import optimizer_of
from gpot.library.families import Training
from gpot.library.pairs import Pairs
from gpot.maths.costs import Cost, descended
from gpot.maths.schedule import cycle

log = logging.getLogger(__name__)

_VALIDATIONS = 20
_LOOK = 200  # steps after which the Gaussian is looked at, where validations are further apart
_GUARD_POINTS = 256  # held-out points of the exact log-determinant: its mean is then known to some 5 percent
COST_POINTS = 2048  # held-out pairs of the cost: enough to see it fall
PATIENCE = 4  # validations without a fall
_FALL = 1e-3  # of the cost, below which it does not count as falling
_TAIL = 0.15  # of the steps, over which the learning rate goes to 0 once the cost stops falling
_CLIP = 1.0


@dataclass(frozen=True)
class Validation:
    """One look at held-out pairs: the step, seconds since the start, cost, mean log-determinant error, time steps."""

    step: int
    seconds: float
    cost: float
    log_det_error: float
    n_steps: int | None


@dataclass(frozen=True)
class Course:
    """How a training went: its validations, the one that was kept (0: before the first step), and why it ended."""

    validations: tuple[Validation, ...]
    kept: int
    steps: int
    refinements: int
    ended: str


def descend(
    gp: GaussianPreserving,
    pairs: Pairs,
    cost: Cost,
    guard: Guard,
    training: Training,
    generator: torch.Generator,
    until: float | None = None,
    progress: bool = True,
    clock: Callable[[], float] = time.monotonic,
    observe: Callable[[Validation], None] | None = None,
    patience: int | None = PATIENCE,
) -> Course:
    """Train s on pairs (x, z): gp holds the best validation that keeps the Gaussian when this returns.

    until: the time at which the cycle ends. clock: what that and the seconds of validations are measured by. observe:
    called after each validation, while gp is as it was measured. patience: validations without a fall of the cost,
    after which the cycle is brought to its end; None: never. Raises: FidelityLost where no validation keeps the
    Gaussian; TrainingDiverged where the loss is not finite.
    """
    optimizer = optimizer_of(gp, training.optimizer, training.rate)
    start, every = clock(), max(1, training.steps // _VALIDATIONS)
    z_guard, best, state = pairs.z_held[:_GUARD_POINTS], Best(), copy.deepcopy(gp.state_dict())
    x_held, z_held = pairs.x_held[:COST_POINTS], pairs.z_held[:COST_POINTS]
    validations: list[Validation] = []
    since, level, tail, ended = 0, math.inf, None, "all steps done"
    step = 0

    def judge(fidelity: Fidelity) -> None:
        if refined := guard.judge(fidelity, f"step {step}"):
            log.warning("%s", refined)

    def validate() -> None:
        nonlocal state, since, level
        fidelity = guard.measure(z_guard)
        with torch.no_grad():
            value = cost(x_held, gp.transport(z_held)).mean().item()
        n_steps = gp.n_steps
        judge(fidelity)
        if best.offer(value, step, guard.within):
            state = copy.deepcopy(gp.state_dict())
        validations.append(Validation(step, clock() - start, value, fidelity.error.mean, n_steps))
        if observe is not None:
            observe(validations[-1])
        if guard.within and value < level * (1 - _FALL):
            level, since = value, 0
        else:
            since += 1

    with _shown(training.steps, progress) as show:
        try:
            validate()
            while True:
                position = _position(step, training.steps, tail, start, until, clock)
                if position >= 1.0:
                    break
                for group in optimizer.param_groups:
                    group["lr"] = training.rate * max(cycle(position), 1e-4)
                rows = torch.randint(len(pairs.x), (min(training.batch, len(pairs.x)),), generator=generator)
                rows = rows.to(pairs.x.device)
                loss = descended(cost, position)(pairs.x[rows], gp.transport(pairs.z[rows])).mean()
                if not torch.isfinite(loss):
                    raise TrainingDiverged(
                        f"the cost is {loss.item()} at step {step}; lower the rate: rate={training.rate / 3:.1g}"
                    )
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(gp.parameters(), _CLIP)
                optimizer.step()
                step += 1
                if step % every == 0:
                    validate()
                    show(step, validations[-1])
                    if tail is None and patience is not None and since >= patience and position > 0.3:
                        tail, ended = (step, position), "the held-out cost stopped falling"
                elif step % _LOOK == 0:
                    judge(guard.measure(z_guard))
            validate()
            if until is not None and step < training.steps and tail is None:
                ended = "the time was over"
        except (FidelityLost, OutsideCube) as error:
            if best.at < 0:
                raise
            ended = str(error)
            log.warning("training ends early, and step %d is kept. %s", best.at, error)
    if best.at < 0:
        raise guard.nothing_kept()
    gp.load_state_dict(state)
    return Course(tuple(validations), best.at, step, guard.refinements, ended)


def _position(
    step: int, steps: int, tail: tuple[int, float] | None, start: float, until: float | None, clock: Callable[[], float]
) -> float:
    """Where in the cycle a step is: by the steps, or by the clock if that is ahead, or in the tail."""
    position = step / steps
    if tail is not None:
        position = max(position, tail[1] + (1 - tail[1]) * (step - tail[0]) / max(1.0, _TAIL * steps))
    if until is not None:
        position = max(position, (clock() - start) / max(1e-9, until - start))
    return position


@contextmanager
def _shown(steps: int, progress: bool) -> Iterator[Callable[[int, Validation], None]]:
    """A bar in a terminal, and lines through `logging` elsewhere."""
    console = Console(stderr=True)

    def words(validation: Validation) -> str:
        return f"cost {validation.cost:.4g}  log-det error {validation.log_det_error:.1e}"

    if not progress:
        yield lambda step, validation: None
    elif not console.is_interactive:
        yield lambda step, validation: log.info("step %d/%d  %s", step, steps, words(validation))
    else:
        columns = (TextColumn("train s"), BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("ETA"),
                   TimeRemainingColumn(), TextColumn("{task.fields[words]}"))  # fmt: skip
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("", total=steps, words="")
            yield lambda step, validation: bar.update(task, completed=step, words=words(validation))
