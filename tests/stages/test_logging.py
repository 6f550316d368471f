"""Runs in W&B (offline), TensorBoard and CSV, read back from their own files: names, pictures, tables, lineage."""

from __future__ import annotations

import csv
import json
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gpot.config import Config, compose
from gpot.entry import entry
from gpot.evaluation.energy import cube_energy
from gpot.evaluation.likelihood import nll_exact
from gpot.gp.flow import GaussianPreservingFlow
from gpot.items.report import report_item
from gpot.stages.flow import load_flow
from gpot.stages.gp import load_gp
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import open_workshop
from gpot.store import Artifact
from gpot.tracking.dashboard.build import specification
from gpot.tracking.dashboard.check import compare
from gpot.tracking.names import GLOBAL_STEP, LOGGED, SETTINGS, When, names
from gpot.tracking.offline_run import OfflineRun, read_runs
from gpot.tracking.run import Run, describe, paper_lines

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

POINTS = {
    "dataset.n_points": 1000, "flow.epochs": 2, "gp.n_train": 700, "gp.n_validation": 80, "gp.batch_size": 350,
    "gp.epochs": 2, "gp.epochs_penalized": 2, "evaluate.n_prior": 100, "evaluate.n_data": 100, "evaluate.n_exact": 40,
    "evaluate.certificate_batch": 40, "evaluate.optimum_sizes": "[]",
}  # fmt: skip
IMAGES = {
    "dataset.n_images": 256, "flow.epochs": 1, "flow.batch_size": 128, "gp.n_train": 256, "gp.n_validation": 64,
    "gp.batch_size": 128, "gp.epochs": 1, "gp.epochs_penalized": 1, "evaluate.n_dci_train": 100,
    "evaluate.n_dci_test": 50,
}  # fmt: skip
OWN = {"epoch", GLOBAL_STEP}


def tiny(folder: Path, logger: str, *overrides: str, root: str = "train_gp") -> Config:
    sizes = [f"{name}={value}" for name, value in (IMAGES if "dataset=dsprites" in overrides else POINTS).items()]
    paths = [f"paths.{name}={folder / 'outputs' / name}" for name in ("artifacts", "report", "logs")]
    fixed = ["budget=smoke", "models=toy", "pretrained=null", "upstream=make", f"logger={logger}"]
    return compose(root, [*fixed, *sizes, *paths, *overrides])


def moons(folder: Path, logger: str, *overrides: str) -> Artifact:
    config = tiny(folder, logger, "dataset=two_moons", "gp=toy_ridge", "penalty=euler_toy", *overrides)
    return open_workshop(config).make(Pipeline(config).gp)


@dataclass(frozen=True)
class Offline:
    folder: Path
    home: Path
    artifact: Artifact  # GP flow of images
    report: list[Path]
    runs: list[OfflineRun]

    def of(self, stage: str, dataset: str) -> list[OfflineRun]:
        return [run for run in self.runs if run.stage == stage and run.config["dataset"] == dataset]


