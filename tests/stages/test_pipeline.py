"""The whole path from data to the written table on a few hundred images, and what the store does about it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from gpot.config import Config, compose
from gpot.errors import ArtifactMissing, BadInput, DataMissing
from gpot.items.report import report_item
from gpot.paper.names import EVALUATED, MORE_SCORES, SCORES
from gpot.paper.rows import Row
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import COMMANDS, open_workshop
from gpot.store import Artifact
from tests.conftest import shared_path

TINY = [
    "budget=smoke",
    "models=toy",
    "pretrained=null",
    "dataset.n_images=700",
    "flow.epochs=1",
    "flow.tolerance=1e-3",
    "flow.batch_size=128",
    "gp.n_train=512",
    "gp.n_validation=64",
    "gp.family.width=8",
    "evaluate.n_prior=100",
    "evaluate.n_data=64",
    "evaluate.n_exact=32",
    "evaluate.certificate_batch=32",
    "evaluate.n_dci_train=400",
    "evaluate.n_dci_test=100",
]
KEYS = {
    "row", "disentanglement", "completeness", "informativeness", "protocol", "cost", "cost_stderr", "nll_analytic",
    "nll_exact", "logdet_error_mean", "logdet_error_max", "certificate", "energy", "roundtrip", "escaped", "paper",
    "artifact",
}  # fmt: skip


def tiny(folder: Path, *overrides: str, root: str = "report") -> Config:
    paths = [f"paths.{name}={folder / 'outputs' / name}" for name in ("artifacts", "report", "logs")]
    experiment = ["experiment=table1"] if root == "report" else []
    return compose(root, [*experiment, *TINY, *paths, *overrides])


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    folder = tmp_path_factory.mktemp("run")
    config = tiny(folder)
    return folder, report_item(config, open_workshop(config))


def pairs_of(folder: Path) -> Artifact:
    """The pairs that the run made."""
    (manifest,) = (folder / "outputs" / "artifacts" / "pairs").glob("*/manifest.json")
    pairs = open_workshop(tiny(folder)).store.find("pairs", manifest.parent.name)
    assert pairs is not None
    return pairs


def test_table_is_written_in_four_forms(made: tuple[Path, list[Path]]) -> None:
    _, paths = made
    written = {"table1.md", "table1.tex", "table1.csv", "table1.json", "table1_page.npz"}
    figures = {"table1_importance.png", "table1_importance.pdf"}
    assert {path.name for path in paths} == written | figures
    assert all(path.stat().st_size > 0 for path in paths)


def test_json_holds_every_row_with_every_key(made: tuple[Path, list[Path]]) -> None:
    payload = json.loads(next(path for path in made[1] if path.suffix == ".json").read_text())
    assert payload["item"] == "table1" and payload["budget"] == "smoke" and payload["seconds"] > 0
    for protocol in ("with_shape", "continuous"):
        rows = [row for row in payload["rows"] if row["protocol"] == protocol]
        assert [row["row"] for row in rows] == [
            "latent", "flow", "flow+rotation", "flow+gp", "flow+gp+euler", "flow+gp:twist",
            "flow+gp:mlp", "flow+gp+euler:mlp",
        ]  # fmt: skip
        for row in rows:
            assert KEYS | {*EVALUATED, *SCORES, *MORE_SCORES} <= set(row)
            assert all(row[score] is not None for score in (*SCORES, *MORE_SCORES))
    latent, flow, rotation, gp, _, twist = payload["rows"][:6]
    # couplings have no time, and keep the Gaussian to rounding
    assert twist["energy"] is None and twist["n_steps"] is None and twist["logdet_error_mean"] < 1e-4
    assert twist["n_parameters_gp"] == 18_156 and twist["roundtrip"] < 1e-2
    assert latent["cost"] is None and flow["energy"] is None and flow["logdet_error_mean"] is None
    # the rotation is the best of the training pairs; on others it is so up to the noise of a cost
    assert rotation["energy"] == 0 and rotation["cost"] < flow["cost"] + flow["cost_stderr"]
    # a rotation keeps the Gaussian exactly: what is left is rounding in single precision
    assert rotation["logdet_error_mean"] < 1e-5 and gp["logdet_error_mean"] < 1e-3
    assert abs(gp["nll_exact"] - gp["nll_analytic"]) < 1e-3 and abs(gp["nll_analytic"] - flow["nll_analytic"]) < 1e-4
    assert latent["paper"]["disentanglement"] == 0.58 and rotation["paper"] == {}


def test_second_call_finds_everything(made: tuple[Path, list[Path]]) -> None:
    folder, _ = made
    config = tiny(folder, "logger=csv", "device=cpu")

    def made_when() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (folder / "outputs" / "artifacts").glob("*/*/manifest.json")}

    before = made_when()
    # vae, codes of the labelled images (the first row needs no others), latents, flow, pairs, rotation, held out,
    # labelled, five gp, eight rows; the potential and its conjugates, bounds of seven rows, log-det errors of five gp
    assert len(before) == 35
    report_item(config, open_workshop(config))
    assert made_when() == before
    assert not list((folder / "outputs").glob("work/*/*"))


def test_gp_keys_depend_on_what_matters_alone(made: tuple[Path, list[Path]]) -> None:
    folder, _ = made

    def key(*overrides: str) -> str:
        changed = tiny(folder, "penalty=none", *overrides)
        return Pipeline(changed).gp.key

    same = key()
    assert key("device=cpu", "logger=csv", "penalty.halvings=3") == same
    for change in ("gp.family.width=9", "gp.chart=gaussian", "penalty=euler_latent", "seed=5", "optimizer.gp.lr=1e-4"):
        assert key(change) != same, change


def test_a_control_variate_is_of_the_squared_distance_and_of_prior_samples_alone(made: tuple[Path, list[Path]]) -> None:
    def key(*overrides: str) -> str:
        return Pipeline(tiny(made[0], "penalty=none", *overrides)).gp.key

    assert key("gp.control_variate=false") != key("gp.control_variate=true") == key(), "the default of our own fields"
    for none in ("gp.source=data", "cost=l1"):
        assert key("gp.control_variate=false", none) == key(none)


def test_missing_input_names_the_command(tmp_path: Path) -> None:
    config = tiny(tmp_path, root="train_gp")
    with pytest.raises(ArtifactMissing, match=r"train_vae\.py|train_flow\.py"):
        open_workshop(config).make(Pipeline(config).gp)


def test_weights_file_stands_for_training(tmp_path: Path) -> None:
    weights = shared_path("reference/weights/disentangling_vae_btcvae_dsprites.safetensors")
    config = tiny(tmp_path, f"vae.weights={weights}")
    artifact = open_workshop(config).make(Pipeline(config).vae)
    assert artifact.manifest["metrics"]["parameters"] == 502_005
    assert str(weights) not in json.dumps(artifact.manifest)
    flow = shared_path("reference/weights/gpflow_dsprites_ffjord.safetensors")
    stage = Pipeline(tiny(tmp_path, f"flow.weights={flow}")).flow
    other = tmp_path / "other.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(flow).items()}, other)
    assert stage.inputs == () and stage.key != Pipeline(tiny(tmp_path, f"flow.weights={other}")).flow.key
    with pytest.raises(BadInput, match="needs the 48 tensors of FFJORD"):
        assert Pipeline(tiny(tmp_path, f"flow.weights={weights}")).flow


def test_a_gp_flow_with_a_seed_of_its_own_keeps_the_flow_and_points_of_the_run(tmp_path: Path) -> None:
    plain, seeded = (Pipeline(tiny(tmp_path, *seed)) for seed in ((), ("gp.seed=7",)))
    assert seeded.gp.key != plain.gp.key
    for name in ("pairs", "flow", "latents", "vae"):
        assert seeded.gp.input(name).key == plain.gp.input(name).key


def test_what_a_result_needs_is_made_on_demand_or_by_a_command_that_is_named(tmp_path: Path) -> None:
    stages = Pipeline(tiny(tmp_path))
    for wanted in (stages.bounds(Row.rotation), stages.traversals(Row.gp), stages.log_det_errors, stages.optimum):
        for part in wanted.behind():
            assert part.on_demand or part.name in COMMANDS, f"upstream=require cannot say how to make {part.name}"


def test_wrong_weights_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="nowhere"):
        assert Pipeline(tiny(tmp_path, "vae.weights=nowhere.safetensors")).vae
    flow = shared_path("reference/weights/gpflow_dsprites_ffjord.safetensors")
    config = tiny(tmp_path, f"vae.weights={flow}")
    with pytest.raises(BadInput, match="encoder"):
        open_workshop(config).make(Pipeline(config).vae)
    assert not list((tmp_path / "outputs").glob("artifacts/vae/*/manifest.json"))


def test_rows_have_the_names_of_the_design() -> None:
    assert {"latent", "flow", "flow+rotation", "flow+gp", "flow+gp+euler"} <= {row.value for row in Row}


def test_weight_zero_is_no_penalty(made: tuple[Path, list[Path]]) -> None:
    """A sweep over penalty.weight may start at 0: that run is the one without penalty, not a second one."""
    folder, _ = made
    zero, none = tiny(folder, "penalty=euler_latent", "penalty.weight=0"), tiny(folder, "penalty=none")
    assert Pipeline(zero).gp.key == Pipeline(none).gp.key
    assert zero.gp_row is none.gp_row is Row.gp
