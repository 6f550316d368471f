"""Stage `held_out`: what a frozen flow makes of the points on which every row after it is measured. Stage `labelled`:
of the codes that rows are scored on.

Rows after one flow differ in the map of the Gaussian alone, so the flow runs over these points once for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from gpot.config.checks.points import enough_left
from gpot.config.choices import Source
from gpot.config.schema import Config, DSpritesConfig, EvaluateConfig, GpConfig, ImagesConfig
from gpot.evaluation.disentanglement.dci import official_split
from gpot.progress import track
from gpot.stages.flow import load_flow, prior_pairs, split
from gpot.stages.maps import CHUNK, in_chunks
from gpot.stages.points import points_by_rows
from gpot.stages.stage import Bench, Stage, generator
from gpot.store import Artifact
from gpot.training import families

_TENSORS, _LABELLED = "held_out.safetensors", "labelled.safetensors"


@dataclass(frozen=True)
class HeldOut:
    """Points that took no part in a training, and their images by the flow, float32 on the CPU.

    x, z: of the law that GP flows learn from, (n, d), z = f(x). lost: prior samples outside the image of f.
    data, z_data, log_det: held-out data (m, d), f of it, and log|det df/dx| (m,).
    """

    x: Tensor
    z: Tensor
    data: Tensor
    z_data: Tensor
    log_det: Tensor
    lost: int

    @classmethod
    def of(cls, artifact: Artifact) -> HeldOut:
        """From the result of the stage."""
        return cls(**artifact.tensors(_TENSORS), lost=artifact.manifest["metrics"]["lost"])


def held_out_stage(config: Config, points: Stage, flow: Stage) -> Stage:
    """:class:`HeldOut` of a frozen flow, `held_out.safetensors`."""
    evaluate, settings = config.evaluate, {"seed": config.seed, "flow": families.evaluation_settings(config.flow)}
    settings |= {"law": _law(config.gp, evaluate), "n_data": evaluate.n_data}
    return Stage("held_out", 2, config, settings, (points, flow), _push, partly=("latents",), on_demand=True)


def _law(gp: GpConfig, evaluate: EvaluateConfig) -> dict[str, Any]:
    """The law of the pairs that a cost is measured on, for keys."""
    of: dict[str, Any] = {"source": gp.source.value}
    if gp.source is Source.prior:
        return of | {"n_prior": evaluate.n_prior}
    return of | {"n_data": evaluate.n_data, "n_validation": gp.n_validation}


def held_out_rows(gp: GpConfig, evaluate: EvaluateConfig, n: int) -> Tensor:
    """Rows of n points that took no part in training: of a GP flow that learns from data, nor in the choice of its best
    epoch."""
    enough_left(n, gp, evaluate)
    chosen_by = gp.n_validation if gp.source is Source.data else 0
    return split(n)[1][chosen_by : chosen_by + evaluate.n_data]


def held_out(gp: GpConfig, evaluate: EvaluateConfig, points: Tensor) -> Tensor:
    """Those rows of the points (n, d)."""
    return points[held_out_rows(gp, evaluate, len(points))]


def labelled_rows(evaluate: EvaluateConfig, n: int) -> NDArray[np.int64]:
    """Rows of n images, the split of the printed table: those that the regression learns from, then those it is tested
    on."""
    assert evaluate.n_dci_train is not None and evaluate.n_dci_test is not None
    return np.concatenate(official_split(n, evaluate.n_dci_train, evaluate.n_dci_test))


def rows_read(dataset: ImagesConfig, gp: GpConfig, evaluate: EvaluateConfig, n: int) -> list[NDArray[np.int64]]:
    """Rows of n images whose codes these stages read, where those of all images are not there."""
    rows = [held_out_rows(gp, evaluate, n).numpy()]
    return [*rows, labelled_rows(evaluate, n)] if isinstance(dataset, DSpritesConfig) else rows


def _push(bench: Bench) -> Mapping[str, Any]:
    config, lost = bench.config, 0
    flow, points = load_flow(config, bench.inputs["flow"]), points_by_rows(bench)

    def push(x: Tensor, what: str) -> tuple[Tensor, Tensor]:
        chunks = x.split(CHUNK)
        parts = [flow.forward(chunk.to(flow.device)) for chunk in track(chunks, len(chunks), what)]
        return torch.cat([z.cpu() for z, _ in parts]), torch.cat([log_det.cpu() for _, log_det in parts])

    with torch.no_grad():
        data = points.read(held_out_rows(config.gp, config.evaluate, points.n))
        z_data, log_det = push(data, "likelihood of held-out data")
        x, z = data, z_data
        if config.gp.source is Source.prior:
            draw = generator(config.seed, 2)
            x, _, lost = prior_pairs(flow, config.evaluate.n_prior, draw, "pulling held-out prior samples back")
            z = in_chunks(flow.transform, x, flow.device, "mapping held-out points")
    tensors = {"x": x, "z": z, "data": data, "z_data": z_data, "log_det": log_det}
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, bench.folder / _TENSORS)
    return {"lost": lost}


def labelled_stage(points: Stage, flow: Stage) -> Stage:
    """f of the codes of labelled images, (n, d) float32, `labelled.safetensors`: what all rows are scored on."""
    config = flow.config
    rows = [config.evaluate.n_dci_train, config.evaluate.n_dci_test]
    settings = {"flow": families.evaluation_settings(config.flow), "labelled": rows}
    return Stage("labelled", 1, config, settings, (points, flow), _push_labelled, partly=("latents",), on_demand=True)


def _push_labelled(bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    flow, points = load_flow(config, bench.inputs["flow"]), points_by_rows(bench)
    rows = torch.from_numpy(labelled_rows(config.evaluate, points.n))
    z = in_chunks(flow.transform, points.read(rows), flow.device, "codes of the labelled images")
    save_file({"z": z.contiguous()}, bench.folder / _LABELLED)
    return {"n": len(z)}


def z_labelled(artifact: Artifact) -> Tensor:
    """The codes (n, d) of the stage `labelled`."""
    return artifact.tensors(_LABELLED)["z"]
