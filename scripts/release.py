"""Copy the trained VAE and flow of a config from the store to pretrained/, for the next release.

    python scripts/release.py experiment=table1

Writes pretrained/vae/<key>/ and pretrained/flow/<key>/. Weights given by a file (vae.weights, flow.weights) are
refused: only models that we trained ourselves are released.
"""

import shutil
from pathlib import Path

from gpot.config import Config, entry
from gpot.errors import BadConfig
from gpot.stages.flow import flow_stage
from gpot.stages.vae import vae_stage
from gpot.store import Store


@entry("report")
def main(config: Config) -> None:
    if config.vae.weights or config.flow.weights or config.pretrained is None:
        raise BadConfig(
            "a release holds models trained here, in the folder of `pretrained`; found vae.weights, flow.weights or "
            "pretrained=null. Leave these options out."
        )
    store = Store(Path(config.paths.artifacts))
    for artifact in (vae_stage(config, store), flow_stage(config, store)):
        target = Path(config.pretrained) / artifact.stage / artifact.key
        shutil.copytree(artifact.folder, target, dirs_exist_ok=True)
        print(target)


if __name__ == "__main__":
    main()
