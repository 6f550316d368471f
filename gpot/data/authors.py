"""Models that the paper's authors, and those of its VAE, published: fetched from their repositories, read as data.

The repositories are at fixed commits, each file is checked by its sha256, and nothing that is pickled in it runs
(`gpot/data/checkpoints.py`). The licences are MIT; the files are not part of this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from gpot.data.checkpoints import read_checkpoint
from gpot.data.download import Remote, fetch
from gpot.errors import BadConfig

GPFLOW = ("morel-g/GPFlow", "e19acaecdb8a529548ea445fc55f5d2360ed2f4b")
DISVAE = ("YannDubs/disentangling-vae", "f0452191bab6d94eba0b4e6a065f74dcfd54ac52")
_HOSTS = (
    "https://raw.githubusercontent.com/{repository}/{commit}/{path}",
    "https://cdn.jsdelivr.net/gh/{repository}@{commit}/{path}",
)


@dataclass(frozen=True)
class AuthorsWeights:
    """A published checkpoint. file: its name in `paths.data`. places: repository with commit, and path in it; the same
    bytes in each."""

    file: str
    what: str
    sha256: str
    places: tuple[tuple[tuple[str, str], str], ...]

    @property
    def remote(self) -> Remote:
        """Where it is fetched from."""
        addresses = (
            host.format(repository=repository, commit=commit, path=path)
            for (repository, commit), path in self.places
            for host in _HOSTS
        )
        return Remote(self.file, f"sha256:{self.sha256}", tuple(addresses))


AUTHORS = {
    "btcvae_dsprites": AuthorsWeights(
        "authors_btcvae_dsprites.pt",
        "the published beta-TCVAE of dSprites",
        "ea86d65dbbcfe0534d92a7b152187c8056f1841b0e5e57512937b53b5bb3ed72",
        (
            (DISVAE, "results/btcvae_dsprites/model.pt"),
            (GPFLOW, "libs/disentangling_vae/results/btcvae_dsprites/model.pt"),
        ),
    ),
    "btcvae_mnist": AuthorsWeights(
        "authors_btcvae_mnist.pt",
        "the published beta-TCVAE of MNIST",
        "c4d8c308fc35dc9d2b9f449b394908a5857ebbf105422c2133d23949bc04efa3",
        ((DISVAE, "results/btcvae_mnist/model.pt"),),
    ),
    "ffjord_dsprites": AuthorsWeights(
        "authors_ffjord_dsprites.pt",
        "the authors' FFJORD of dSprites",
        "131ff8e762b9a40b27d15417866af31963d6d7d21062f4f9cd418b3bcc681715",
        ((GPFLOW, "pretrained_models/dsprites/ffjord/torch_nf_model.pt"),),
    ),
    "bnaf_eight_gaussians": AuthorsWeights(
        "authors_bnaf_eight_gaussians.pt",
        "the authors' BNAF of eight Gaussians",
        "fbfad27d5ca3e7ce4f841e03bcd759b4c72e29725701fdd95d8c1e016ce30be6",
        ((GPFLOW, "pretrained_models/eight_gaussians/bnaf/torch_nf_model.pt"),),
    ),
    "bnaf_two_moons": AuthorsWeights(
        "authors_bnaf_two_moons.pt",
        "the authors' BNAF of two moons",
        "f6f710fd892602d8129fa3a3f682762e1cdf66eee17ce4d663ca52db80fa6e24",
        ((GPFLOW, "pretrained_models/moons/bnaf/torch_nf_model.pt"),),
    ),
}


def authors_weights(name: str) -> AuthorsWeights:
    """The published checkpoint of that name. Raises: BadConfig, with those there are."""
    if name not in AUTHORS:
        raise BadConfig(
            f'weights="authors:{name}" asks for a model that the authors published, and there are '
            f"{', '.join(AUTHORS)}. Choose one of these and its dataset, or none of the authors' models.",
            advice={"models": "ours"},
        )
    return AUTHORS[name]


def authors_tensors(name: str, folder: Path) -> dict[str, Tensor]:
    """Its tensors, under the published names. folder: `paths.data`, where the file is, or goes.

    Raises: DataMissing, with file, addresses and folder, where it is neither there nor can be fetched; BadInput.
    """
    weights = authors_weights(name)
    return read_checkpoint(fetch(weights.remote, folder, weights.what))
