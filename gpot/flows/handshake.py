"""What a flow must keep to, looked at on a few of its own rows before anything is built on it.

A flow of gpot maps x (n, d) to (z, log|det df/dx|), shapes (n, d) and (n,), row by row, the same twice, in the dtype
and on the device of x; its inverse maps z back. Libraries differ in each of these, and a wrong sign or shape broadcasts
into a wrong number without a word. Every failure here is one sentence that names what was found and what to type.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpot.errors import FlowRefused, InverseNotAvailable
from gpot.flows.codes import Law, law_of
from gpot.flows.results import checked_inverse, checked_result, forward_of, inverse_of, jacobian_of, name_of
from gpot.maths.transport import gaussian_log_density

ROWS = 8  # of which the exact Jacobian is taken: a convention shows on any of them
LARGEST_DIM = 512  # above it no Jacobian is taken
_WRONG = 0.02  # nats, and a hundredth of log|det|: more than rounding or a solver does, less than any convention
_WRONG_DIFFERENCES = 0.1  # nats, where the Jacobian comes from finite differences
_FAR = 0.05  # of the spread of the points: a round trip that misses by more is not an inverse
LAW_ROWS = 100  # fewer codes say little of their law


@dataclass(frozen=True)
class Handshake:
    """What was found of a flow that keeps to the convention.

    log_det_error: largest |log_det - exact| of the rows, nats (NaN where no Jacobian was taken). orientation: the sign
    of det df/dx. round_trip: largest |f^-1(f(x)) - x|, or None without an inverse. law: of the codes of data, or None.
    notes: sentences for the user.
    """

    log_det_error: float
    orientation: int
    round_trip: float | None
    law: Law | None
    notes: tuple[str, ...]

    @property
    def invertible(self) -> bool:
        """Whether f has an inverse."""
        return self.round_trip is not None


def handshake(
    flow: Any,
    x: Tensor,
    *,
    data: bool = False,
    orientation: int | None = None,
    generator: torch.Generator | None = None,
) -> Handshake:
    """Look at a flow on rows x (n, d) that it is at home on: data, or pulled back from the Gaussian.

    data: x are samples of the law that f was trained on, so the law of its codes is looked at too. orientation: the
    sign that det df/dx is to have, if only one will do. Raises: FlowRefused, with nothing done.
    """
    name = name_of(flow)
    few = x[:ROWS]
    z, log_det = forward_of(flow, few)
    _check_numbers(name, few, z, log_det)
    _check_the_same(flow, few, z, log_det)
    error, sign = _check_log_det(flow, few, z.detach(), log_det.detach(), orientation)
    round_trip, notes = _check_inverse(flow, few, z.detach())
    law = None
    if data and len(x) >= LAW_ROWS:
        law, law_notes = _check_law(flow, x, round_trip is not None, generator)
        notes += law_notes
    return Handshake(error, sign, round_trip, law, tuple(notes))


def _check_numbers(name: str, x: Tensor, z: Tensor, log_det: Tensor) -> None:
    for what, values in (("z", z), ("log_det", log_det)):
        if values.dtype != x.dtype:
            raise FlowRefused(
                f"{name} gets points of {x.dtype} and returns {what} of {values.dtype}; keep the dtype of x "
                f"(constants made with torch.zeros(..., dtype=x.dtype)), or type flow.to({values.dtype})"
            )
        if values.device != x.device:
            raise FlowRefused(
                f"{name} gets points on {x.device} and returns {what} on {values.device}; register constants as "
                "buffers, so that flow.to(device) moves them"
            )
        lost = int((~values.reshape(len(x), -1).isfinite().all(1)).sum())
        if lost:
            raise FlowRefused(
                f"{what} of {name} is not finite for {lost} of {len(x)} rows of its own domain; check its weights for "
                "NaN, and that points are scaled as in its training"
            )


def _check_the_same(flow: Any, x: Tensor, z: Tensor, log_det: Tensor) -> None:
    name, slack = name_of(flow), 1e3 * torch.finfo(x.dtype).eps
    again, again_log_det = forward_of(flow, x)
    if not torch.allclose(again, z, rtol=slack, atol=slack * 10):
        raise FlowRefused(
            f"{name} maps the same rows to codes that differ by {(again - z).abs().max().item():.2g}; it has noise or "
            "dropout that eval() does not turn off: take it out for a frozen flow"
        )
    if not torch.allclose(again_log_det, log_det, rtol=slack, atol=slack * 10):
        raise FlowRefused(
            f"log_det of {name} differs by {(again_log_det - log_det).abs().max().item():.2g} nats between calls: a "
            'trace estimator; ask the flow for its exact trace, or type gpot.fit(flow, log_det="exact")'
        )
    alone, _ = forward_of(flow, x[:1])
    if not torch.allclose(alone, z[:1], rtol=1e-2, atol=1e-2):
        raise FlowRefused(
            f"{name} maps a row to a code that depends on the other rows (off by "
            f"{(alone - z[:1]).abs().max().item():.2g}): a normalization over the batch; use its running averages, "
            "with flow.eval()"
        )


def _check_log_det(flow: Any, x: Tensor, z: Tensor, log_det: Tensor, orientation: int | None) -> tuple[float, int]:
    """The largest error in nats, and the sign of det df/dx."""
    name, d = name_of(flow), x.shape[1]
    if d > LARGEST_DIM:
        return math.nan, 1
    matrices, exactly = jacobian_of(flow, x)
    sign, exact = torch.linalg.slogdet(matrices.double())
    claim, tolerance = log_det.double(), _WRONG if exactly else _WRONG_DIFFERENCES

    def near(values: Tensor) -> bool:
        return bool(((values - exact).abs() <= tolerance + 0.01 * exact.abs()).all())

    if not near(claim):
        guesses = {
            "the log-determinant of the inverse: return its negative": -claim,
            "log p(x), the density and not the determinant: subtract log N(z; 0, I)": claim
            - gaussian_log_density(z.double()),
            "the determinant itself: return its logarithm": claim.abs().log(),
            f"a mean over the {d} coordinates: return the sum": claim * d,
            "a sum over the batch: return one value per row": claim / len(x),
        }
        guess = next((words for words, values in guesses.items() if near(values)), None)
        off = (claim - exact).abs().max().item()
        raise FlowRefused(
            f"log_det of {name} is to be log|det dz/dx|, and by automatic differentiation it is off by {off:.3g} nats: "
            + (f"it looks like {guess}" if guess else 'correct it, or type gpot.fit(flow, log_det="exact")')
        )
    signs = {int(value) for value in sign.tolist()}
    if len(signs) > 1:
        raise FlowRefused(
            f"det df/dx of {name} is positive at some rows and negative at others, so f folds and has no density; "
            "check the flow, or its inverse, for a branch that is not monotone"
        )
    (direction,) = signs
    if orientation is not None and direction != orientation:
        raise FlowRefused(
            f"{name} reverses orientation (det df/dx < 0), which no flow of s undoes; type "
            'gpot.fit(flow, reflection="auto") or fit_rotation(x, z, allow_reflection=True)'
        )
    return (claim - exact).abs().max().item(), direction


def _check_inverse(flow: Any, x: Tensor, z: Tensor) -> tuple[float | None, list[str]]:
    name = name_of(flow)
    if getattr(flow, "inverse", None) is None:
        return None, [f"{name} has no inverse: it is fitted on data, and has no samples"]
    try:
        back = inverse_of(flow, z)
    except InverseNotAvailable as error:
        return None, [str(error)]
    scale = x.std(0).clamp(min=1e-3) if len(x) > 1 else torch.ones_like(x[0])
    miss = ((back - x).abs() / scale).amax(1)
    if not back.isfinite().all() or miss.median() > _FAR:
        with torch.no_grad():
            direction = "it looks like a second forward" if torch.allclose(
                back, checked_result(flow(z), z, flow)[0], rtol=1e-3, atol=1e-3
            ) else "check the order of its layers, its tolerance and its number of iterations"  # fmt: skip
        raise FlowRefused(
            f"inverse(f(x)) of {name} misses x by {miss.median().item():.2g} standard deviations; {direction}. A flow "
            "without inverse raises gpot.errors.InverseNotAvailable there, and is fitted on data"
        )
    return (back - x).abs().max().item(), []


def _check_law(flow: Any, x: Tensor, invertible: bool, generator: torch.Generator | None) -> tuple[Law, list[str]]:
    """The law of the codes of data, and what to say of it."""
    with torch.no_grad():
        z = forward_of(flow, x)[0]
        law = law_of(z, generator)
        if law.gaussian:
            return law, []
        if invertible and law.distance > 0.2:
            try:
                swapped = law_of(checked_inverse(flow.inverse(x), x, flow), generator)
            except Exception:  # outside the domain of the inverse, whatever that raises
                swapped = None
            if swapped is not None and swapped.distance < 0.2 * law.distance:
                raise FlowRefused(
                    f"forward of {name_of(flow)} looks like z -> x: its inverse, and not it, maps the data to N(0, I); "
                    "pass them the other way round: gpot.fit((flow.inverse, flow.forward), x)"
                )
    return law, [f"the flow's codes are not Gaussian: {law}; the result transports to what they are"]
