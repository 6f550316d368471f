"""Stage `vae`: the frozen autoencoder, trained here or taken from a file of weights. Stage `latents`: its codes of all
images."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from gpot.config.choices import CodePrecision
from gpot.config.plain import adam_settings, vae_settings
from gpot.config.schema import (
    ArchiveConfig,
    Config,
    DSpritesConfig,
    ImagesConfig,
    MnistConfig,
    OwnImagesConfig,
    VaeConfig,
)
from gpot.data.archive_images import ArchiveImages
from gpot.data.datamodule import ArrayDataModule
from gpot.data.images import DSpritesImages, ImageSource, MnistImages, image_index
from gpot.data.own_images import OwnImages
from gpot.data.weights import load_weights, weights_hash
from gpot.errors import BadConfig
from gpot.places import typed
from gpot.progress import track
from gpot.stages.stage import WEIGHTS, Bench, Stage
from gpot.store import Artifact, save_array
from gpot.training.fit import fit, intervals
from gpot.training.pace import TIMED_STEPS, Pace, n_steps, pace
from gpot.training.vae import VAEModule, kl_per_axis
from third_party.btcvae import BetaTCVAE

_ENCODE_BATCH = 64  # small batches in channels-last order stay in a CPU's cache: three times faster than large ones
_ENCODE_BATCH_GPU = 4096
_VALIDATION_IMAGES = 4096


SOURCES: dict[type[ImagesConfig], Callable[[Any, Path], ImageSource]] = {
    DSpritesConfig: lambda dataset, folder: DSpritesImages(dataset.path),
    MnistConfig: lambda dataset, folder: MnistImages(folder, dataset.split, dataset.image_size),
    OwnImagesConfig: lambda dataset, folder: OwnImages(str(dataset.path)),
    ArchiveConfig: lambda dataset, folder: ArchiveImages(
        dataset.name, dataset.path, folder, dataset.pattern, dataset.image_size, dataset.channels
    ),
}


def image_source(dataset: ImagesConfig, folder: Path) -> ImageSource:
    """The source of a dataset config. folder: `paths.data`, where downloaded files are."""
    return SOURCES[type(dataset)](dataset, folder)


@dataclass(frozen=True)
class CodedImages:
    """Images, and the autoencoder of which a flow sees the codes. folder: `paths.data`, where downloaded files are."""

    dataset: ImagesConfig
    vae: VaeConfig
    folder: Path

    @cached_property
    def source(self) -> ImageSource:
        """Where the images come from; one, since some find their archive and read its names once."""
        return image_source(self.dataset, self.folder)

    def index(self) -> NDArray[np.int64]:
        """Rows of the source that the dataset consists of."""
        return image_index(self.dataset.n_images, self.source)

    def network(self) -> BetaTCVAE:
        """With fresh weights."""
        return BetaTCVAE(self.dataset.image_size, self.dataset.channels, self.vae.latent_dim)


def images_of(config: Config) -> CodedImages:
    """The images of a config. Raises: BadConfig where its dataset has none."""
    if not isinstance(config.dataset, ImagesConfig) or config.vae is None:
        raise BadConfig(
            f"a VAE is for images, and dataset '{config.dataset.name}' has none. Choose dataset=dsprites, or go on "
            f"with {typed('train_flow')}: its flow sees the points themselves."
        )
    return CodedImages(config.dataset, config.vae, Path(config.paths.data))


def vae_stage(config: Config) -> Stage:
    """The autoencoder's weights (`weights.safetensors`), with the released names."""
    images = images_of(config)
    dataset, vae = images.dataset, images.vae
    shape = {"image_size": dataset.image_size, "channels": dataset.channels}
    if vae.weights is not None:
        frozen = (
            {"name": vae.name, "latent_dim": vae.latent_dim}
            | shape
            | {"sha256": weights_hash(vae.weights, images.network)}
        )
        return Stage("vae", 1, config, {"vae": frozen}, (), _load)
    settings = {
        "dataset": {"name": dataset.name, "n_images": dataset.n_images} | shape,
        "vae": vae_settings(vae),
        "optimizer": adam_settings(config.optimizer.vae),
        "seed": config.seed,
    }
    return Stage("vae", 1, config, settings, (), _train, data_hash=images.source.data_hash(), logged=True, pace=_pace)


def _pace(stage: Stage) -> Pace:
    images, optimizer = images_of(stage.config), stage.config.optimizer.vae
    n, settings, side = len(images.index()), images.vae, images.dataset.image_size
    steps = n_steps(settings.epochs, n, settings.batch_size)
    module = VAEModule(images.network(), settings, optimizer, n, steps)
    shape = (min(settings.batch_size, n), images.dataset.channels, side, side)
    batches = [(torch.rand(shape).round(),) for _ in range(1 + TIMED_STEPS)]
    return pace(module, batches, steps, settings.precision, stage.config.device.first)


def _load(bench: Bench) -> Mapping[str, Any]:
    images = images_of(bench.config)
    frozen = images.network()
    load_weights(frozen, str(images.vae.weights), images.folder)
    return bench.keep(frozen, None)


