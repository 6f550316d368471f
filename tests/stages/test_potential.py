"""Which pairs the potential behind a row's bound is fitted on, and what is not counted among them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gpot.gp.base import GaussianPreserving
from gpot.items.rows import report_rows
from gpot.stages import bounds
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import open_workshop
from tests.stages.test_toy_pipeline import lose_two, only, tiny

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_potential_is_fitted_on_pairs_of_the_first_gp_flow_after_its_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = only(tiny(tmp_path, "experiment=fig3"), "cpflow", "gp", "direct")
    rows = {row.key: row.pipelines[0] for row in report_rows(config)}
    guide = rows["flow+gp"].gp.key
    for key, pipeline in rows.items():
        read = {stage.name: stage.key for stage in pipeline.potential.inputs}
        assert read.get("gp") == (None if key == "cpflow" else guide), "after CP-Flow there is no GP flow"
    made = {key: open_workshop(config).make(pipeline.potential) for key, pipeline in rows.items()}
    assert len({artifact.key for artifact in made.values()}) == 2
    assert Pipeline(config).potential.key not in {artifact.key for artifact in made.values()}, "of the best rotation"
    metrics = made["flow"].manifest["metrics"]
    n = metrics["n_pairs"]
    assert metrics["escaped"] == 0
    moved: list[Tensor] = []

    def recorded(gp: GaussianPreserving, z: Tensor, what: str) -> Tensor:
        moved.append(z)
        return lose_two(gp, z)

    monkeypatch.setattr(bounds, "moved_by", recorded)
    again = only(tiny(tmp_path, "experiment=fig3", "bounds.steps=11"), "gp")  # another potential of the same pairs
    metrics = open_workshop(again).make(report_rows(again)[0].pipelines[0].potential).manifest["metrics"]
    assert (metrics["n_pairs"], metrics["escaped"]) == (n - 2, 2) and len(torch.cat(moved)) == n
