"""Stage `optimum`: exact discrete optimal transport at several sizes, which a Monge map is held against."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gpot.config.schema import Config
from gpot.errors import BadConfig
from gpot.evaluation.optimum import optimum_series
from gpot.stages.costs import cost_of, cost_settings
from gpot.stages.flow import load_flow, push
from gpot.stages.points import points_in
from gpot.stages.stage import Bench, Stage, generator


def optimum_stage(config: Config, inputs: tuple[Stage, ...]) -> Stage:
    """W2^2 of the data against N(0, I), and of the data against f(data), the floor of every GP flow after f; with
    another cost than |x - z|^2 the least of that.

    `optimum.json`: for each law and size the mean and the spread over repeats, each repeat with points of its own. The
    second is of pairs x, f(x) that may be matched anew, whose bias is the smaller the nearer f is to a Monge map.
    """
    evaluate = config.evaluate
    settings: dict[str, Any] = {
        "sizes": evaluate.optimum_sizes,
        "repeats": evaluate.optimum_repeats,
        "seed": config.seed,
    }
    settings |= cost_settings(config.cost)
    return Stage("optimum", 1, config, settings, inputs, _solve)


def _solve(bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    x = points_in(bench.inputs)
    z = push(load_flow(config, bench.inputs["flow"]), x)
    draw, cost = generator(config.seed, 5), cost_of(config.cost, bench.inputs.get("pairs"))

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

    sizes, repeats = config.evaluate.optimum_sizes, config.evaluate.optimum_repeats
    laws = {"gaussian": gaussian, "flow": mapped}
    series = {law: [vars(p) for p in optimum_series(sample, sizes, repeats, cost)] for law, sample in laws.items()}
    (bench.folder / "optimum.json").write_text(json.dumps(series, indent=2, allow_nan=False) + "\n")
    return series
