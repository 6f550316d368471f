"""Frozen models of seconds (`models=toy`): far from trained, and near enough for what is built on them."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpot.config import compose
from gpot.maths.charts import count_outside, to_cube
from gpot.stages.flow import load_flow
from gpot.stages.pipeline import Pipeline
from gpot.stages.points import points_of
from gpot.stages.stage import open_workshop

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize(("experiment", "seed"), [("fig4", 0), ("fig1", 0), ("fig1", 1)])
def test_no_code_lies_beyond_the_wall_of_the_cube(
    experiment: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """erf rounds to 1 at |z| = 5.4 in float32: after too few steps a tenth of the particles of these start there, and
    no number of time steps helps them."""
    monkeypatch.chdir(tmp_path)
    options = ["budget=smoke", "models=toy", "pretrained=null"]
    config = compose("report", [*options, f"experiment={experiment}", f"seed={seed}"])
    workshop, pipeline = open_workshop(config), Pipeline(config)
    points = points_of(workshop.make(pipeline.points))
    flow = load_flow(config, workshop.make(pipeline.flow))
    z = flow.transform(points)
    assert count_outside(to_cube(z)) == 0 and z.abs().max() < 4.0
