"""Groups `dataset` and `vae`: what there are points or images of, and the autoencoder that codes images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Optional

from gpot.config.choices import CodePrecision, Precision
from gpot.data.mnist import Split
from third_party.btcvae import Estimator


@dataclass(kw_only=True)
class DatasetConfig:
    """What every dataset has; the flow sees points of dimension `dim`."""

    name: str
    dim: int
    mlp_hidden: list[int] = field(default_factory=lambda: [50, 50, 50])  # of the GP flow `mlp`: the paper's (Table 4)


@dataclass
class ImagesConfig(DatasetConfig):
    """Images, whose codes the flow sees."""

    image_size: int
    channels: int
    n_images: Optional[int]  # a random subset of the images; null: all of them
    codes: CodePrecision  # of the stored codes


@dataclass
class DSpritesConfig(ImagesConfig):
    path: Optional[str]  # the official file; null: gpot draws the images


@dataclass
class MnistConfig(ImagesConfig):
    split: Split


@dataclass
class ArchiveConfig(ImagesConfig):
    """Pictures in a tar or zip archive, or in a folder; without a path, `name` says what is fetched."""

    path: Optional[str]
    pattern: str  # of the shell, that names of images in the archive fit; * stands for slashes too


@dataclass
class OwnImagesConfig(ImagesConfig):
    """A user's own images, an .npy file of shape (n, S, S) or (n, C, S, S)."""

    path: Optional[str]


@dataclass
class ToyConfig(DatasetConfig):
    """A density of `gpot.data.toy`; `name` says which."""

    n_points: int


@dataclass
class PointsConfig(DatasetConfig):
    """A user's own points, an .npy or .npz file of shape (n, dim)."""

    path: Optional[str]
    standardize: bool  # to mean 0 and standard deviation 1, column by column


@dataclass
class VaeConfig:
    name: str
    weights: Optional[str]  # frozen instead of trained: a safetensors file with the released names, or authors:NAME
    latent_dim: int
    alpha: float
    beta: float
    gamma: float
    estimator: Estimator
    annealing_steps: int  # in which the weight of the dimension-wise KL rises from 0
    pressure_start: float  # factor of the whole divergence at the first step
    pressure_steps: int  # in which that factor falls to 1
    epochs: int
    batch_size: int
    precision: Precision
    ceiling: dict[int, float] = field(default_factory=dict)  # step: largest weight of a part
