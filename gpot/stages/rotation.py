"""Stage `rotation`: the orthogonal map that is best for the pairs of a frozen flow, where nothing else moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from gpot.config.choices import Rotation as RotationChoice
from gpot.gp.orthogonal import Rotation
from gpot.gp.rotation import fit_rotation
from gpot.maths.costs import Cost
from gpot.stages.costs import cost_of, cost_settings
from gpot.stages.stage import Bench, Stage
from gpot.store import Artifact

_ROTATION, _MATRIX = "rotation.safetensors", "rotation"


def best_rotation(choice: RotationChoice, x: Tensor, z: Tensor, cost: Cost) -> Tensor:
    """The orthogonal matrix (d, d) that is best for pairs x, z (n, d) and a cost; with det -1 allowed where the choice
    is `reflection`."""
    return fit_rotation(x, z, choice is RotationChoice.reflection, cost)


def rotation_stage(pairs: Stage) -> Stage:
    """Q of the pairs that GP flows learn from, `rotation.safetensors`, (d, d) float32."""
    config = pairs.config
    settings = {"rotation": config.gp.rotation.value} | cost_settings(config.cost)
    return Stage("rotation", 1, config, settings, (pairs,), _fit, on_demand=True)


def _fit(bench: Bench) -> Mapping[str, Any]:
    pairs, config = bench.inputs["pairs"], bench.config
    arrays = pairs.tensors("pairs.safetensors")
    x, z = arrays["x_train"], arrays["z_train"]
    matrix = best_rotation(config.gp.rotation, x, z, cost_of(config.cost, pairs))
    save_file({_MATRIX: matrix.contiguous()}, bench.folder / _ROTATION)
    return {"n_pairs": len(x)}


def load_rotation(artifact: Artifact) -> Rotation:
    """The map z -> Q z of an artefact."""
    matrix = artifact.tensors(_ROTATION)[_MATRIX]
    return Rotation(len(matrix), matrix)
