"""The Gaussian-preserving maps that `gpot.fit` trains: built from a name, described in a file, built again from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from gpot.errors import BadConfig, BadInput
from gpot.gp.amortized import AmortizedFlow
from gpot.gp.base import GaussianPreserving
from gpot.gp.deep_ridge import DeepRidgeVelocity, named_velocity
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.optimizer import Descent
from gpot.gp.series import SeriesFlow
from gpot.gp.spectral import SpectralVelocity
from gpot.gp.twist import TwistFlow
from gpot.gp.velocity import MLPVelocity, RidgeVelocity, Velocity
from gpot.maths.charts import Chart

_COARSE, _USUAL = 4, 8  # steps of time at first: the guard of the law refines the grid where it must
NAMES = ("auto", "ridge", "deep_ridge", "series", "mlp", "twist")
_RIDGES = (RidgeVelocity, DeepRidgeVelocity)
_DEEP = 10  # dimensions up to which two layers came closer to known optima than one, in equal processor time


@dataclass(frozen=True)
class Training:
    """Settings of one training: peak of the learning rate, rows of a batch, steps of the whole cycle, pairs drawn, and
    the optimizer."""

    rate: float
    batch: int
    steps: int
    pairs: int
    optimizer: Descent = Descent.adam


def training_of(gp: GaussianPreserving, descent: Descent | None = None) -> Training:
    """What a family needs, from our experiments: matrices of ridge fields and twists by Muon, twists at a lower rate,
    at which all runs are stable, and a series at half that of one field; the rest by Adam, which takes a larger rate in
    the plane; there a larger batch; twists, whose steps are cheap and whose gain is slow, more steps."""
    ridge = isinstance(gp, GaussianPreservingFlow) and isinstance(gp.velocity, _RIDGES)
    twists, series, plane = isinstance(gp, TwistFlow), isinstance(gp, SeriesFlow), gp.dim == 2
    descent = descent or (Descent.muon if ridge or twists or series else Descent.adam)
    muon = 5e-3 if twists else 1e-2 if series else 2e-2
    rate = muon if descent is Descent.muon else 1e-2 if plane else 2e-3
    steps = 10_000 if twists else 2000
    return Training(rate, batch=1000 if plane else 512, steps=steps, pairs=65_536, optimizer=descent)


def family(velocity: str | Velocity | GaussianPreserving, dim: int, chart: Chart | str = Chart.direct) -> Any:
    """The map of a name, of a velocity, or itself, for points of dimension `dim`, with fresh weights.

    "auto" is what came closest to known optima in equal processor time (docs/truth.md): in the direct chart the field
    of two layers up to ten dimensions and a series of four ridge fields above; the ridge field in the other charts.
    """
    if isinstance(velocity, GaussianPreserving):
        gp = velocity
    elif isinstance(velocity, Velocity):
        gp = GaussianPreservingFlow(velocity, chart)
    elif dim < 2:
        raise BadInput(
            f"the flow has the dimension {dim}, where an increasing map is a Monge map already: f or -f is the answer"
        )
    elif velocity == "twist":
        if dim < 3:
            raise BadConfig("twists turn planes by the other coordinates, so dim >= 3; type velocity='ridge'")
        gp = TwistFlow(dim)
    elif velocity == "series" or (velocity == "auto" and chart == Chart.direct and dim > _DEEP):
        if chart != Chart.direct:
            raise BadConfig(f"a series of ridge fields is one of the chart 'direct', and got {chart!r}; type 'ridge'")
        gp = SeriesFlow.of_ridges(dim)
    elif velocity in NAMES:
        if velocity == "auto":
            velocity = "deep_ridge" if chart == Chart.direct else "ridge"
        named = named_velocity(velocity, dim)
        gp = GaussianPreservingFlow(named, chart, _COARSE if isinstance(named, _RIDGES) else _USUAL)
    else:
        raise BadConfig(f"a velocity is one of {', '.join(NAMES)}, a Velocity or a map s, and got {velocity!r}")
    if gp.dim != dim:
        raise BadConfig(f"the flow has the dimension {dim}, and the velocity {gp.dim}; build it with dim={dim}")
    return gp


def rest(gp: GaussianPreserving) -> None:
    """Make s its rotation alone, by parameters for which nothing moves."""
    with torch.no_grad():
        if isinstance(gp, SeriesFlow):
            for stage in gp.stages:
                rest(stage)  # type: ignore[arg-type]
            return
        if isinstance(gp, TwistFlow):
            still = [p for half in (gp.first, gp.second) if half is not None for p in (half.weight_out, half.bias_out)]
        else:
            assert isinstance(gp, GaussianPreservingFlow)
            still = list(gp.velocity.parameters())[-2:] if isinstance(gp.velocity, MLPVelocity) else [
                p for name, p in gp.velocity.named_parameters() if name in ("alpha", "initial")
            ]  # fmt: skip
        for parameter in still:
            parameter.zero_()


def described(gp: GaussianPreserving) -> dict[str, Any]:
    """What `rebuilt` needs beside the weights, as plain values."""
    if isinstance(gp, TwistFlow):
        return {"family": "twist", "dim": gp.dim, "n_layers": gp.n_layers, "width": gp.width}
    if isinstance(gp, SeriesFlow):
        return {"family": "series", "dim": gp.dim, "stages": [described(stage) for stage in gp.stages]}  # type: ignore[arg-type]
    if isinstance(gp, AmortizedFlow):
        sizes = {"context_dim": gp.context_dim, "width": gp.width, "hidden": gp.hidden, "n_steps": gp.n_steps}
        return {"family": "contexts", "dim": gp.dim, **sizes}
    if not isinstance(gp, GaussianPreservingFlow):
        raise BadInput(f"{type(gp).__name__} cannot be saved: gpot saves its own families; keep its state dict")
    path = {"dim": gp.dim, "chart": gp.chart.value, "method": gp.method.value, "n_steps": gp.n_steps}
    velocity = gp.velocity
    if isinstance(velocity, RidgeVelocity):
        return {"family": "ridge", **path, "width": velocity.width}
    if isinstance(velocity, DeepRidgeVelocity):
        return {"family": "deep_ridge", **path, "width": velocity.width, "below": velocity.below}
    if isinstance(velocity, MLPVelocity):
        hidden = [layer.out_features for layer in list(velocity.denses)[:-1]]
        return {"family": "mlp", **path, "hidden": hidden, "n_blocks": velocity.n_blocks}
    if isinstance(velocity, SpectralVelocity):
        return {"family": "spectral", **path, "modes": len(velocity.initial), "solver_steps": velocity.n_steps}
    raise BadInput(f"{type(velocity).__name__} cannot be saved: gpot saves its own families; keep its state dict")


def rebuilt(description: dict[str, Any]) -> GaussianPreserving:
    """The map of a description, with fresh weights."""
    kind, dim = description["family"], description["dim"]
    if kind == "twist":
        return TwistFlow(dim, description["n_layers"], description["width"])
    if kind == "series":
        return SeriesFlow([rebuilt(stage) for stage in description["stages"]])
    if kind == "contexts":
        return AmortizedFlow(dim, *(description[name] for name in ("context_dim", "width", "hidden", "n_steps")))
    velocity: Velocity
    if kind == "ridge":
        velocity = RidgeVelocity(dim, description["width"])
    elif kind == "deep_ridge":
        velocity = DeepRidgeVelocity(dim, description["width"], description["below"])
    elif kind == "mlp":
        velocity = MLPVelocity(dim, description["hidden"], description["n_blocks"])
    elif kind == "spectral":
        velocity = SpectralVelocity(dim, description["modes"], description["solver_steps"])
    else:
        raise BadInput(
            "a saved map is of the family ridge, deep_ridge, mlp, spectral, twist, series or contexts, and this one "
            f"says {kind!r}"
        )
    return GaussianPreservingFlow(velocity, description["chart"], description["n_steps"], description["method"])
