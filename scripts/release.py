"""Copy the trained models of a config from the store to pretrained/, for the next release.

    python scripts/release.py experiment=table1
    python scripts/release.py dataset=pinwheel

Writes pretrained/<stage>/<key>/ for the VAE, the flows and, of 2-D data, the GP flows of the experiment's rows. Weights
given by a file (vae.weights, flow.weights) are refused: only models that we trained ourselves are released.
"""

import shutil
from pathlib import Path

from gpot.config import Config, entry
from gpot.config.schema import ImagesConfig
from gpot.errors import BadConfig
from gpot.stages.flow import flow_stage
from gpot.stages.gp import gp_stage
from gpot.stages.rows import report_rows
from gpot.stages.vae import vae_stage
from gpot.store import Artifact, Store


def models(config: Config, store: Store) -> list[Artifact]:
    """What is worth training once for all: of latent spaces not the GP flows, which each budget trains in minutes."""
    images = isinstance(config.dataset, ImagesConfig)
    found = [vae_stage(config, store)] if images else []
    for row in report_rows(config):
        found.append(flow_stage(row.config, store))
        if row.row.moves and not images:
            found.append(gp_stage(row.config, store))
    return list({artifact.key: artifact for artifact in found}.values())


@entry("report")
def main(config: Config) -> None:
    if (config.vae and config.vae.weights) or config.flow.weights or config.pretrained is None:
        raise BadConfig(
            "a release holds models trained here, in the folder of `pretrained`; found vae.weights, flow.weights or "
            "pretrained=null. Leave these options out."
        )
    store = Store(Path(config.paths.artifacts))
    for artifact in models(config, store):
        target = Path(config.pretrained) / artifact.stage / artifact.key
        shutil.copytree(artifact.folder, target, dirs_exist_ok=True)
        print(target)


if __name__ == "__main__":
    main()
