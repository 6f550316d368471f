"""The wheel: what it puts into a site-packages, and that the command `gpot` works from it in an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from gpot import commands
from tests.conftest import ROOT

BACKEND = 'import os; from setuptools import build_meta; print(build_meta.build_wheel(os.environ["WHEELS"]))'
FLOW = """
import torch

class Shear(torch.nn.Module):
    dim = 2

    def forward(self, x):
        return torch.stack((x[:, 0], x[:, 1] + x[:, 0] ** 2), 1), torch.zeros(len(x), dtype=x.dtype)

    def inverse(self, z):
        return torch.stack((z[:, 0], z[:, 1] - z[:, 0] ** 2), 1)

def load():
    return Shear().double()
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built by the project's backend, without a network, from a copy of the files that it names."""
    if find_spec("setuptools") is None or find_spec("setuptools.command.bdist_wheel") is None:
        pytest.skip("the build backend is not installed: setuptools >= 77")
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("gpot", "third_party", "configs", "pretrained"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    environment = os.environ | {"WHEELS": str(folder)}
    done = subprocess.run([sys.executable, "-c", BACKEND], cwd=source, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with this wheel, and the packages of the running one; its folder of commands."""
    folder = tmp_path_factory.mktemp("env")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    there = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps", "--no-index", "-q"]
    done = subprocess.run([*install, "--disable-pip-version-check", str(wheel)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # a plain line: the .pth files that lie there, and with them an editable gpot, are not read
    (there / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def run(command: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "GPOT_DATA")}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def test_everything_lies_below_gpot(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        tops = {name.split("/")[0] for name in names}
        assert tops == {"gpot", f"gpot-{wheel.name.split('-')[1]}.dist-info"}
        assert "gpot/_third_party/bnaf/model.py" in names and "gpot/_third_party/ffjord/README.md" in names
        assert ("gpot/py.typed" in names and "gpot/report/page/page.css" in names) or any(
            name.startswith("gpot/report/page/") and name.endswith(".css") for name in names
        )
        here = {path.relative_to(ROOT).as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
        assert {name.removeprefix("gpot/") for name in names if name.startswith("gpot/configs/")} == here
        for name in names:
            if name.endswith(".py"):
                source = archive.read(name).decode()
                assert "from third_party" not in source and "import third_party" not in source, name
        (metadata,) = [name for name in names if name.endswith("METADATA")]
        needed = [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Requires-Dist")]
    plain = {line.split()[1].split(">")[0] for line in needed if "extra ==" not in line}
    library = {"filelock", "numpy", "rich", "safetensors", "scikit-learn", "scipy", "torch", "torchdiffeq"}
    assert plain == library


def test_monge_map_from_the_command_line(installed: Path, tmp_path: Path):
    (tmp_path / "flow.py").write_text(FLOW)
    rows = [f"{k / 10 - 3},{(7 * k % 60) / 10 - 3}" for k in range(60)]
    (tmp_path / "points.csv").write_text("\n".join(["height,width", *rows]) + "\n")
    command = [str(installed / "gpot"), "monge", "flow.py:load", "points.csv", "--steps", "20", "--quiet"]
    done = run(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert "height" in done.stdout and "cost after" in done.stdout
    assert {path.name for path in (tmp_path / "monge").iterdir()} == {
        "manifest.json", "report.json", "weights.safetensors"
    }  # fmt: skip


def test_experiments_run_from_the_wheel(installed: Path, tmp_path: Path):
    options = ["dataset=two_moons", "flow=bnaf", "gp=toy_ridge", "penalty=none"]
    found = run([str(installed / "gpot"), "train-gp", *options], tmp_path)
    # the released models came with the wheel, so that nothing is trained
    assert found.returncode == 0, found.stderr
    assert (Path(found.stdout.split()[-1]) / "manifest.json").is_file() and str(installed.parent) in found.stdout
    page = run([str(installed / "gpot"), "report", "experiment=table1", "--cfg", "job"], tmp_path)
    assert page.returncode == 0 and "dsprites" in page.stdout, page.stderr


def test_a_command_that_is_none_and_one_whose_packages_are_missing(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["gpot", "train_gp"])
    with pytest.raises(SystemExit, match="2"):
        commands.main()
    assert "Did you mean 'gpot train-gp'?" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["gpot", "report"])
    monkeypatch.setattr(commands, "_IMPORTED", {"hydra-core": "no_such_package"})
    with pytest.raises(SystemExit, match="1"):
        commands.main()
    assert "hydra-core" in (said := capsys.readouterr().err) and "pip install 'gpot[experiments]'" in said


def test_every_command_is_a_module_and_a_script():
    modules = {path.stem for path in (ROOT / "gpot" / "commands").glob("[!_]*.py")}
    assert modules == {name.replace("-", "_") for name in commands.COMMANDS}
    assert not [name for name in modules if not (ROOT / "scripts" / f"{name}.py").is_file()]


def test_importing_gpot_costs_little_more_than_torch():
    """By what is imported, which repeats, not by the clock: nothing of the experiments, and no second torch."""
    heavy = ("hydra", "lightning", "omegaconf", "matplotlib", "sklearn", "scipy", "ot", "wandb")
    code = f"import sys, gpot; print([name for name in {heavy!r} if name in sys.modules])"
    done = run([sys.executable, "-c", code], ROOT)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
