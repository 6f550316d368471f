"""Stage `optimum`: exact discrete optimal transport at several sizes, which a Monge map is held against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpot.config.schema import Config
from gpot.errors import BadConfig
from gpot.evaluation.optimum import optimum_series
from gpot.stages.common import Recipe, generator, obtain
from gpot.stages.flow import flow_stage, load_flow, push
from gpot.stages.points import points_of, points_stage
from gpot.store import Artifact, Store


def optimum_stage(config: Config, store: Store) -> Artifact:
    """W2^2 of the data against N(0, I), and of the data against f(data), the floor of every GP flow after f.

    `optimum.json`: for each law and size the mean and the spread over repeats, each repeat with points of its own. The
    second is of pairs x, f(x) that may be matched anew, whose bias is the smaller the nearer f is to a Monge map.
    """
    points, flow = points_stage(config, store, "optimum"), flow_stage(config, store, "optimum")
    sizes, repeats = config.evaluate.optimum_sizes, config.evaluate.optimum_repeats
    settings = {"sizes": sizes, "repeats": repeats, "seed": config.seed}
    recipe = Recipe("optimum", 1, settings, {points.stage: points.key, "flow": flow.key})

    def build(folder: Path) -> Mapping[str, Any]:
        x = points_of(points)
        z = push(load_flow(config, flow), x)
        draw = generator(config, 5)

        def rows(n: int) -> Tensor:
            if n > len(x):
                raise BadConfig(
                    f"evaluate.optimum_sizes asks for {n} points, and dataset '{config.dataset.name}' has {len(x)}. "
                    f"Set evaluate.optimum_sizes to sizes up to {len(x)}, or to [] for none."
                )
            return torch.randperm(len(x), generator=draw)[:n]

        def gaussian(n: int) -> tuple[Tensor, Tensor]:
            return x[rows(n)], torch.randn(n, x.shape[1], generator=draw)

        def mapped(n: int) -> tuple[Tensor, Tensor]:
            chosen = rows(n)
            return x[chosen], z[chosen]

        laws = {"gaussian": gaussian, "flow": mapped}
        found = {law: [vars(p) for p in optimum_series(sample, sizes, repeats)] for law, sample in laws.items()}
        (folder / "optimum.json").write_text(json.dumps(found, indent=2) + "\n")
        return found

    return obtain(recipe, config, store, build, needed_by=None, command="python scripts/report.py")
