"""Copy the trained models of a config from the store to pretrained/, for the next release.

    python scripts/release.py experiment=table1
    python scripts/release.py dataset=pinwheel

Writes pretrained/<stage>/<key>/ for what `gpot.items.released.stages_of` lists of the experiment's rows: VAEs, flows,
GP flows for each of `report.seeds`, the best rotations, and the potentials that bound their costs; of images also
codes, so that no download is needed, and no drawing. Weights given by a file (vae.weights, flow.weights) are refused:
only models that we trained ourselves are released.
"""

import shutil
from pathlib import Path

from gpot.config import Config
from gpot.entry import entry
from gpot.errors import BadConfig
from gpot.items.released import stages_of
from gpot.items.rows import report_rows
from gpot.stages.stage import Workshop, open_workshop
from gpot.store import Artifact


def models(config: Config, workshop: Workshop) -> list[Artifact]:
    """What is worth making once for all."""
    stages = [stage for row in report_rows(config) for _, stage in stages_of(row)]
    return [workshop.make(stage) for stage in {stage.key: stage for stage in stages}.values()]


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
