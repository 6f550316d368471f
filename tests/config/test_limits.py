"""What a config and the shapes of files say is refused before anything is built."""

from __future__ import annotations

import errno
import logging
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from gpot.config import Config, compose
from gpot.entry import ends_well, entry, storage_trouble
from gpot.errors import BadConfig, DataMissing
from gpot.items.figures import _optimum
from gpot.items.report import _peak_memory_gb
from gpot.report.tables import markdown
from gpot.stages.stage import open_workshop

TOY = ["dataset=two_moons", "flow=bnaf", "budget=smoke", "gp=toy_ridge"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["seed=-1"], r"seed must lie in 0\.\.4294967295, got -1"),
        (["seed=4294967296"], "seed must lie in"),
        (["gp.seed=4294967296"], r"gp\.seed must lie in"),
        (["report.seeds=[1,-2]"], r"report\.seeds\[1\] must lie in"),
        (["optimizer.gp.lr=nan"], r"optimizer\.gp\.lr must be a positive number, got nan"),
        (["optimizer.flow.lr=inf"], r"optimizer\.flow\.lr must be"),
        (["optimizer.gp.weight_decay=-1"], r"weight_decay must be at least 0"),
        (["optimizer.gp.gradient_clip=0"], "gradient_clip must be a positive number"),
        (["penalty.weight=nan"], "penalty needs weight >= 0"),
        (["gp.n_train=-3"], r"n_train"),
        (["flow=ffjord", "flow.tolerance=1e-8"], r"flow\.tolerance.*Set flow\.tolerance=1e-5"),
        (["device.accelerator=gup"], "one of cpu, gpu, auto; found 'gup'"),
        (["device.accelerator=cuda"], "found 'cuda'. Type device=gpu"),
        (["device.devices=2"], r"device\.strategy=single.*device=ddp 'device\.devices=2'"),
        (["device.devices=[0,1]"], r"device=ddp 'device\.devices=\[0, 1\]'"),
        (["device.devices=0"], "a number of at least 1"),
        (["device.devices=[0,0]"], "different indices"),
        (["device.devices=many"], "a number of at least 1"),
        (["dataset.n_points=19"], "at least 20 points.*Set a larger dataset.n_points"),
        (["dataset.n_points=2000", "gp.n_validation=350"], "50 are left of 2000 after 80% for training"),
        (
            ["dataset.n_points=3000", "evaluate.optimum_sizes=[50,3001]", "report.item=fig4"],
            r"3001 points, and dataset 'two_moons' has 3000",
        ),
    ],
)
def test_refused_at_composition(overrides: list[str], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        compose("report", [*TOY, *overrides])


def test_rows_of_a_file_count_too(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.zeros((29, 3)))
    with pytest.raises(BadConfig, match=r"at least 30 points, 10 for each; got 29\. Give more points"):
        compose("report", [*TOY, "dataset=array", f"dataset.path={tmp_path / 'few.npy'}"])


def test_jobs_of_a_sweep_write_tables_into_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = []

    @entry("report")
    def main(config: Config) -> None:
        folders.append(config.paths.report)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report.py", "-m", "seed=0,1", *TOY, "launcher=basic", "paths.report=out"])
    main()
    assert len(set(folders)) == 2 and [Path(folder).parent for folder in folders] == [Path("out")] * 2
    assert "seed=0" in folders[0] and "seed=1" in folders[1]


def test_a_full_disk_ends_in_a_sentence_and_a_mistake_of_ours_does_not(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(error: Exception) -> bool:
        raise error

    for error in (OSError(errno.ENOSPC, "", "outputs/x"), RuntimeError("I/O error (os error 28)")):
        assert not ends_well(partial(fail, error))
        said = capsys.readouterr().err
        assert "No space left on device" in said and "the same command again" in said
    assert storage_trouble(OSError(errno.EACCES, "", "outputs/x")) is not None
    with pytest.raises(ZeroDivisionError):
        ends_well(partial(fail, ZeroDivisionError()))


def test_a_misspelt_folder_of_released_models_is_refused_and_a_missing_default_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataMissing, match=r"'pretraind', and there is no such folder.*pretrained=null"):
        open_workshop(compose("report", [*TOY, "pretrained=pretraind"]))
    with caplog.at_level(logging.WARNING):
        assert open_workshop(compose("report", TOY)).store.pretrained is None
    assert "'pretrained', and there is no such folder" in caplog.text


def test_the_spread_of_one_value_is_a_dash() -> None:
    point = {"n": 50, "mean": 1.0, "spread": None, "repeats": 1}
    text = markdown({"item": "fig4", "rows": [], "optimum": {"flow": [point], "gaussian": [point]}})
    assert "1.000 ± –" in text


def test_the_picture_of_one_repeat_is_drawn(tmp_path: Path) -> None:
    point = {"n": 50, "mean": 1.0, "spread": None, "repeats": 1}
    written = _optimum({"flow": [point], "gaussian": [point]}, [], tmp_path / "optimum")
    assert [path.suffix for path in written] == [".png", ".pdf"] and all(path.stat().st_size for path in written)


def test_a_system_without_the_module_resource_has_a_dash_for_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (_peak_memory_gb() or 0.0) > 0.0
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows: the import fails
    assert _peak_memory_gb() is None
