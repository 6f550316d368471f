"""Stage `traversals`: images along the axes of a code space, the arrays behind Figures 5 to 8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpot.config.schema import Config
from gpot.evaluation.traversals import image_change, informative, lost, traverse
from gpot.paper.rows import Row
from gpot.stages import families
from gpot.stages.common import Recipe, device_of, generator, obtain
from gpot.stages.evaluate import artifacts_of, chain_of
from gpot.stages.plain import plain
from gpot.stages.points import points_of
from gpot.stages.vae import load_vae, vae_stage
from gpot.store import Artifact, Store

_FRAMES_PER_STEP = 2  # values of the animation for one of the figure


def traversals_stage(config: Config, store: Store, row: Row) -> Artifact:
    """Images of a row's code space: coordinate i of the code of a data point takes values in [-extent, extent], the
    others stay, and the code goes back through s^-1, f^-1 and the VAE's decoder.

    `images.npy` (m, d, k, C, S, S) uint8, `values.npy` (k,), `kl.npy` (d,) nats per coordinate of the VAE, `change.npy`
    (m, d) mean image change of a step of the figure (every second value), from the unrounded images. An image that has
    no way back is 0 in `images.npy` and counted as `lost`.
    """
    made = artifacts_of(config, store, row, "traversals")
    vae = vae_stage(config, store, "traversals")
    settings: dict[str, Any] = {"row": row.value, "traversal": plain(config.report.traversal), "seed": config.seed}
    settings["traversal"].pop("n_shown")  # a matter of drawing
    if row is not Row.latent:
        settings["flow"] = families.evaluation_settings(config.flow)
    if row is Row.rotation:
        settings["gp"] = {"chart": config.gp.chart.value, "rotation": config.gp.rotation.value}

    def build(folder: Path) -> Mapping[str, Any]:
        wanted = config.report.traversal
        mean = points_of(made["latents"])
        rows = torch.randperm(len(mean), generator=generator(config, 6))[: wanted.n_points]
        chain, decoder, device = chain_of(config, made), load_vae(config, vae), device_of(config)
        decoder.to(device)

        def decode(codes: Tensor) -> Tensor:
            back = codes.to(device)
            if chain.flow is not None:
                back = chain.inverse(back)
            return decoder.decode(back).cpu()

        n_frames = _FRAMES_PER_STEP * (wanted.n_values - 1) + 1
        values = torch.linspace(-wanted.extent, wanted.extent, n_frames)
        codes = chain.codes(mean[rows], "codes of the data points of the figure")
        images = traverse(codes, decode, values)
        kl = torch.tensor(made["latents"].manifest["metrics"]["kl"], dtype=torch.float64)
        change = image_change(images[:, :, ::_FRAMES_PER_STEP])
        np.save(folder / "images.npy", (images.nan_to_num(nan=0.0) * 255).round().to(torch.uint8).numpy())
        for name, array in (("values", values), ("kl", kl), ("change", change), ("rows", rows)):
            np.save(folder / f"{name}.npy", array.numpy())
        carries = informative(kl, wanted.threshold)
        return {
            "n_informative": int(carries.sum()),
            "change_informative": change[:, carries].nanmean().item() if carries.any() else None,
            "change_other": change[:, ~carries].nanmean().item() if not carries.all() else None,
            "change_per_axis": change.nanmean(0).tolist(),
            "lost": lost(images),
        }

    inputs = {stage: artifact.key for stage, artifact in made.items()} | {"vae": vae.key}
    return obtain(
        Recipe("traversals", 1, settings, inputs), config, store, build,
        needed_by=None, command="python scripts/report.py experiment=fig5",
    )  # fmt: skip