def _train(bench: Bench) -> Mapping[str, Any]:
    vae = images_of(bench.config).network()
    return bench.keep(vae, partial(_fit, vae, bench))


def _fit(vae: BetaTCVAE, bench: Bench) -> Mapping[str, Any]:
    config, images = bench.config, images_of(bench.config)
    settings, source = images.vae, images.source
    pixels = source.pixels(images.index())
    batch = min(settings.batch_size, len(pixels))
    steps = n_steps(settings.epochs, len(pixels), batch)
    epochs, n_batches = intervals(steps, len(pixels) // batch, at_most=1200)
    module = VAEModule(vae, settings, config.optimizer.vae, len(pixels), steps)
    some = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(config.seed))[:_VALIDATION_IMAGES]
    data = ArrayDataModule(
        (pixels,), (pixels[some],), batch_size=batch, n_batches=n_batches, seed=config.seed, transform=source.unpack
    )
    return fit(
        module, data, config.device, seed=config.seed, epochs=epochs, work=bench.work, name="vae",
        optimizer=config.optimizer.vae, precision=settings.precision, logger=bench.open_logger(),
        separable=False,  # the total correlation is estimated on the whole batch
    )  # fmt: skip


def load_vae(images: CodedImages, artifact: Artifact) -> BetaTCVAE:
    """The frozen network of an artefact, in eval mode."""
    vae = images.network()
    vae.load_state_dict(load_file(artifact.file(WEIGHTS)))
    return vae.eval().requires_grad_(False)


def latents_stage(config: Config, vae: Stage) -> Stage:
    """Posterior of every image: `mean.npy`, `log_variance.npy` (n, latent_dim) in the precision of `dataset.codes`,
    `index.npy` (n,) rows of the source, and `labels.npy` (n,) where it has labels."""
    images = images_of(config)
    dataset = images.dataset
    which: dict[str, Any] = {"name": dataset.name, "n_images": dataset.n_images}
    if dataset.codes is not CodePrecision.float32:
        which |= {"codes": dataset.codes.value}
    return Stage("latents", 1, config, {"dataset": which}, (vae,), _encode, data_hash=images.source.data_hash())


def _encode(bench: Bench) -> Mapping[str, Any]:
    images = images_of(bench.config)
    index = images.index()
    mean, log_variance = _posterior(images, index, bench)
    for name, values in (("mean", mean), ("log_variance", log_variance)):
        save_array(bench.folder / f"{name}.npy", _stored(images.dataset, values))
    save_array(bench.folder / "index.npy", index)
    labels = images.source.labels(index)
    if labels is not None:
        save_array(bench.folder / "labels.npy", labels)
    kl = kl_per_axis(mean, log_variance)
    return {"n": len(mean), "std": mean.std(0).tolist(), "kl": kl.tolist()}


def codes_stage(latents: Stage, rows: NDArray[np.int64]) -> Stage:
    """The rows of `latents` that a stage reads, `mean.npy` and their KL per coordinate: all of them take ten times as
    long."""
    settings = {**latents.settings, "n": len(rows), "rows": hashlib.sha256(rows.astype("<i8").tobytes()).hexdigest()}
    build = partial(_encode_rows, rows)
    return Stage(
        "codes", 2, latents.config, settings, latents.inputs, build, data_hash=latents.data_hash, on_demand=True
    )


def _encode_rows(rows: NDArray[np.int64], bench: Bench) -> Mapping[str, Any]:
    images = images_of(bench.config)
    posterior = _posterior(images, images.index()[rows], bench)
    mean, log_variance = (_stored(images.dataset, part) for part in posterior)
    save_array(bench.folder / "mean.npy", mean)
    kl = kl_per_axis(*(torch.from_numpy(part).float() for part in (mean, log_variance)))
    return {"n": len(rows), "kl": kl.tolist()}


def _stored(dataset: ImagesConfig, values: Tensor) -> NDArray[np.floating]:
    return values.numpy().astype(dataset.codes.value)


def _posterior(images: CodedImages, index: NDArray[np.int64], bench: Bench) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the images of those rows of the source, each (n, latent_dim)."""
    source, device = images.source, bench.config.device.first
    pixels = source.pixels(index)
    frozen = load_vae(images, bench.inputs["vae"]).to(device)
    frozen.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # filled in place: thousands of small results kept between large temporaries fragment the heap to gigabytes
    mean, log_variance = torch.empty(2, len(pixels), frozen.latent_dim).unbind()
    blocks = torch.arange(len(pixels)).split(_ENCODE_BATCH if device.type == "cpu" else _ENCODE_BATCH_GPU)
    with torch.inference_mode():
        for rows in track(blocks, len(blocks), "encoding images"):
            batch = source.unpack(pixels[rows].to(device))[0].contiguous(memory_format=torch.channels_last)
            mean[rows], log_variance[rows] = (part.cpu() for part in frozen.encode(batch))
    return mean, log_variance
