"""Train the Gaussian-preserving flow of a frozen flow (or find it in the store).

    gpot train-gp gp=ridge penalty=euler_latent upstream=make

Writes outputs/artifacts/gp/<key>/.
"""

from gpot.config import Config
from gpot.entry import entry
from gpot.stages.gp import gp_stage
from gpot.stages.stage import open_workshop
from gpot.store import Artifact


@entry("train_gp")
def main(config: Config) -> list[Artifact]:
    artifact = open_workshop(config).make(gp_stage(config))
    print(artifact.folder)
    return [artifact]


if __name__ == "__main__":
    main()
