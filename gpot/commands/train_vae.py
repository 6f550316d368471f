"""Train the VAE of a dataset and encode its images (or find both in the store).

    gpot train-vae dataset=dsprites models=paper device=gpu

Writes outputs/artifacts/vae/<key>/ and outputs/artifacts/latents/<key>/.
"""

from gpot.config import Config
from gpot.entry import entry
from gpot.stages.stage import open_workshop
from gpot.stages.vae import latents_stage, vae_stage
from gpot.store import Artifact


@entry("train_vae")
def main(config: Config) -> list[Artifact]:
    workshop = open_workshop(config)
    artifacts = [workshop.make(stage) for stage in (vae_stage(config), latents_stage(config))]
    for artifact in artifacts:
        print(artifact.folder)
    return artifacts


if __name__ == "__main__":
    main()
