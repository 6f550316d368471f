"""What a reader starts from agrees (pyproject, lock, environment, Makefile), and no file names a machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
NEEDED = [
    Requirement(line)
    for line in [
        *PROJECT["project"]["dependencies"],
        *PROJECT["project"]["optional-dependencies"]["experiments"],
        *[line for line in PROJECT["project"]["optional-dependencies"]["dev"] if line != "gpot[experiments]"],
        *PROJECT["build-system"]["requires"],
    ]
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def lock_lines() -> list[str]:
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def locked(python: str) -> dict[str, Version]:
    """Name -> version that the lock gives one Python on Linux."""
    environment = {**default_environment(), "python_version": python, "python_full_version": f"{python}.5"}
    environment |= {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix"}
    versions: dict[str, Version] = {}
    for requirement in map(Requirement, lock_lines()):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in versions, f"{name} is pinned twice for Python {python}"
            (pin,) = requirement.specifier
            versions[name] = Version(pin.version)
    return versions


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)


# ---- dependencies


def test_every_line_of_the_lock_is_one_exact_pin():
    for line in lock_lines():
        assert re.fullmatch(r"[a-z0-9._-]+==[0-9][^\s;*]*( ; [^/]+)?", line), line


@pytest.mark.parametrize("python", PYTHONS)
def test_lock_satisfies_pyproject(python: str):
    versions = locked(python)
    for requirement in NEEDED:
        if requirement.marker is None or requirement.marker.evaluate({"python_version": python}):
            name = canonicalize_name(requirement.name)
            assert name in versions, f"{name} is not in requirements.lock for Python {python}. Run: make lock"
            assert requirement.specifier.contains(versions[name], prereleases=True), f"{requirement}: {versions[name]}"


def test_pyproject_gives_lower_bounds_only():
    for requirement in NEEDED:
        assert [part.operator for part in requirement.specifier] == [">="], str(requirement)


def test_lock_pins_torch_and_leaves_its_cuda_libraries_to_it():
    assert locked("3.11")["torch"] == Version("2.13.0")
    assert [line for line in lock_lines() if line.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_environment_mirrors_the_lock():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge"]
    conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    (pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert pip == ["-r requirements.lock", "-e ."]
    (python,) = [entry.removeprefix("python=") for entry in conda if entry.startswith("python=")]
    assert python in PYTHONS and sorted(conda) == ["pip", f"python={python}"]  # all else comes from the lock
    assert Requirement(f"python{PROJECT['project']['requires-python']}").specifier.contains(python)


# ---- make


def test_make_alone_lists_every_documented_target():
    documented = re.findall(r"^([a-z0-9-]+):.*?## (.+)$", MAKEFILE, re.MULTILINE)
    result = make()
    assert result.returncode == 0, result.stderr
    listed = re.findall(r"^  ([a-z0-9-]+) +(.+)$", result.stdout, re.MULTILINE)
    assert listed == documented
    wanted = {"setup", "test", "lint", "bench", "report", "reproduce", "clean", "clean-env", "reproduce-table1"}
    assert wanted <= {name for name, _ in listed}


def test_every_target_is_documented_and_phony():
    targets = set(re.findall(r"^([a-z0-9-]+):(?!=)", MAKEFILE, re.MULTILINE)) - {"help"}
    assert targets == set(re.findall(r"^([a-z0-9-]+):.*## ", MAKEFILE, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert {name for name in targets if not name.startswith("reproduce-")} <= set(phony[1].split())


def test_table1_is_one_script_with_the_options_given():
    command = (
        "-n",
        "-o",
        ".venv/.ready",
        "reproduce-table1",
        "BUDGET=smoke",
        "PRETRAINED=null",
        "DEVICE=cpu",
        "MODELS=authors",
        "OVERRIDES=seed=1",
    )
    options = "budget=smoke pretrained=null device=cpu models=authors seed=1"
    for jobs, shared in (("JOBS=1", ""), ("JOBS=3", "report.jobs=3 ")):
        result = make(*command, jobs)
        assert result.returncode == 0, result.stderr
        expected = f".venv/bin/python scripts/report.py experiment=table1 {shared}{options}"
        assert result.stdout.split() == expected.split()


def test_rows_are_made_side_by_side_on_a_cpu_alone():
    dry = ("-n", "-o", ".venv/.ready", "reproduce-table1")
    for device in ("gpu", "gpu1", "ddp"):
        assert "report.jobs" not in make(*dry, "JOBS=3", f"DEVICE={device}").stdout
    jobs = re.search(r"report\.jobs=(\d+)", make(*dry).stdout)
    assert 1 <= (int(jobs[1]) if jobs else 1) <= 8


def test_reproduce_runs_every_reproduce_target_in_order():
    targets = re.findall(r"^(reproduce-[a-z0-9-]+):", MAKEFILE, re.MULTILINE)
    assert "reproduce-table1" in targets
    assert f"printf '%s\\n' {' '.join(targets)} | " in make("-n", "reproduce", "JOBS=1").stdout


def test_reproduce_with_processes_side_by_side_starts_the_longest_and_runs_all():
    targets = re.findall(r"^(reproduce-[a-z0-9-]+):", MAKEFILE, re.MULTILINE)
    listed = re.search(r"printf '%s\\n' (.*?) \|", make("-n", "reproduce", "JOBS=2").stdout)[1].split()
    assert listed[:2] == ["reproduce-table1", "reproduce-fig4"] and sorted(listed) == sorted(targets)
    some = make("-n", "reproduce", "JOBS=2", "REPRODUCE=reproduce-fig1 reproduce-fig3").stdout
    assert "printf '%s\\n' reproduce-fig3 reproduce-fig1 | " in some


# ---- no machine is named


def project_files() -> list[Path]:
    """Files that git tracks or would track."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this copy is not a git checkout")
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


HOMES = re.compile(r"(?<![\w.)>}\]$*/-])/(?:" + "|".join(["home", "work", "tmp", "root", "Users"]) + r")(?![\w.-])")


def absolute_paths(text: str) -> list[str]:
    return [line.strip()[:120] for line in text.splitlines() if HOMES.search(line)]


def test_no_file_names_a_place_on_one_machine():
    wrong = {}
    for path in project_files():
        try:
            lines = absolute_paths(path.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue  # weights, images
        if lines:
            wrong[str(path.relative_to(ROOT))] = lines
    assert wrong == {}


@pytest.mark.parametrize("before", ["", "cd ", '"', "(", "path=", "file:", "`"])
def test_absolute_paths_are_found(before: str):
    for name in ("home", "work", "tmp", "root", "Users"):
        assert absolute_paths(f"{before}/{name}/x") and absolute_paths(f"{before}/{name}")


@pytest.mark.parametrize("text", ["outputs/work/gp", "../work/x", "$(ROOT)/tmp", "a / work", "<root>/work", "/workers"])
def test_relative_paths_are_not(text: str):
    assert absolute_paths(text) == []
