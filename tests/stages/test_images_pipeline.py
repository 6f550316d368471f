"""MNIST and own images, from made files to Tables 2 and 4 and the figures of traversals."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from gpot.config import Config, compose
from gpot.data import mnist
from gpot.data.download import Remote
from gpot.data.mnist import Split
from gpot.errors import BadConfig, DataMissing
from gpot.items.report import report_item
from gpot.paper.rows import Row
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import open_workshop
from gpot.store import Artifact
from tests.stages.test_pipeline import TINY

N = 600
MNIST = [override for override in TINY if "n_dci" not in override]
MNIST += ["vae.epochs=1", "evaluate.n_data=100", "dataset.n_images=null"]


def digits(n: int) -> NDArray[np.uint8]:
    """Blobs at random places: something to encode."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28]
    centre = rng.uniform(8, 20, (n, 2, 1, 1))
    return (255 * np.exp(-((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2) / 18)).astype(np.uint8)


def write_idx(path: Path, array: NDArray[np.uint8]) -> None:
    head = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(head + array.tobytes()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mnist")
    write_idx(folder / mnist.IMAGES[Split.train].name, digits(N))
    write_idx(folder / mnist.LABELS[Split.train].name, (np.arange(N) % 10).astype(np.uint8))
    return folder


@pytest.fixture(autouse=True)
def made_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of ours in place of the published ones, and no way to the network."""
    for remotes in (mnist.IMAGES, mnist.LABELS):
        monkeypatch.setitem(remotes, Split.train, Remote(remotes[Split.train].name, None, ()))
    monkeypatch.setitem(mnist.N_IMAGES, Split.train, N)


def config_of(folder: Path, *overrides: str) -> Config:
    paths = [f"paths.{name}={folder / 'outputs' / name}" for name in ("artifacts", "report", "logs")]
    return compose("report", [*MNIST, *paths, f"paths.data={folder}", *overrides])


def written(paths: list[Path], suffix: str) -> Path:
    return next(path for path in paths if path.name.endswith(suffix))


def test_codes_are_kept_in_half_precision_with_their_digits(folder: Path) -> None:
    config = config_of(folder, "experiment=table2_mnist")
    latents = open_workshop(config).make(Pipeline(config).points)
    assert latents.array("mean.npy").dtype == latents.array("log_variance.npy").dtype == np.float16
    assert (latents.array("labels.npy") == np.arange(N) % 10).all()


def test_traversals_ask_for_the_codes_of_a_sample_alone(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, "experiment=fig7", f"paths.artifacts={tmp_path}")

    def traversals() -> Artifact:
        return open_workshop(config).make(Pipeline(config).traversals(Row.flow))

    whole = traversals()  # the flow was trained on the codes of all images
    names = ("images", "values", "kl", "change", "rows")
    expected = {name: whole.array(f"{name}.npy").copy() for name in names}
    assert not (tmp_path / "codes").exists()
    shutil.rmtree(tmp_path / "latents")
    shutil.rmtree(tmp_path / "traversals")
    alone = traversals()
    assert (tmp_path / "codes").exists() and not (tmp_path / "latents").exists()
    for name, array in expected.items():
        np.testing.assert_array_equal(alone.array(f"{name}.npy"), array, err_msg=name)


def test_table_2_of_mnist(folder: Path) -> None:
    config = config_of(folder, "experiment=table2_mnist")
    paths = report_item(config, open_workshop(config))
    rows = json.loads(written(paths, ".json").read_text())["rows"]
    assert [row["row"] for row in rows] == [
        "flow",
        "flow+rotation",
        "flow+gp",
        "flow+gp+euler",
        "flow+gp:twist",
        "flow+gp:mlp",
        "flow+gp+euler:mlp",
    ]
    assert {row["dataset"] for row in rows} == {"mnist"} and rows[0]["n_parameters_flow"] == 36_904
    for row in rows:
        assert row["protocol"] is None and row["disentanglement"] is None
        assert row["gelbrich"] == rows[0]["gelbrich"]  # of the same points
        # 100 points, float32: the likelihood changes by no more than the log-determinant error
        assert row["nll_exact"] == pytest.approx(rows[0]["nll_exact"], abs=1e-3)
    assert rows[0]["paper"]["cost"] == 6.81 and rows[1]["paper"] == {}


def test_figure_7_shows_a_figure_per_data_point_and_says_how_images_change(folder: Path) -> None:
    config = config_of(folder, "experiment=fig7", "report.traversal.n_points=4", "report.traversal.threshold=0")
    paths = report_item(config, open_workshop(config))
    assert {path.name for path in paths} >= {
        "fig7_1.png", "fig7_2.pdf", "fig7_3.png", "fig7.gif", "fig7.json", "fig7_traversals.npz"
    }  # fmt: skip
    rows = json.loads(written(paths, ".json").read_text())["rows"]
    assert [row["row"] for row in rows] == ["latent", "flow", "flow+gp"]
    with np.load(written(paths, "_traversals.npz")) as arrays:
        images, kl = arrays["images"], arrays["kl"]
        assert images.shape == (3, 4, 10, 13, 1, 32, 32) and images.dtype == np.uint8
        assert (np.diff(kl) <= 0).all() and arrays["panels"].tolist()[2] == "FFJORD+GP"
        step = np.abs(np.diff(images[:, :, :, ::2].astype(float) / 255, axis=3)).mean((1, 2, 3, 4, 5, 6))
    for row, change in zip(rows, step, strict=True):
        # all axes are informative at a threshold of 0; images are rounded to 1/255, which moves a difference by 1/255
        assert row["n_informative"] == 10 and row["change_other"] is None and row["lost"] == 0
        assert row["change_informative"] == pytest.approx(change, abs=1 / 255)


def test_nothing_changes_along_a_row_of_equal_values(folder: Path) -> None:
    config = config_of(folder, "experiment=fig7", "report.traversal.extent=0", "report.traversal.n_points=2")
    paths = report_item(config, open_workshop(config))
    rows = json.loads(written(paths, ".json").read_text())["rows"]
    assert all(row["change_other"] in (0.0, None) and row["change_informative"] in (0.0, None) for row in rows)
    with np.load(written(paths, "_traversals.npz")) as arrays:
        images = arrays["images"]
    # equal to the rounding of a grey level: a sum may be taken in another order elsewhere in a batch
    assert np.abs(images.astype(int) - images[:, :, :, :1]).max() <= 1
    assert (images[0] != images[1]).any(), "but the spaces differ"


def test_a_dataset_without_images_is_refused_by_name(folder: Path) -> None:
    # table1 has a row of twist couplings, which are for more dimensions
    for experiment, gp in (("fig7", []), ("table1", ["gp@report.variants.twist.gp=toy_ridge"])):
        config = compose("report", [f"experiment={experiment}", "dataset=two_moons", f"paths.artifacts={folder}", *gp])
        with pytest.raises(BadConfig, match=r"two_moons.*has none"):
            report_item(config, open_workshop(config))


def test_without_files_and_network_the_error_says_what_to_do(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder, "experiment=table2_mnist", f"paths.data={tmp_path}", "seed=9")
    with pytest.raises(DataMissing, match=r"train-images-idx3-ubyte.gz(.|\n)*name the folder that has it"):
        open_workshop(config).make(Pipeline(config).points)


def test_own_images_reach_a_flow(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", np.pad(digits(300), ((0, 0), (2, 2), (2, 2))))
    overrides = [
        "upstream=make",
        "dataset=latents",
        f"dataset.path={tmp_path / 'images.npy'}",
        "vae.epochs=1",
        "flow.epochs=1",
    ]
    paths = [f"paths.artifacts={tmp_path / 'artifacts'}"]
    sizes = ["budget=smoke", "models=toy", "pretrained=null", "dataset.n_images=null", "flow.batch_size=64"]
    config: Any = compose("train_flow", [*overrides, *paths, *sizes])
    flow = open_workshop(config).make(Pipeline(config).flow)
    assert np.isfinite(flow.manifest["metrics"]["val/nll"])
