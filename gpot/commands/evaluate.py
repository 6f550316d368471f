"""Measure the frozen flow with the config's GP flow: disentanglement, cost, likelihood, energy, certificate.

    gpot evaluate gp=ridge penalty=none upstream=make

Writes outputs/artifacts/evaluate/<key>/metrics.json.
"""

from gpot.config import Config
from gpot.entry import entry
from gpot.stages.evaluate import evaluate_stage
from gpot.stages.stage import open_workshop
from gpot.store import Artifact


@entry("evaluate")
def main(config: Config) -> list[Artifact]:
    artifact = open_workshop(config).make(evaluate_stage(config, config.gp_row))
    print(artifact.folder)
    return [artifact]


if __name__ == "__main__":
    main()
