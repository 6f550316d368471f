"""The map that `gpot.fit` returns: it reports, draws itself, and goes to a folder and back."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from torch import Tensor

from gpot.errors import BadInput
from gpot.evaluation.potential import PotentialFit
from gpot.flows.adapters import adapt
from gpot.flows.base import FrozenFlow, meet, pull_back
from gpot.flows.points import as_points, device_of
from gpot.gp.base import GaussianPreserving
from gpot.gp.monge import MongeMap
from gpot.library import saved
from gpot.library.contexts import AmortizedMap, loaded_contexts
from gpot.library.families import rebuilt
from gpot.library.report import BOUND, Report, measure
from gpot.library.units import Units
from gpot.maths.costs import Cost, as_cost

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpot.library.loop import Course

_PROBES = 8  # points whose codes say whether a flow is the one that a map was fitted to
_REPORTED = 8192  # prior samples of a report on a loaded map
_DRAWN = 2000  # points of a picture


@dataclass(frozen=True)
class Record:
    """How a map was made: s (family, chart, steps), what it was trained on, and how that went."""

    gp: dict[str, Any]
    source: str
    n_train: int
    seed: int
    tolerance: float
    cost: str
    steps: int
    kept: int
    refinements: int
    ended: str
    seconds: float
    notes: tuple[str, ...]
    log_det_error_of_f: float | None
    units: dict[str, Any] | None = None


class FittedMap(MongeMap):
    """A `MongeMap` with its record: `report()`, `plot()`, `save(path)`. `course` has the validations of its training
    (None for one that was loaded).

    With `units` its points x are in the units of the data, and so are densities: `forward` counts log|det du/dx| of the
    standardization, and `inverse` and `sample` give x in float64. f and s are of u, the standardized columns.
    """

    def __init__(
        self,
        flow: Any,
        gp: GaussianPreserving,
        record: Record,
        held_out: tuple[Tensor, Tensor] | None = None,
        data: Tensor | None = None,
        cost: Cost | None = None,
        course: Course | None = None,
    ) -> None:
        super().__init__(flow, gp)
        self.record, self.course = record, course
        self.units = None if record.units is None else Units.rebuilt(record.units)
        self.cost = as_cost(cost)
        self._held_out, self._data = held_out, data

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s(f(x)) (n, d), and log|det| of the whole map (n,)."""
        s, log_det = super().forward(self._enter(x))
        return s, log_det if self.units is None else log_det + self.units.log_det

    def transport(self, x: Tensor) -> Tensor:
        """s(f(x)) alone (n, d)."""
        return super().transport(self._enter(x))

    def inverse(self, s: Tensor, refine: int = 0) -> Tensor:
        """x with s(f(x)) = s (n, d)."""
        u = super().inverse(s, refine)
        return u if self.units is None else self.units.leave(u)

    def report(self, x: Any = None, bound: PotentialFit | bool = True) -> Report:
        """Costs, certificate, bound, fidelity and round trip: on x (n, d) if it is given, else on the held-out pairs of
        the training, or, for a map that was loaded, on samples of the flow. bound: whether to fit a convex potential
        that bounds the distance to the optimum, which takes some seconds, or how."""
        record = self.record
        points, z, source = self._pairs(x)
        how = (BOUND if bound else None) if isinstance(bound, bool) else bound
        return measure(
            self.flow, self.gp, points, z, self.cost, source=source, seconds=record.seconds, notes=record.notes,
            log_det_of_f=record.log_det_error_of_f, bound=how, units=self.units,
        )  # fmt: skip

    def plot(self, x: Any = None) -> Figure:
        """For points of the plane: where f and where s o f send them, coloured by where they come from."""
        if self.dim != 2:
            raise BadInput(f"a picture is of points of the plane, and these have {self.dim} coordinates; see report()")
        try:
            from gpot.plots.before_after import before_after
        except ImportError as error:
            raise BadInput(f"a picture takes matplotlib ({error}); type: pip install 'gpot[plots]'") from error

        points, z, _ = self._pairs(x)
        points, z = points[:_DRAWN], z[:_DRAWN]
        with torch.no_grad():
            s = self.gp.transport(z)
        costs = (self.cost(points, z).mean().item(), self.cost(points, s).mean().item())
        return before_after(points.cpu().numpy(), z.cpu().numpy(), s.cpu().numpy(), *costs)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write s and its record to the folder `path`: weights.safetensors and manifest.json, whole or not at all.

        The flow is not in it: `gpot.load(path, flow)` takes it, and knows it again by the codes of a few points.
        """
        probes, codes = self._probes()
        tensors = {f"gp.{name}": tensor for name, tensor in self.gp.state_dict().items()}
        manifest = {"flow": saved.described_flow(self.flow.flow, self.dim, probes.dtype), **asdict(self.record)}
        return saved.write(path, tensors | {"probe.x": probes, "probe.z": codes}, manifest)

    def _pairs(self, x: Any) -> tuple[Tensor, Tensor, str]:
        if x is not None:
            like = self.gp.rotation
            points, source = as_points(self._enter(x), like.dtype, like.device), "points given"
        elif self._held_out is not None:
            kind = "samples of the flow" if self.record.source == "prior" else "data"
            return *self._held_out, f"{kind}, held out"
        else:
            points, source = self._prior(_REPORTED), "samples of the flow"
        with torch.no_grad():
            return points, self.flow.transform(points), source

    def _enter(self, x: Any) -> Any:
        return x if self.units is None else self.units.enter(x, self.gp.rotation)

    def _prior(self, n: int) -> Tensor:
        like = self.gp.rotation
        z = torch.randn(n, self.dim, generator=torch.Generator().manual_seed(1)).to(like)
        x = pull_back(cast(Any, self.flow), z, allow_lost=True)
        return x[x.isfinite().all(1)]

    def _probes(self) -> tuple[Tensor, Tensor]:
        if self._held_out is not None:
            points = self._held_out[0][:_PROBES]
        elif self._data is not None:
            points = self._data[:_PROBES]
        else:
            points = self._prior(_PROBES)
        with torch.no_grad():
            return points, self.flow.transform(points)


def load(
    path: str | os.PathLike[str],
    flow: Any,
    *,
    context: Any = None,
    base: Any = None,
    log_det: Literal["given", "exact"] = "given",
    device: torch.device | str | None = None,
) -> FittedMap | AmortizedMap:
    """The map that `save` wrote, for the flow that it was fitted to.

    The arguments after the flow are those of `gpot.fit`. Of `gpot.fit_contexts` it is the map of all contexts, and
    `context` is not given. Raises: DataMissing, ArtifactCorrupt, and FlowRefused for a flow of another dimension or
    dtype, or that maps the stored points to other codes.
    """
    folder = Path(path)
    manifest, tensors = saved.read(folder)
    if manifest["gp"]["family"] == "contexts":
        if context is not None:
            raise BadInput(f"'{folder}' is a map of all contexts; type gpot.load(path, flow).at(context)")
        return loaded_contexts(folder, manifest, tensors, flow, base, log_det, device)
    adapted = adapt(flow, context=context, base=base, dim=manifest["flow"]["dim"], log_det=log_det)
    if device is not None:
        adapted = adapted.to(device)
    frozen = FrozenFlow(adapted, graph=True, check=False)
    saved.check_flow(folder, manifest["flow"], frozen, tensors["probe.x"], tensors["probe.z"])
    fields = {name: manifest[name] for name in Record.__dataclass_fields__}
    record = Record(**fields | {"notes": tuple(fields["notes"])})
    gp = rebuilt(record.gp).to(tensors["probe.z"].dtype)
    gp.load_state_dict(saved.named("gp.", tensors))
    gp = gp.to(device_of(adapted)).eval().requires_grad_(False)
    frozen.meeting = meet(adapted)
    return FittedMap(frozen, gp, record, cost=saved.cost_named(record.cost))
