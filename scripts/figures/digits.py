"""Digits of one class to another: a Monge map between the codes of two classes of MNIST: docs/digits.png.

    python -m scripts.figures.digits [--classes 3 8] [--steps 400] [--again]

Codes, labels and decoder are the released ones; no image is read. The map is between the coordinates that the VAE uses;
the others (standard deviation below a tenth) are put at their mean. Minutes; what is there already is drawn without a
fit.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from gpot.between import monge_between
from gpot.config import Config, compose
from gpot.plots.style import styled
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import Stage
from gpot.stages.vae import images_of, load_vae
from gpot.store import Artifact, Store
from gpot.uses.interpolation import displace
from scripts.figures.common import ROOT, bar, keep, kept, write_page
from scripts.figures.small_flows import small_flow

USED = 0.1  # standard deviation of a coordinate that carries something
HELD_OUT = 1000  # codes of each class, of which no flow has seen any
SHOWN = 14
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


def released(config: Config, stage: Stage) -> Artifact:
    """A result of `pretrained/`."""
    store = Store(Path(config.paths.artifacts), ROOT / "pretrained")
    return store.require(stage.name, stage.key, "a figure needs a released result", "git restore pretrained")


def codes() -> tuple[Tensor, Tensor]:
    """Codes of the images of MNIST (60000, 10), the means of their posteriors, and labels (60000,)."""
    config = compose("train_gp", ["dataset=mnist"])
    latents = released(config, Pipeline(config).points)
    return torch.from_numpy(latents.array("mean.npy").astype(np.float32)), torch.from_numpy(latents.array("labels.npy"))


def decode(z: Tensor) -> Tensor:
    """Pictures in (0, 1) (n, S, S) of codes (n, 10)."""
    config = compose("train_gp", ["dataset=mnist"])
    vae = load_vae(images_of(config), released(config, Pipeline(config).vae))
    with torch.no_grad():
        return vae.decode(z).squeeze(1)


def fit(name: str, classes: tuple[int, int], steps: int) -> None:
    mean, label = codes()
    used = mean.std(0) > USED
    flows, held = [], []
    for digit in classes:
        own = mean[label == digit][:, used]
        train, held_out = own[:-HELD_OUT], own[-HELD_OUT:]
        flows.append(small_flow(train[HELD_OUT:], train[:HELD_OUT], widths=(8,), steps=1500).flow)
        held.append(held_out)
    map_ = monge_between(
        *flows, n=4000, n_held_out=1600, steps=steps, batch_size=256, lr=2e-2, optimizer="muon",
        progress=bar(f"map {name}", steps),
    )  # fmt: skip
    print(map_.report)
    assert map_.report is not None
    x = held[0]
    y = map_.transport(x)
    whole = mean.mean(0).expand(len(x), -1)
    whole_x, whole_y = whole.clone(), whole.clone()
    whole_x[:, used], whole_y[:, used] = x, y
    numbers = dataclasses.asdict(map_.report) | {"steps": steps, "dim": int(used.sum()), "codes": len(mean)}
    keep(name, map_.gp, numbers, x=whole_x, y=whole_y)


@styled()
def draw(pictures: np.ndarray) -> Figure:
    """pictures (T, m, S, S): a column per digit, a row per time."""
    figure = Figure(figsize=(10, 3.9), layout="constrained")
    for ax, row, t in zip(figure.subplots(len(pictures), 1), pictures, TIMES, strict=True):
        ax.imshow(np.hstack(list(row)), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.set_ylabel(f"t = {t:g}", rotation=0, ha="right", va="center")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs=2, default=(3, 8))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--again", action="store_true", help="fit even where results are there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source, target = options.classes
    name = f"digits_{source}_to_{target}"
    if options.again or kept(name) is None:
        fit(name, (source, target), options.steps)
    found = kept(name)
    assert found is not None
    numbers, arrays = found
    x, y = (torch.from_numpy(arrays[key]) for key in ("x", "y"))
    there = y.isfinite().all(1)
    between = displace(x[there][:SHOWN], y[there][:SHOWN], TIMES)
    pictures = decode(between.reshape(-1, between.shape[-1]))
    figure = draw(pictures.reshape(len(TIMES), SHOWN, *pictures.shape[1:]).numpy())
    write_page("digits", [{"row": f"{source}:{target}", "source": source, "target": target} | numbers], figure)


if __name__ == "__main__":
    main()