@pytest.fixture(scope="module")
def nobody(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home folder without an account, and no network for this process."""

    def refuse(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            raise OSError(f"no network in this test: {address}")
        return connect(self, address)

    connect = socket.socket.connect
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MODE", "API_KEY", "DIR", "DATA_DIR", "CACHE_DIR", "PROJECT", "ENTITY", "BASE_URL"):
            patch.delenv(f"WANDB_{name}", raising=False)
        patch.setenv("HOME", str(home))
        patch.setenv("NETRC", str(home / "netrc"))
        patch.setattr(socket.socket, "connect", refuse)
        yield home


@pytest.fixture(scope="module")
def offline(nobody: Path, tmp_path_factory: pytest.TempPathFactory) -> Offline:
    """Images from the VAE to the GP flow, Figure 4 with its table, and eight Gaussians; no account."""
    folder = tmp_path_factory.mktemp("wandb")
    config = tiny(folder, "wandb", "dataset=dsprites", "penalty=none", "gp.family.width=8", "flow.tolerance=1e-3")
    artifact = open_workshop(config).make(Pipeline(config).gp)
    config = tiny(folder, "wandb", "experiment=fig4", root="report")
    config.report.variants = {name: config.report.variants[name] for name in ("gp", "euler")}
    report = report_item(config, open_workshop(config))
    config = tiny(folder, "wandb", "dataset=eight_gaussians", "gp=toy_ridge", "penalty=none", "seed=7")
    config.multirun = "2030-01-01_00-00-00"
    open_workshop(config).make(Pipeline(config).gp)
    return Offline(folder, nobody, artifact, report, read_runs(folder / "outputs" / "wandb"))


# What the paper prints of the runs above
PRINTED = {
    ("gp", "two_moons"): {"paper/cost", "paper/energy"},
    ("gp", "eight_gaussians"): {"paper/cost", "paper/nll"},
    ("gp", "dsprites"): {"paper/cost", "paper/nll"},
    ("flow", "dsprites"): {"paper/nll"},
    ("flow", "eight_gaussians"): {"paper/nll"},
}


def expected(run: OfflineRun) -> set[str]:
    """Names that the table promises of a run with its settings."""
    images = run.config["dataset"] == "dsprites"
    holds = {When.always, When.images if images else When.planar}
    holds |= {When.path} if run.config["velocity"] != "twist" else set()
    holds |= {When.penalty} if run.config["lambda"] > 0 else set()
    return names([run.stage], holds) | PRINTED.get((run.stage, run.config["dataset"]), set())


def test_every_run_has_the_names_that_the_table_promises_and_no_other(offline: Offline) -> None:
    assert sorted(run.stage for run in offline.runs) == ["flow"] * 3 + ["gp"] * 4 + ["report", "vae"]
    for run in offline.runs:
        assert run.names - OWN == expected(run), run.name
        assert run.exit_code == 0, run.name


def test_every_name_of_the_dashboard_is_in_the_runs(offline: Offline) -> None:
    spec = specification("team", "gpot")
    found = set().union(*(run.names for run in offline.runs))
    assert set(spec["names"]) <= found and {entry.key for entry in LOGGED} == found - OWN
    for each in compare(offline.runs):
        assert not each.missing and not each.conditional and not each.unknown, each.text


def test_a_name_that_nobody_logs_is_found(offline: Offline) -> None:
    (run,) = offline.of("vae", "dsprites")
    run.history["val/new"] = run.history.pop("val/loss")
    (compared,) = compare([run])
    run.history["val/loss"] = run.history.pop("val/new")
    assert compared.missing == {"val/loss"} and compared.unknown == {"val/new"}
    assert "MISSING  val/loss" in compared.text and "UNKNOWN  val/new" in compared.text


def test_runs_carry_their_settings(offline: Offline) -> None:
    spec = specification("team", "gpot")
    for run in offline.runs:
        assert set(SETTINGS) | {"options"} == set(run.config) and set(spec["settings"]) <= set(run.config)
        assert run.config["stage"] == run.stage and len(run.config["commit"]) >= 40
        assert run.config["options"]["optimizer"]["gp"]["schedule"] == "one_cycle"
        assert str(offline.folder) not in json.dumps({k: v for k, v in run.config["options"].items() if k != "command"})
    (euler,) = (run for run in offline.runs if run.stage == "gp" and run.config["lambda"] > 0)
    assert (euler.config["lambda"], euler.config["penalty"], euler.config["chart"]) == (5e-4, "euler_toy", "cube")
    assert [w for _, w in euler.history["penalty/weight"]] == pytest.approx([5e-4, 5e-4 / 8])
    assert [run.group for run in offline.of("gp", "eight_gaussians")] == ["2030-01-01_00-00-00"]
    assert {run.group for run in offline.of("gp", "two_moons")} == {""}


def test_reference_lines_are_the_papers_numbers(offline: Offline) -> None:
    config = tiny(offline.folder, "none", "dataset=two_moons", "penalty=euler_toy")
    lines = paper_lines(config.dataset.name, config.flow.name, config.gp_row)
    assert lines == {"paper/cost": 1.04, "paper/energy": 0.09}
    (euler,) = (run for run in offline.of("gp", "two_moons") if run.config["lambda"] > 0)
    for key, value in lines.items():
        assert [v for _, v in euler.history[key]] == pytest.approx([value] * 2)


def test_pictures_are_pictures(offline: Offline) -> None:
    for run in offline.runs:
        for key in ("figures/density", "figures/mesh", "figures/traversals", "report/figures"):
            for _, value in run.history.get(key, []):
                for name in value.get("filenames", [value.get("path")]):
                    pixels = imread(run.folder / "files" / name)
                    assert pixels.std() > 0.01 and min(pixels.shape[:2]) > 200, (run.name, name)
    (moons,) = (run for run in offline.of("gp", "two_moons") if run.config["lambda"] > 0)
    steps = [step for step, _ in moons.history["val/cost"]]
    assert [step for step, _ in moons.history["figures/mesh"]] == steps and len(steps) == 2
    (report,) = offline.of("report", "two_moons")
    ((_, figures),) = report.history["report/figures"]
    assert set(figures.get("captions", [figures.get("caption")])) == {
        path.stem for path in offline.report if path.suffix == ".png"
    }


def test_the_table_has_the_numbers_of_the_report(offline: Offline) -> None:
    written = json.loads(next(path for path in offline.report if path.suffix == ".json").read_text())["rows"]
    (report,) = offline.of("report", "two_moons")
    ((_, value),) = report.history["report/table"]
    table = json.loads((report.folder / "files" / value["path"]).read_text())
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    assert len(rows) == len(written) == 4
    for row, made in zip(rows, written, strict=True):
        for key in ("row", "cost", "nll_exact", "energy", "certificate", "artifact"):
            assert row[key] == (made[key] if isinstance(made[key], str | None) else pytest.approx(made[key])), key
        assert row["paper cost"] == made["paper"].get("cost")


def test_artefacts_have_their_lineage(offline: Offline) -> None:
    assert [dict(made=list(run.made), used=list(run.used)) for run in offline.of("vae", "dsprites")] == [
        {"made": [f"vae-{offline.of('vae', 'dsprites')[0].config['key']}"], "used": []}
    ]
    for dataset in ("dsprites", "two_moons", "eight_gaussians"):
        (flow,) = offline.of("flow", dataset)
        assert list(flow.made) == [f"flow-{flow.config['key']}"]
        assert list(flow.used) == [name for run in offline.of("vae", dataset) for name in run.made]
        for gp in offline.of("gp", dataset):
            assert list(gp.made) == [f"gp-{gp.config['key']}"]
            # BNAF learns from points, so its GP flow stands on it alone; pairs from a prior touch no code of the VAE
            assert list(gp.used) == list(flow.made)
            # what is used is, byte for byte, what was made: W&B draws an edge where digests agree
            assert gp.used[f"flow-{flow.config['key']}"].digest == flow.made[f"flow-{flow.config['key']}"].digest
    (report,) = offline.of("report", "two_moons")
    runs = offline.of("flow", "two_moons") + offline.of("gp", "two_moons")
    assert set(report.used) == {name for run in runs for name in run.made}
    kept = offline.of("gp", "dsprites")[0].made[f"gp-{offline.artifact.key}"]
    assert {entry.path for entry in kept.manifest.contents} == {
        "manifest.json", "weights.safetensors", "history.json"
    }  # fmt: skip
    assert json.loads(kept.metadata)["key"] == offline.artifact.key


def test_nothing_is_written_outside_of_outputs(offline: Offline) -> None:
    assert list(offline.home.rglob("*")) == []
    assert {path.name for path in offline.folder.iterdir()} == {"outputs"}
    assert {path.name for path in (offline.folder / "outputs").iterdir()} == {"artifacts", "report", "wandb", "work"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Artifact]]:
    """The same training with each of the other loggers."""
    made = {}
    for logger in ("none", "csv", "tensorboard"):
        folder = tmp_path_factory.mktemp(logger)
        made[logger] = (folder, moons(folder, logger))
    return made


def test_csv_and_tensorboard_have_the_same_names(files: dict[str, tuple[Path, Artifact]]) -> None:
    key = files["csv"][1].key
    (folder,) = (files["csv"][0] / "outputs" / "logs" / "gp" / key).glob("version_*")
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    pictures = {path.relative_to(folder).as_posix().rsplit("_", 1)[0] for path in folder.rglob("*.png")}
    wanted = names(["gp"], {When.always, When.penalty, When.path, When.planar}) | PRINTED["gp", "two_moons"]
    assert set(rows[0]) - {"step", "epoch"} | pictures == wanted
    (board,) = (files["tensorboard"][0] / "outputs" / "logs" / "gp" / key).glob("version_*")
    events = EventAccumulator(str(board)).Reload()
    assert set(events.Tags()["scalars"]) - {"epoch"} | set(events.Tags()["images"]) == wanted
    for name in ("val/cost", "train/cost", "val/energy", "paper/cost"):
        scalars = {event.step: event.value for event in events.Scalars(name)}
        assert scalars == pytest.approx({int(row["step"]): float(row[name]) for row in rows if row[name]}), name


def test_a_logger_changes_no_result(files: dict[str, tuple[Path, Artifact]]) -> None:
    plain, *others = (artifact for _, artifact in files.values())
    for artifact in others:
        assert artifact.key == plain.key
        weights = (made.manifest["files"]["weights.safetensors"] for made in (artifact, plain))
        assert len({entry["sha256"] for entry in weights}) == 1  # the history has what a logger asks for besides
        assert artifact.manifest["metrics"] == plain.manifest["metrics"]


def test_numbers_of_the_loggers_are_those_of_the_training(files: dict[str, tuple[Path, Artifact]]) -> None:
    folder, artifact = files["csv"]
    (found,) = (folder / "outputs" / "logs" / "gp").glob("*/version_0/metrics.csv")
    with open(found, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["val/cost"]]
    assert min(float(row["val/cost"]) for row in rows) == pytest.approx(artifact.manifest["metrics"]["val/cost"])
    config = tiny(folder, "csv", "dataset=two_moons", "gp=toy_ridge", "penalty=euler_toy")
    workshop = open_workshop(config)
    pairs = workshop.store.find("pairs", artifact.manifest["inputs"]["pairs"])
    assert pairs is not None
    z = pairs.tensors("pairs.safetensors")["z_validation"]
    x = pairs.tensors("pairs.safetensors")["x_validation"]
    gp, flow = load_gp(config.gp, config.dataset.dim, artifact), load_flow(config, workshop.make(Pipeline(config).flow))
    best = rows[artifact.manifest["metrics"]["best_epoch"]]
    assert float(best["val/nll_exact"]) == pytest.approx(nll_exact(gp, z, flow.forward(x)[1]).mean, abs=1e-5)
    assert isinstance(gp, GaussianPreservingFlow)
    energy = cube_energy(gp, 1024, torch.Generator().manual_seed(config.seed)).mean
    assert float(best["val/energy"]) == pytest.approx(energy, rel=1e-5)


def test_an_interrupted_run_goes_on_as_itself(nobody: Path, tmp_path: Path) -> None:
    config = tiny(tmp_path, "wandb", "dataset=two_moons")
    workshop, work = open_workshop(config), tmp_path / "work"
    work.mkdir()
    for ending in (ValueError("killed"), None):
        try:
            with Run(partial(describe, config, "gp"), workshop.open_logger) as run:
                assert run.open(work) is not None
                if ending is not None:
                    raise ending
        except ValueError:
            pass
    first, second = read_runs(tmp_path / "outputs" / "wandb")
    assert first.identity == second.identity and (first.exit_code, second.exit_code) == (1, 0)


def test_jobs_of_a_sweep_know_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    run = entry("train_gp")(lambda config: seen.append(config.multirun))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train_gp.py", "budget=smoke"])
    run()
    monkeypatch.setattr(sys, "argv", ["train_gp.py", "-m", "budget=smoke", "seed=1,2", "hydra.sweep.dir=sweeps/mine"])
    run()
    assert seen == [None, "mine", "mine"]
