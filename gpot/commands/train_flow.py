"""Train the normalizing flow on the codes of the VAE (or find it in the store).

    gpot train-flow models=paper device=gpu upstream=make

Writes outputs/artifacts/flow/<key>/.
"""

from gpot.config import Config
from gpot.entry import entry
from gpot.stages.flow import flow_stage
from gpot.stages.stage import open_workshop
from gpot.store import Artifact


@entry("train_flow")
def main(config: Config) -> list[Artifact]:
    artifact = open_workshop(config).make(flow_stage(config))
    print(artifact.folder)
    return [artifact]


if __name__ == "__main__":
    main()
