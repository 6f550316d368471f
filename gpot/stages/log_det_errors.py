"""Stage `log_det_errors`: the log-determinant error of a GP flow, point by point."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from gpot.config.schema import Config
from gpot.stages.gp import gp_stage, load_gp
from gpot.stages.stage import Bench, Stage

_POINTS, _SEED = 2048, 0
_CHUNK = 1024


def log_det_errors_stage(config: Config) -> Stage:
    """`errors.npy` (n,): |exact - analytic| log|det ds/dz| of the config's GP flow, nats, at fresh Gaussian points."""
    settings = {"n": _POINTS, "seed": _SEED}
    return Stage("log_det_errors", 1, settings, (gp_stage(config),), partial(_measure, config), config.seed)


def _measure(config: Config, bench: Bench) -> Mapping[str, Any]:
    flow = load_gp(config, bench.inputs["gp"])
    z = torch.randn(_POINTS, flow.dim, generator=torch.Generator().manual_seed(_SEED))
    with torch.no_grad():
        errors = flow.log_det_error(z.to(flow.rotation), _CHUNK).abs().double().cpu().numpy()
    np.save(bench.folder / "errors.npy", errors)
    return {"mean": float(errors.mean()), "max": float(errors.max())}
