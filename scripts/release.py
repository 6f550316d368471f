"""Copy the trained models of a config from the store to pretrained/, for the next release.

    python scripts/release.py experiment=table1
    python scripts/release.py dataset=pinwheel
    python scripts/release.py experiment=table1 models=authors

Writes pretrained/<stage>/<key>/ for what `gpot.items.released.stages_of` lists of the experiment's rows: VAEs, flows,
GP flows for each of `report.seeds`, the best rotations, and the potentials that bound their costs; of images also
codes, so that no download is needed, and no drawing. Of the authors' models what was trained here after them is
released, and not they; frozen models from a user's file are refused, since nobody else has that file.
"""

import shutil
from pathlib import Path

from gpot.config import Config
from gpot.data.weights import is_published
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
    given = [frozen.weights for frozen in (config.vae, config.flow) if frozen and frozen.weights]
    if config.pretrained is None or not all(is_published(weights) for weights in given):
        raise BadConfig(
            "a release holds models that anyone can make again, in the folder of `pretrained`; found vae.weights or "
            "flow.weights of a file, or pretrained=null. Leave these options out."
        )
    for artifact in models(config, open_workshop(config)):
        target = Path(config.pretrained) / artifact.stage / artifact.key
        if not target.is_dir():  # what is released already is found there
            shutil.copytree(artifact.folder, target)
            print(target)


if __name__ == "__main__":
    main()
