"""`gpot.fit`: a trained flow in, its Monge map out."""

from __future__ import annotations

import dataclasses
import logging
import time
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from gpot.data.points import Standardization
from gpot.errors import BadConfig, FlowRefused, GpotWarning
from gpot.evaluation.fidelity import Guard, Words
from gpot.flows.adapters import adapt
from gpot.flows.base import FrozenFlow, meet
from gpot.flows.handshake import Handshake, handshake
from gpot.flows.points import as_points, device_of, dtype_of
from gpot.gp.base import GaussianPreserving
from gpot.gp.optimizer import Descent, known_descent
from gpot.gp.rotation import fit_rotation
from gpot.gp.velocity import Velocity
from gpot.library.families import described, family, rest, training_of
from gpot.library.fitted import FittedMap, Record
from gpot.library.loop import COST_POINTS, Course, descend
from gpot.library.pairs import PRIOR, Pairs, from_data, from_prior
from gpot.library.saved import cost_name
from gpot.library.units import Units, names_of
from gpot.maths.charts import Chart
from gpot.maths.costs import ControlledEuclidean, Cost, Euclidean, as_cost, check_cost

log = logging.getLogger(__name__)

_DRAWING = 0.3  # share of the time limit that may go into samples
_WORDS = Words("tolerance", "max_steps", "max_steps", "rate", "steps", "chart='gaussian'")


