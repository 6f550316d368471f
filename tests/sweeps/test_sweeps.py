"""A 2 x 3 sweep on two moons: by joblib, killed in the middle and resumed, and by Slurm: the same artefacts."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gpot.sweeps.jobs import Status, read_records, settings_of
from gpot.sweeps.summary import summarize
from tests.conftest import ROOT
from tests.processes import hold
from tests.sweeps.one_node import one_node

PRETRAINED = ROOT / "pretrained"
SWEEP = [
    "-m", "sweep=lambda", "penalty.weight=0,5e-4", "penalty.halvings=5", "gp.seed=0,1,2", "budget=smoke",
    "gp=toy_ridge",
]  # fmt: skip
FOLDER = "outputs/multirun/lambda"


def command(*overrides: str) -> list[str]:
    """The sweep on released flows where the checkout has them, and else on one that it trains first."""
    released = f"pretrained={PRETRAINED}" if (PRETRAINED / "flow").is_dir() else "models=toy"
    return [sys.executable, str(ROOT / "scripts" / "evaluate.py"), *SWEEP, released, *overrides]


def environment(**more: str) -> dict[str, str]:
    """One thread in each job, whatever runs it: sums in another order would differ in their last digits."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **more}


def run(folder: Path, *overrides: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*overrides), cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=300
    )


def evaluations(folder: Path) -> dict[str, dict[str, Any]]:
    """Key -> manifest of every finished evaluation and GP flow below a folder."""
    paths = [
        path
        for stage in ("gp", "evaluate")
        for path in (folder / "outputs/artifacts" / stage).glob("[!.]*/manifest.json")
    ]
    return {f"{path.parents[1].name}/{path.parent.name}": json.loads(path.read_text()) for path in paths}


def assert_same(found: dict[str, dict[str, Any]], expected: dict[str, dict[str, Any]]) -> None:
    assert found.keys() == expected.keys()
    for key, manifest in expected.items():
        assert found[key]["metrics"] == manifest["metrics"], key
        assert found[key]["files"] == manifest["files"], "weights and metrics, byte by byte"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    done = run(folder, "launcher=joblib")
    assert done.returncode == 0, done.stderr
    assert "6 of 6 jobs are done" in done.stderr + done.stdout
    return folder


def test_every_job_leaves_its_record_and_the_summary_needs_no_more(local: Path) -> None:
    records = read_records(local / FOLDER)
    assert [(r.settings["penalty.weight"], r.settings["gp.seed"]) for r in records] == [
        (weight, str(seed)) for seed in range(3) for weight in ("0", "0.0005")
    ]
    assert {r.status for r in records} == {Status.done} and len({r.artifacts["evaluate"] for r in records}) == 6
    assert (
        len({manifest["inputs"]["pairs"] for key, manifest in evaluations(local).items() if key.startswith("gp/")}) == 1
    )
    assert {manifest["device"] for manifest in evaluations(local).values()} == {"cpu, 1 threads"}
    before = os.getcwd()
    os.chdir(local)  # the records name the store as it was typed
    try:
        summary = summarize(Path(FOLDER))
    finally:
        os.chdir(before)
    assert summary.varying == ["penalty.weight"] and not summary.missing
    assert [(g.settings["penalty.weight"], g.n) for g in summary.groups] == [("0", 3), ("0.0005", 3)]
    for group in summary.groups:
        assert {"cost", "energy", "certificate", "logdet_error_mean"} <= group.metrics.keys()
        assert group.metrics["cost"].spread and group.metrics["cost"].spread > 0


def in_the_middle(folder: Path) -> bool:
    """Two evaluations are there and another job is at work."""
    made = sum(key.startswith("evaluate/") for key in evaluations(folder))
    return made >= 2 and any(record.status is Status.running for record in read_records(folder / FOLDER))


