"""Stage `log_det_errors`: the log-determinant error of a GP flow, point by point."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gpot.config.schema import Config
from gpot.stages.common import Recipe, obtain
from gpot.stages.gp import load_gp
from gpot.store import Artifact, Store

_POINTS, _SEED = 2048, 0
_CHUNK = 1024


def log_det_errors_stage(config: Config, store: Store, gp: Artifact) -> Artifact:
    """`errors.npy` (n,): |exact - analytic| log|det ds/dz| of a GP flow in nats, at fresh Gaussian points.

    config: of the GP flow, which says of which family its weights are.
    """
    recipe = Recipe("log_det_errors", 1, {"n": _POINTS, "seed": _SEED}, {"gp": gp.key})

    def build(folder: Path) -> Mapping[str, Any]:
        flow = load_gp(config, gp)
        z = torch.randn(_POINTS, flow.dim, generator=torch.Generator().manual_seed(_SEED))
        with torch.no_grad():
            errors = flow.log_det_error(z.to(flow.rotation), _CHUNK).abs().double().cpu().numpy()
        np.save(folder / "errors.npy", errors)
        return {"mean": float(errors.mean()), "max": float(errors.max())}

    return obtain(recipe, config, store, build, needed_by=None, command="python scripts/report.py")
