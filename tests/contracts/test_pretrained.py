"""A user who types the default command gets the released models, not hours of training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from gpot.config import Config, compose
from gpot.items.released import stages_of
from gpot.items.rows import report_rows
from gpot.stages.flow import load_flow
from gpot.stages.gp import load_gp
from gpot.stages.pipeline import Pipeline
from gpot.stages.rotation import load_rotation
from gpot.stages.stage import Stage
from gpot.stages.vae import images_of, load_vae
from gpot.store import Artifact, Store
from tests.conftest import ROOT

STALE = (
    "the default configs ask for {stage} {key}, which is not in pretrained/: a change of code or config changed what "
    "it depends on. Undo that change, or train again (scripts/train_{stage}.py pretrained=null) and release the result."
)


@pytest.fixture
def config() -> Config:
    return compose("report", ["experiment=table1"])


@pytest.fixture
def released(tmp_path: Path) -> Store:
    return Store(tmp_path, ROOT / "pretrained")


def _find(store: Store, stage: Stage) -> Artifact:
    artifact = store.find(stage.name, stage.key)
    assert artifact is not None, STALE.format(stage=stage.name, key=stage.key)
    return artifact


def test_default_keys_are_released(config: Config, released: Store) -> None:
    _find(released, Pipeline(config).vae)
    _find(released, Pipeline(config).flow)
    check_gps(config, released)


def check_gps(config: Config, released: Store) -> None:
    """Every GP flow of the config's rows is released, loads, and keeps the Gaussian."""
    moved = [row for row in report_rows(config) if row.row.moves]
    assert moved
    for row in moved:
        gp = load_gp(row.config.gp, row.config.dataset.dim, _find(released, Pipeline(row.config).gp))
        assert gp.log_det_error(torch.randn(64, row.config.dataset.dim)).abs().mean() < row.config.gp.logdet_tolerance


def test_the_budget_asks_for_the_same_frozen_models(released: Store) -> None:
    for budget in ("paper", "smoke"):
        for dataset in ("dsprites", "mnist", "two_moons"):
            config = compose("train_gp", [f"dataset={dataset}", f"budget={budget}"])
            _find(released, Pipeline(config).flow)


@pytest.mark.parametrize("experiment", ["table1", "table2"])
def test_what_takes_long_of_the_latent_tables_is_released(experiment: str, released: Store) -> None:
    """Beside the models the codes that are read, the best rotations, the potentials; and all that is there loads."""
    found = set()
    for row in report_rows(compose("report", [f"experiment={experiment}"])):
        for _, stage in stages_of(row):
            found.add(_find(released, stage).stage)
    of_mnist = {"latents"} if experiment == "table2" else set()
    assert found == {"vae", "codes", "flow", "rotation", "gp", "potential"} | of_mnist
    pipeline = Pipeline(compose("report", [f"experiment={experiment}"]))
    rotation = load_rotation(_find(released, pipeline.rotation)).rotation
    assert (rotation @ rotation.T - torch.eye(len(rotation))).abs().max() < 1e-5


def test_gp_flows_of_the_authors_models_are_released_and_no_model_of_theirs(released: Store) -> None:
    config = compose("report", ["experiment=table1", "models=authors"])
    stages = [stage for row in report_rows(config) for _, stage in stages_of(row)]
    assert {_find(released, stage).stage for stage in stages} == {"rotation", "gp", "potential"}
    check_gps(config, released)
    for stage in (Pipeline(config).vae, Pipeline(config).flow):
        assert released.find(stage.name, stage.key) is None


def test_released_models_load(config: Config, released: Store) -> None:
    vae = load_vae(images_of(config), _find(released, Pipeline(config).vae))
    mean, _ = vae.encode(torch.zeros(1, 1, 64, 64))
    assert mean.isfinite().all()
    flow = load_flow(config, _find(released, Pipeline(config).flow))
    z = torch.randn(16, config.dataset.dim)
    assert (flow.transform(flow.inverse(z)) - z).abs().max() < 0.1  # the solver's tolerance, see third_party/ffjord


@pytest.mark.parametrize("experiment", ["fig1", "fig2", "fig3", "fig4"])
def test_models_of_the_2d_figures_are_released(experiment: str, released: Store) -> None:
    config = compose("report", [f"experiment={experiment}"])
    for row in report_rows(config):
        _find(released, Pipeline(row.config).flow)
    check_gps(config, released)


@pytest.mark.parametrize(
    ("dataset", "family"),
    [*((name, "bnaf") for name in ("eight_gaussians", "two_moons", "pinwheel", "checkerboard")),
     *((name, "cpflow") for name in ("eight_gaussians", "two_moons"))],
)  # fmt: skip
def test_2d_flows_are_released(dataset: str, family: str, released: Store) -> None:
    config = compose("train_gp", [f"dataset={dataset}", f"flow={family}"])
    flow = load_flow(config, _find(released, Pipeline(config).flow))
    z = torch.randn(200, 2)
    x = flow.inverse(z)
    inside = x.isfinite().all(1)  # BNAF is not onto: a few in 100,000 Gaussian samples lie outside its image
    assert inside.sum() >= 198 and (flow.transform(x[inside]) - z[inside]).abs().max() < 1e-4


@pytest.mark.parametrize("experiment", ["table2_mnist", "fig7", "fig8"])
def test_mnist_needs_no_download(experiment: str, released: Store) -> None:
    mnist = compose("report", [f"experiment={experiment}", "paths.data=there/is/none"])
    vae = _find(released, Pipeline(mnist).vae)
    latents = _find(released, Pipeline(mnist).points)
    mean, log_variance, labels = (latents.array(f"{name}.npy") for name in ("mean", "log_variance", "labels"))
    assert mean.shape == log_variance.shape == (60_000, 10) and mean.dtype == log_variance.dtype == np.float16
    assert np.isfinite(mean).all() and np.isfinite(log_variance).all()
    # the published counts of the digits
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    flow = load_flow(mnist, _find(released, Pipeline(mnist).flow))
    check_gps(mnist, released)
    z = torch.randn(16, 10)
    assert (flow.transform(flow.inverse(z)) - z).abs().max() < 0.1
    decoded = load_vae(images_of(mnist), vae).decode(torch.from_numpy(mean[:64]).float())
    assert decoded.shape == (64, 1, 32, 32) and decoded.amax((1, 2, 3)).mean() > 0.8, "digits, not a grey mean"


def test_a_training_change_is_noticed(config: Config, released: Store) -> None:
    changed = compose("report", ["experiment=table1", "vae.beta=6.0"])
    assert released.find("vae", Pipeline(changed).vae.key) is None
