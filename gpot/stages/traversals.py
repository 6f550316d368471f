"""Stage `traversals`: images along the axes of a code space, the arrays behind Figures 5 to 8."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from gpot.config.plain import without
from gpot.config.schema import Config
from gpot.evaluation.traversals import image_change, informative, lost, traverse
from gpot.stages.maps import RowParts, codes_of, map_of
from gpot.stages.points import posteriors
from gpot.stages.stage import Bench, Stage, generator
from gpot.stages.vae import images_of, load_vae
from gpot.store import save_array

_SAMPLED = 20_000  # images of which the KL is a mean; those of the figure are the first of them
_FRAMES_PER_STEP = 2  # values of the animation for one of the figure


def traversals_stage(config: Config, parts: RowParts, vae: Stage) -> Stage:
    """Images of a row's code space: coordinate i of the code of a data point takes values in [-extent, extent], the
    others stay, and the code goes back through s^-1, f^-1 and the VAE's decoder.

    `images.npy` (m, d, k, C, S, S) uint8, `values.npy` (k,), `kl.npy` (d,) nats per coordinate of the VAE, the mean of
    `_SAMPLED` images (of all where they are fewer), `change.npy` (m, d) mean image change of a step of the figure
    (every second value), from the unrounded images. An image that has no way back is 0 in `images.npy` and counted as
    `lost`.
    """
    drawn = without(config.report.traversal, "n_shown")  # a matter of drawing
    settings = {"traversal": drawn, "seed": config.seed, **parts.settings}
    return Stage("traversals", 2, config, settings, (*parts.stages, vae), _traverse, partly=("latents",))


def _traverse(bench: Bench) -> Mapping[str, Any]:
    config = bench.config
    asked = config.report.traversal
    source = images_of(config)
    rows = torch.randperm(len(source.index()), generator=generator(config.seed, 6))[:_SAMPLED]
    mean, kl = posteriors(bench, rows)
    rows, mean = rows[: asked.n_points], mean[: asked.n_points]
    device = config.device.first
    monge, decoder = map_of(config, bench.inputs), load_vae(source, bench.inputs["vae"]).to(device)

    def decode(codes: Tensor) -> Tensor:
        return decoder.decode(monge.inverse(codes.to(device))).cpu()

    n_frames = _FRAMES_PER_STEP * (asked.n_values - 1) + 1
    values = torch.linspace(-asked.extent, asked.extent, n_frames)
    codes = codes_of(monge, mean, "codes of the data points of the figure")
    images = traverse(codes, decode, values)
    change = image_change(images[:, :, ::_FRAMES_PER_STEP])
    save_array(bench.folder / "images.npy", (images.nan_to_num(nan=0.0) * 255).round().to(torch.uint8).numpy())
    for name, array in (("values", values), ("kl", kl), ("change", change), ("rows", rows)):
        save_array(bench.folder / f"{name}.npy", array.numpy())
    carries = informative(kl, asked.threshold)
    return {
        "n_informative": int(carries.sum()),
        "change_informative": change[:, carries].nanmean().item() if carries.any() else None,
        "change_other": change[:, ~carries].nanmean().item() if not carries.all() else None,
        "change_per_axis": change.nanmean(0).tolist(),
        "lost": lost(images),
    }
