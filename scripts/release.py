"""Copy the trained models of a config from the store to pretrained/, for the next release.

    python scripts/release.py experiment=table1
    python scripts/release.py dataset=pinwheel

Writes pretrained/<stage>/<key>/ for the VAEs, flows and GP flows of the experiment's rows, these for each of
`report.seeds`, and the potentials that bound their costs; of images that gpot cannot draw also their codes, so that no
download is needed. Weights given by a file (vae.weights, flow.weights) are refused: only models that we trained
ourselves are released.
"""

import shutil
from pathlib import Path

from gpot.config import Config
from gpot.config.schema import ImagesConfig, MnistConfig
from gpot.entry import entry
from gpot.errors import BadConfig
from gpot.items.rows import report_rows
from gpot.paper.rows import Row
from gpot.stages.stage import Workshop, open_workshop
from gpot.store import Artifact


def models(config: Config, workshop: Workshop) -> list[Artifact]:
    """What is worth training once for all."""
    artifacts = []
    for row in report_rows(config):
        dataset, stages = row.config.dataset, row.pipelines[0]
        if isinstance(dataset, ImagesConfig):
            artifacts.append(workshop.make(stages.vae))
        if isinstance(dataset, MnistConfig):
            artifacts.append(workshop.make(stages.points))
        artifacts.append(workshop.make(stages.flow))
        if row.row is not Row.latent:
            artifacts.append(workshop.make(stages.potential))
        if row.row.moves:
            artifacts += [workshop.make(repetition.gp) for repetition in row.pipelines]
    return list({artifact.key: artifact for artifact in artifacts}.values())


@entry("report")
def main(config: Config) -> None:
    if (config.vae and config.vae.weights) or config.flow.weights or config.pretrained is None:
        raise BadConfig(
            "a release holds models trained here, in the folder of `pretrained`; found vae.weights, flow.weights or "
            "pretrained=null. Leave these options out."
        )
    for artifact in models(config, open_workshop(config)):
        target = Path(config.pretrained) / artifact.stage / artifact.key
        if not target.is_dir():  # what is released already is found there
            shutil.copytree(artifact.folder, target)
            print(target)


if __name__ == "__main__":
    main()