def fit(
    flow: Any,
    x: Any = None,
    *,
    context: Any = None,
    base: Any = None,
    dim: int | None = None,
    log_det: Literal["given", "exact"] = "given",
    standardized: bool | Standardization = False,
    columns: Sequence[str] | None = None,
    cost: str | Cost | None = None,
    velocity: str | Velocity | GaussianPreserving = "auto",
    chart: Chart | str = Chart.direct,
    reflection: bool | Literal["auto"] = "auto",
    source: Literal["auto", "prior", "data"] = "auto",
    n_prior: int | None = None,
    steps: int | None = None,
    rate: float | None = None,
    batch: int | None = None,
    optimizer: Descent | str | None = None,
    tolerance: float = 1e-3,
    max_steps: int = 64,
    seed: int = 0,
    time_limit: float | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> FittedMap:
    """Train the Gaussian-preserving s that makes s o f a Monge map, and return that map.

    The flow is adapted by its type (:func:`gpot.adapt`), frozen in place, and looked at on a few rows first; one that
    does not keep to the convention is refused with nothing trained. s is the best rotation, in closed form, then a
    velocity trained over one cycle on pairs (x, f(x)): samples of the flow's own law, x = f^-1(z), wherever f
    has an inverse, since a table of data is soon learned by heart; else data. The Gaussian is kept as in the
    experiments: a validation that changes the density by more than `tolerance` nats on average is never kept. Training
    stops early when the cost of held-out pairs stops falling, and what is returned is the best validation.

    Arguments: flow: of zuko, nflows, normflows, Pyro, FrEIA, torchflows, a Module with forward and inverse, or a pair
    of functions. x: data (n, d), a tensor, an array or a table; needed where f has no inverse, and otherwise for the
    check of the codes' law and for the cost of data in the report. context, base, dim, log_det: see
    :func:`gpot.adapt`. standardized: f is of standardized columns, and x is not: by the mean and standard deviation of
    x, or by these; the map is then one of x, with densities and a report in the units of the data. columns: their
    names, for the report. cost: c(x, y) -> (n,), or "l1", "l1.5", ...; None is |x - y|^2. velocity: "auto" (what is
    best in that dimension), "ridge", "deep_ridge", "series", "mlp", "twist", a Velocity or a map s. chart: of the
    velocity. reflection: whether Q may have det -1; "auto": where f reverses orientation. source: what to train on.
    n_prior, steps, rate, batch: scale (None: of the family). optimizer: "adam" or "muon" (None: of the family).
    tolerance: nats. max_steps: finest time grid. seed: of everything drawn; results repeat bit by bit without a
    time_limit. time_limit: seconds. device: where to (the flow is moved). progress: show it.
    Returns: the map, with `report()`, `plot()` and `save(path)`.
    """
    start, descent = time.monotonic(), None if optimizer is None else known_descent(optimizer)
    if time_limit is not None and not time_limit > 0:
        raise BadConfig(f"time_limit is in seconds, and got {time_limit}; type time_limit=60")
    width = None if x is None else (x.shape[1] if hasattr(x, "shape") and len(x.shape) == 2 else len(x[0]))
    adapted = adapt(flow, context=context, base=base, dim=dim or width, log_det=log_det)
    if device is not None:
        adapted = adapted.to(device)
    frozen = FrozenFlow(adapted, graph=True, check=False)
    units = _units(x, standardized, columns)
    here = dtype_of(adapted), device_of(adapted)
    if x is None:
        data = None
    else:
        data = as_points(x if units is None else units.enter(x, torch.zeros(0, dtype=here[0], device=here[1])), *here)
    if data is not None and data.shape[1] != frozen.dim:
        raise FlowRefused(f"the flow has the dimension {frozen.dim}, and the data {data.shape[1]} columns")
    meeting = _met(frozen, data, reflection)
    if data is None and meeting is not None and not meeting.invertible:
        raise FlowRefused(f"{meeting.notes[0]}. Without an inverse there are no samples: pass data, gpot.fit(flow, x)")
    frozen.meeting = meeting
    notes = list(meeting.notes) if meeting is not None else []
    deadline = None if time_limit is None else start + time_limit

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        gp = family(velocity, frozen.dim, chart)
    like = torch.zeros(0, dtype=dtype_of(adapted, torch.float32 if data is None else data.dtype),
                       device=device_of(adapted) if data is None else data.device)  # fmt: skip
    gp = gp.to(like.device, like.dtype)
    usual = training_of(gp, descent)
    training = dataclasses.replace(
        usual, rate=rate or usual.rate, batch=batch or usual.batch, steps=steps or usual.steps,
        pairs=n_prior or usual.pairs,
    )  # fmt: skip
    until = None if time_limit is None else start + _DRAWING * time_limit
    pairs = _pairs(frozen, data, source, meeting, training.pairs, like, seed, until, progress)
    if pairs.lost:
        notes.append(f"{pairs.lost} Gaussian draws lay outside the image of f, and were left out of the training")

    measured = as_cost(cost)
    check_cost(measured, pairs.x_held, pairs.z_held)
    reflect = (meeting is not None and meeting.orientation < 0) if reflection == "auto" else bool(reflection)
    if reflect and reflection == "auto":
        notes.append("f reverses orientation (det df/dx < 0), so the rotation of s is a reflection")
    with warnings.catch_warnings():
        if meeting is not None:  # the orientation of f is known, so that of the rotation is no question
            warnings.filterwarnings("ignore", message="the best rotation costs")
        gp.set_rotation(fit_rotation(pairs.x, pairs.z, reflect, cost=measured))
    with torch.no_grad():
        if (
            not reflect
            and measured(pairs.x_held, pairs.z_held @ gp.rotation.T).mean()
            > measured(pairs.x_held, pairs.z_held).mean()
        ):
            gp.set_rotation(torch.eye(gp.dim))  # f needs none, and the sample's is noise
        turned = measured(pairs.x_held[:COST_POINTS], pairs.z_held[:COST_POINTS] @ gp.rotation.T).mean().item()
    course = _trained(gp, pairs, measured, tolerance, max_steps, training, seed, deadline, progress, turned)
    gp.eval().requires_grad_(False)
    for note in notes:
        warnings.warn(note, GpotWarning, stacklevel=2)
    record = Record(
        gp=described(gp), source=pairs.source, n_train=len(pairs.x), seed=seed, tolerance=tolerance,
        cost=cost_name(cost),
        steps=course.steps, kept=course.kept, refinements=course.refinements, ended=course.ended,
        seconds=time.monotonic() - start, notes=tuple(notes),
        log_det_error_of_f=None if meeting is None else meeting.log_det_error,
        units=None if units is None else units.described(),
    )  # fmt: skip
    return FittedMap(frozen, gp, record, held_out=(pairs.x_held, pairs.z_held), data=data, cost=measured, course=course)


def _units(x: Any, standardized: bool | Standardization, columns: Sequence[str] | None) -> Units | None:
    if standardized is False:
        return None
    names = names_of(x) if columns is None else tuple(columns)
    if isinstance(standardized, Standardization):
        return Units(standardized, names)
    if x is None:
        raise BadConfig("standardized=True takes means and scales from data: gpot.fit(flow, x, standardized=True)")
    return Units.of(x, names)


def _met(frozen: FrozenFlow, data: Tensor | None, reflection: bool | str) -> Handshake | None:
    orientation = 1 if reflection is False else None
    if data is not None:
        return handshake(frozen.flow, data, data=True, orientation=orientation)
    meeting = meet(frozen.flow)
    if meeting is not None and orientation is not None and meeting.orientation < 0:
        raise FlowRefused(
            "the flow reverses orientation (det df/dx < 0), which no flow of s undoes; type reflection='auto'"
        )
    return meeting


def _pairs(
    frozen: FrozenFlow, data: Tensor | None, source: str, meeting: Handshake | None, n: int, like: Tensor, seed: int,
    until: float | None, progress: bool,
) -> Pairs:  # fmt: skip
    if source not in ("auto", "prior", "data"):
        raise BadConfig(f"source is 'auto', 'prior' or 'data', and got {source!r}")
    invertible = meeting is None or meeting.invertible
    if source == "prior" or (source == "auto" and invertible):
        return from_prior(frozen, n, like, seed, until, progress)
    if data is None:
        raise BadConfig("source='data' needs data; type gpot.fit(flow, x)")
    return from_data(frozen, data, seed)


def _trained(
    gp: GaussianPreserving, pairs: Pairs, cost: Cost, tolerance: float, max_steps: int, training: Any, seed: int,
    deadline: float | None, progress: bool, turned: float,
) -> Course:  # fmt: skip
    guard = Guard(gp, tolerance, max_steps, _WORDS)
    generator = torch.Generator().manual_seed(seed)
    if isinstance(cost, Euclidean) and pairs.source == PRIOR:  # whose z are Gaussian
        cost = ControlledEuclidean.of(pairs.x)
    course = descend(gp, pairs, cost, guard, training, generator, deadline, progress)
    reached = min((v.cost for v in course.validations if v.step == course.kept), default=turned)
    if reached >= turned:
        rest(gp)
        log.info("no training lowered the cost of held-out pairs below that of the rotation, which is kept alone")
    return course