def test_killed_in_the_middle_and_resumed(local: Path, tmp_path: Path) -> None:
    with open(tmp_path / "log", "w") as log:
        sweep = subprocess.Popen(
            command("launcher=joblib"), cwd=tmp_path, env=environment(), stdout=log, stderr=log, start_new_session=True
        )
        try:
            stop = time.monotonic() + 200
            while True:
                assert sweep.poll() is None and time.monotonic() < stop, (tmp_path / "log").read_text()
                time.sleep(0.05)
                if in_the_middle(tmp_path):
                    hold(sweep.pid)
                    if in_the_middle(tmp_path):  # still: a job may have ended between the look and the halt
                        break
                    os.killpg(sweep.pid, signal.SIGCONT)
        finally:
            os.killpg(sweep.pid, signal.SIGKILL)  # the command and its workers, which it started
            sweep.wait()
    before = evaluations(tmp_path)
    assert 2 <= sum(key.startswith("evaluate/") for key in before) < 6, "killed in the middle"
    assert Status.running in {record.status for record in read_records(tmp_path / FOLDER)}, "as it was when killed"
    resumed = run(tmp_path, "launcher=joblib")
    assert resumed.returncode == 0, resumed.stderr
    after = evaluations(tmp_path)
    for key, manifest in before.items():
        assert after[key]["started"] == manifest["started"], "what was done was found, not made again"
    assert_same(after, evaluations(local))
    assert {record.status for record in read_records(tmp_path / FOLDER)} == {Status.done}


def test_slurm_makes_the_same_artefacts(local: Path, tmp_path: Path) -> None:
    with one_node(tmp_path / "slurm") as slurm:
        done = run(tmp_path, "launcher=submitit_slurm", "gp.seed=0,2", **{k: slurm[k] for k in ("SLURM_CONF", "PATH")})
    logs = [path.read_text() for path in sorted((tmp_path / FOLDER / ".submitit").rglob("*_log.*"))]
    assert done.returncode == 0, "\n".join([done.stderr, *logs])
    found, expected = evaluations(tmp_path), evaluations(local)
    assert sum(key.startswith("evaluate/") for key in found) == 4
    assert_same(found, {key: expected[key] for key in found})


JOB = """
import os, sys
from gpot.entry import entry
@entry('train_gp')
def main(config):
    if config.penalty.weight == 1.0:
        raise RuntimeError('by accident')
    if config.penalty.weight == 2.0:
        os._exit(9)
    print('weight', config.penalty.weight)
main()
"""


def stub(folder: Path, *overrides: str) -> tuple[subprocess.CompletedProcess[str], str]:
    (folder / "app.py").write_text(JOB)
    done = subprocess.run(
        [sys.executable, "app.py", "-m", "hydra.sweep.dir=sweep", *overrides],
        cwd=folder, env=environment(), capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    return done, done.stdout + done.stderr


def test_a_failed_job_is_reported_and_the_others_run(tmp_path: Path) -> None:
    done, text = stub(tmp_path, "penalty=euler_latent", "penalty.weight=1,-1,0.5,0.25")
    assert done.returncode == 1 and "2 of 4 jobs are done" in text
    assert "weight 0.5" in text and "weight 0.25" in text
    assert "not done: python scripts/train_gp.py" in text and "penalty.weight=1" in text and "by accident" in text
    records = {record.settings["penalty.weight"]: record for record in read_records(tmp_path / "sweep")}
    assert [records[w].status for w in ("1", "-1", "0.5")] == [Status.failed, Status.failed, Status.done]
    assert "RuntimeError: by accident" in str(records["1"].error) and "app.py" in str(records["1"].trace)
    assert "BadConfig" in str(records["-1"].error) and records["-1"].trace is None, "a user's mistake has no traceback"
    again, text = stub(tmp_path, "penalty=euler_latent", "penalty.weight=0.5,0.25")
    assert again.returncode == 0 and "2 of 2 jobs are done" in text
    assert len(read_records(tmp_path / "sweep")) == 4, "the same job writes the same record"


def test_a_lost_process_is_reported(tmp_path: Path) -> None:
    done, text = stub(tmp_path, "launcher=joblib", "hydra.launcher.n_jobs=2", "penalty.weight=0.5,2")
    assert done.returncode == 1 and "the sweep ended early: TerminatedWorkerError" in text
    assert re.search(r"not done: python scripts/train_gp\.py .*penalty\.weight=2", text)
    assert "killed, or still running" in text


def test_settings_are_what_is_computed() -> None:
    where = ["launcher=joblib", "device.devices=2", "paths.artifacts=x", "hydra.launcher.n_jobs=2", "logger=csv"]
    assert settings_of([*where, "seed=1", "+gp.seed=2"]) == {"gp.seed": "2", "seed": "1"}
