"""Search for hyper-parameters of the GP flow with Optuna; the same command goes on with its study.

    gpot search dataset=two_moons gp=toy_ridge penalty=none search.trials=30

Writes the study into outputs/searches/<name>.db and each trial's GP flow into outputs/artifacts/gp/<key>/.
"""

import json

from gpot.config import Config
from gpot.entry import entry
from gpot.stages.stage import open_workshop
from gpot.store import Artifact
from gpot.sweeps.search import search_stage, summary


@entry("search")
def main(config: Config) -> list[Artifact]:
    study, artifact = search_stage(config, open_workshop(config))
    print(json.dumps(summary(study, artifact), indent=2))
    return [artifact]


if __name__ == "__main__":
    main()
