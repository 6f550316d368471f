"""A Slurm of one node for the tests, or the reason why there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import ROOT

SCRIPT = ROOT / "scripts" / "one_node_slurm.sh"
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")


@contextmanager
def one_node(folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which `sbatch` finds it. Skips where the packages are missing or this is not root."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs root")
    environment = {**os.environ, "PATH": path}
    started = subprocess.run(
        ["bash", str(SCRIPT), "start", str(folder)], env=environment, capture_output=True, text=True, timeout=60
    )
    if started.returncode == 4:
        pytest.skip(f"Slurm does not start here: {started.stderr.strip()}")
    assert started.returncode == 0, started.stderr
    try:
        name, _, value = started.stdout.strip().removeprefix("export ").partition("=")
        yield {**environment, name: value}
    finally:
        subprocess.run(["bash", str(SCRIPT), "stop", str(folder)], env=environment, timeout=60, check=False)
