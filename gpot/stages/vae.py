"""Stage `vae`: the frozen autoencoder, trained here or taken from a file of weights. Stage `latents`: its codes of all
images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from gpot.config.choices import CodePrecision
from gpot.config.schema import Config, ImagesConfig, VaeConfig
from gpot.data.datamodule import ArrayDataModule
from gpot.data.images import ImageSource, image_index
from gpot.errors import BadConfig
from gpot.flows.weights import check_file, load_released
from gpot.progress import track
from gpot.stages.common import Recipe, device_of, obtain
from gpot.stages.plain import plain, without
from gpot.stages.run import Run
from gpot.stages.sources import image_source
from gpot.store import Artifact, Store, file_sha256
from gpot.tracking.run_logger import RunLogger
from gpot.training.fit import fit, intervals
from gpot.training.history import keep_history
from gpot.training.vae import VAEModule
from third_party.btcvae import BetaTCVAE

WEIGHTS = "weights.safetensors"
_ENCODE_BATCH = 64  # small batches in channels-last order stay in a CPU's cache: three times faster than large ones
_ENCODE_BATCH_GPU = 4096
_VALIDATION_IMAGES = 4096


def groups(config: Config) -> tuple[ImagesConfig, VaeConfig]:
    """The dataset and the VAE of a config of images. Raises: BadConfig where the dataset has none."""
    if not isinstance(config.dataset, ImagesConfig) or config.vae is None:
        raise BadConfig(
            f"a VAE is for images, and dataset '{config.dataset.name}' has none. Choose dataset=dsprites, or go on "
            "with scripts/train_flow.py: its flow sees the points themselves."
        )
    return config.dataset, config.vae


def source_of(config: Config) -> ImageSource:
    """Where the images of the config come from."""
    return image_source(groups(config)[0], Path(config.paths.data))


def network(config: Config) -> BetaTCVAE:
    """The network of the config, with fresh weights."""
    dataset, vae = groups(config)
    return BetaTCVAE(dataset.image_size, dataset.channels, vae.latent_dim)


def vae_recipe(config: Config) -> Recipe:
    dataset, vae = groups(config)
    shape = {"image_size": dataset.image_size, "channels": dataset.channels}
    if vae.weights is not None:
        frozen = {"name": vae.name, "latent_dim": vae.latent_dim} | shape
        return Recipe("vae", 1, {"vae": frozen | {"sha256": weights_hash(vae.weights)}}, {})
    settings = {
        "dataset": {"name": dataset.name, "n_images": dataset.n_images} | shape,
        "vae": without(vae, "weights"),
        "optimizer": plain(config.optimizer.vae),
        "seed": config.seed,
    }
    return Recipe("vae", 1, settings, {}, source_of(config).data_hash())


def weights_hash(path: str) -> str:
    """sha256 of a user's file of weights. Raises: DataMissing if there is none."""
    return file_sha256(check_file(path))


def vae_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """The autoencoder's weights (`weights.safetensors`), with the released names."""

    settings = groups(config)[1]

    def build(folder: Path) -> Mapping[str, Any]:
        vae = network(config)
        if settings.weights is not None:
            load_released(vae, settings.weights)
            metrics: dict[str, Any] = {}
        else:
            metrics = _train(vae, config, store.work(recipe.stage, recipe.key), run.open(store))
            keep_history(store.work(recipe.stage, recipe.key), folder)
        save_file(vae.state_dict(), folder / WEIGHTS)
        return metrics | {"parameters": sum(p.numel() for p in vae.parameters())}

    recipe = vae_recipe(config)
    run = Run(config, recipe.stage, recipe.key)
    return obtain(recipe, config, store, build, needed_by=needed_by, command="python scripts/train_vae.py", run=run)


def _train(vae: BetaTCVAE, config: Config, work: Path, logger: RunLogger | None) -> dict[str, Any]:
    dataset, settings = groups(config)
    source = source_of(config)
    pixels = source.pixels(image_index(dataset.n_images, source))
    batch = min(settings.batch_size, len(pixels))
    steps = settings.epochs * (len(pixels) // batch)
    epochs, n_batches = intervals(steps, len(pixels) // batch, at_most=1200)
    module = VAEModule(vae, settings, config.optimizer.vae, len(pixels), steps)
    some = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(config.seed))[:_VALIDATION_IMAGES]
    data = ArrayDataModule(
        (pixels,), (pixels[some],), batch_size=batch, n_batches=n_batches, seed=config.seed, transform=source.unpack
    )
    metrics = fit(
        module, data, config, epochs=epochs, work=work, name="vae", optimizer=config.optimizer.vae,
        precision=settings.precision, logger=logger,
        separable=False,  # the total correlation is estimated on the whole batch
    )  # fmt: skip
    return dict(metrics)


def load_vae(config: Config, artifact: Artifact) -> BetaTCVAE:
    """The frozen network of an artefact, in eval mode."""
    vae = network(config)
    vae.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return vae.eval().requires_grad_(False)


def latents_recipe(config: Config, vae: Artifact) -> Recipe:
    dataset = groups(config)[0]
    which: dict[str, Any] = {"name": dataset.name, "n_images": dataset.n_images}
    if dataset.codes is not CodePrecision.float32:
        which |= {"codes": dataset.codes.value}
    return Recipe("latents", 1, {"dataset": which}, {"vae": vae.key}, source_of(config).data_hash())


def latents_stage(config: Config, store: Store, needed_by: str | None = None) -> Artifact:
    """Posterior of every image: `mean.npy`, `log_variance.npy` (n, latent_dim) in the precision of `dataset.codes`,
    `index.npy` (n,) rows of the source, and `labels.npy` (n,) where it has labels."""
    vae = vae_stage(config, store, needed_by="latents" if needed_by is None else needed_by)
    dataset, settings = groups(config)

    def build(folder: Path) -> Mapping[str, Any]:
        source = source_of(config)
        index = image_index(dataset.n_images, source)
        pixels = source.pixels(index)
        device = device_of(config)
        frozen = load_vae(config, vae).to(device)
        frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # filled in place: thousands of small results kept between large temporaries fragment the heap to gigabytes
        mean, log_variance = torch.empty(2, len(pixels), settings.latent_dim).unbind()
        blocks = torch.arange(len(pixels)).split(_ENCODE_BATCH if device.type == "cpu" else _ENCODE_BATCH_GPU)
        with torch.inference_mode():
            for rows in track(blocks, len(blocks), "encoding images"):
                images = source.unpack(pixels[rows].to(device))[0].contiguous(memory_format=torch.channels_last)
                mean[rows], log_variance[rows] = (part.cpu() for part in frozen.encode(images))
        for name, values in (("mean", mean), ("log_variance", log_variance)):
            np.save(folder / f"{name}.npy", values.numpy().astype(dataset.codes.value))
        np.save(folder / "index.npy", index)
        labels = source.labels(index)
        if labels is not None:
            np.save(folder / "labels.npy", labels)
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean(0)
        return {"n": len(mean), "std": mean.std(0).tolist(), "kl": kl.tolist()}

    recipe = latents_recipe(config, vae)
    return obtain(recipe, config, store, build, needed_by=needed_by, command="python scripts/train_vae.py")
