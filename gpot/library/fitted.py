"""The map that `gpot.fit` returns: it reports, draws itself, and goes to a folder and back."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gpot.errors import ArtifactCorrupt, BadInput, DataMissing, FlowRefused, InverseNotAvailable
from gpot.evaluation.potential import PotentialFit
from gpot.flows.adapters import adapt
from gpot.flows.base import FrozenFlow, meet, pull_back
from gpot.flows.points import as_points, device_of, dtype_of
from gpot.flows.results import name_of
from gpot.gp.base import GaussianPreserving
from gpot.gp.monge import MongeMap
from gpot.library.families import rebuilt
from gpot.library.report import BOUND, Report, measure
from gpot.library.units import Units
from gpot.maths.costs import Cost, as_cost

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from gpot.library.loop import Course

WEIGHTS, MANIFEST, FORMAT = "weights.safetensors", "manifest.json", 1
_PROBES = 8  # points whose codes say whether a flow is the one that a map was fitted to
_SAME = 1e-3  # of the size of the codes: the same flow on another machine agrees better, another flow does not
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
        folder = Path(path)
        probes, codes = self._probes()
        tensors = {f"gp.{name}": t.detach().contiguous().cpu() for name, t in self.gp.state_dict().items()}
        tensors |= {"probe.x": probes.contiguous().cpu(), "probe.z": codes.contiguous().cpu()}
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            save_file(tensors, partial / WEIGHTS)
            manifest = {
                "format": FORMAT,
                "flow": {"name": name_of(self.flow.flow), "dim": self.dim, "dtype": str(probes.dtype)},
                "sha256": {WEIGHTS: hashlib.sha256((partial / WEIGHTS).read_bytes()).hexdigest()},
                **asdict(self.record),
            }
            text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
            (partial / MANIFEST).write_text(text, encoding="utf-8")
            partial.chmod(0o755)
            if folder.exists():
                if not (folder / MANIFEST).is_file():
                    raise BadInput(f"'{folder}' is there and is no saved map; give a folder that is not there yet")
                shutil.rmtree(folder)
            partial.replace(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return folder

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
) -> FittedMap:
    """The map that `save` wrote, for the flow that it was fitted to.

    The arguments after the flow are those of `gpot.fit`. Raises: DataMissing, ArtifactCorrupt, and FlowRefused for a
    flow of another dimension or dtype, or that maps the stored points to other codes.
    """
    folder = Path(path)
    manifest = _manifest(folder)
    try:
        tensors = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise ArtifactCorrupt(
            f"'{folder / WEIGHTS}' is not a safetensors file ({error}); save the map again"
        ) from error
    known = manifest["flow"]
    adapted = adapt(flow, context=context, base=base, dim=known["dim"], log_det=log_det)
    if device is not None:
        adapted = adapted.to(device)
    frozen = FrozenFlow(adapted, graph=True, check=False)
    if frozen.dim != known["dim"]:
        raise FlowRefused(f"'{folder}' was fitted to a flow of dimension {known['dim']}, and this one has {frozen.dim}")
    probes, codes = tensors["probe.x"], tensors["probe.z"]
    here = dtype_of(adapted, probes.dtype)
    if here != probes.dtype:
        raise FlowRefused(f"'{folder}' was fitted to a flow of {known['dtype']}, and this one has {here}; convert it")
    try:
        with torch.no_grad():
            codes_now = frozen.transform(probes.to(device_of(adapted))).cpu()
    except InverseNotAvailable:
        raise
    miss = (codes_now - codes).abs().max().item() / (1.0 + codes.abs().max().item())
    if not miss <= _SAME:
        raise FlowRefused(
            f"'{folder}' was fitted to {known['name']}, and this {name_of(adapted)} maps the {len(probes)} points "
            f"stored with it to codes that differ by {miss:.2g} of their size; give the flow, weights and context that "
            "it was fitted to, or fit anew: gpot.fit(flow)"
        )
    fields = {name: manifest[name] for name in Record.__dataclass_fields__}
    record = Record(**fields | {"notes": tuple(fields["notes"])})
    gp = rebuilt(record.gp).to(codes.dtype)
    gp.load_state_dict({name.removeprefix("gp."): t for name, t in tensors.items() if name.startswith("gp.")})
    gp = gp.to(device_of(adapted)).eval().requires_grad_(False)
    frozen.meeting = meet(adapted)
    named = record.cost
    try:
        cost: Cost | None = as_cost(named)
    except BadInput:  # a function of the user's, of which only the name was written
        cost = None
    return FittedMap(frozen, gp, record, cost=cost)


def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / MANIFEST
    if not file.is_file() or not (folder / WEIGHTS).is_file():
        raise DataMissing(
            f"a map was to be read from '{folder}', and {MANIFEST} or {WEIGHTS} is not there; check the path"
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
        digest = manifest["sha256"][WEIGHTS]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactCorrupt(f"'{file}' is not the manifest of a map ({error}); save the map again") from error
    if manifest["format"] > FORMAT:
        raise BadInput(
            f"'{folder}' has format {manifest['format']}, and this gpot reads {FORMAT}; install a newer gpot"
        )
    if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != digest:
        raise ArtifactCorrupt(f"'{folder / WEIGHTS}' is not what {MANIFEST} records (sha256); save the map again")
    return cast(dict[str, Any], manifest)
