"""Results that processes make side by side: the same as one after another, and the same errors."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from gpot.config import Config, compose
from gpot.errors import ArtifactMissing, BadInput, ProcessLost
from gpot.stages.side_by_side import make_all, shared_threads
from gpot.stages.stage import Bench, Stage, open_workshop
from tests.conftest import ROOT
from tests.processes import alive, wait_for


def config_in(folder: Path, *overrides: str) -> Config:
    return compose(
        "report", ["experiment=fig4", "pretrained=null", f"paths.artifacts={folder / 'artifacts'}", *overrides]
    )


def stage_of(config: Config, number: int, build: Any, *inputs: Stage) -> Stage:
    return Stage(f"number{number}", 1, config, {"number": number}, inputs, build)


def add(bench: Bench) -> Mapping[str, Any]:
    """The sum of what it reads, a random number of its seed, and who made it."""
    logging.getLogger("tests.adding").info("adding %s", bench.stage.name)
    time.sleep(0.5)
    values = [artifact.manifest["metrics"]["value"] for artifact in bench.inputs.values()]
    return {
        "value": bench.stage.settings["number"] + sum(values),
        "drawn": torch.rand(1).item(),
        "process": os.getpid(),
    }


def refuse(bench: Bench) -> Mapping[str, Any]:
    raise BadInput("a number was to be there, and none was; give one", advice={"number": 3})


def die(bench: Bench) -> Mapping[str, Any]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


def write_and_wait(bench: Bench) -> Mapping[str, Any]:
    (Path(bench.config.paths.artifacts).parent / f"{bench.stage.name}.pid").write_text(str(os.getpid()))
    time.sleep(60)
    return {}


def diamond(config: Config) -> list[Stage]:
    """4 reads 2 and 3, which both read 1; 5 stands alone."""
    one = stage_of(config, 1, add)
    two, three = stage_of(config, 2, add, one), stage_of(config, 3, add, one)
    return [one, two, three, stage_of(config, 4, add, two, three), stage_of(config, 5, add)]


def test_results_are_those_of_one_process(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    threads = torch.get_num_threads()
    found = {}
    for jobs in (1, 2):
        config = config_in(tmp_path / str(jobs))
        workshop, stages = open_workshop(config), diamond(config)
        caplog.clear()
        with caplog.at_level(logging.INFO), shared_threads(jobs):
            make_all(workshop, stages[-2:], jobs)
        said = [record.getMessage() for record in caplog.records]
        there = [workshop.store.find(stage.name, stage.key) is not None for stage in stages]
        assert there == [jobs == 2] * 5, "a single process leaves it to those who ask"
        found[jobs] = [workshop.make(stage).manifest["metrics"] for stage in stages]
    assert [metrics["value"] for metrics in found[2]] == [1, 3, 4, 11, 5]
    for one, other in zip(found[1], found[2], strict=True):
        assert (one["value"], one["drawn"]) == (other["value"], other["drawn"])
    processes = [{metrics["process"] for metrics in of} for of in found.values()]
    assert processes[0] == {os.getpid()} and os.getpid() not in processes[1] and len(processes[1]) == 2
    assert "5 results to make, in 2 processes" in said and any("there, 5 of 5" in line for line in said)
    assert said.count("adding number4") == 1, "what a process logs is shown by the one that started it"
    assert torch.get_num_threads() == threads


def test_an_error_is_that_of_the_result_and_the_others_stay(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    workshop, good = open_workshop(config), stage_of(config, 1, add)
    bad = stage_of(config, 2, refuse)
    with pytest.raises(BadInput, match="a number was to be there") as caught:
        make_all(workshop, [good, stage_of(config, 3, add, bad), bad], 2)
    assert caught.value.advice == {"number": 3}
    assert workshop.store.find(good.name, good.key) is not None


def test_a_process_that_is_killed_is_said(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    with pytest.raises(ProcessLost, match=r"stage number[12].*report\.jobs=1"):
        make_all(open_workshop(config), [stage_of(config, 1, die), stage_of(config, 2, add)], 2)


def test_nothing_is_started_that_the_terms_forbid(tmp_path: Path) -> None:
    config = config_in(tmp_path, "upstream=require")
    flow = Stage("flow", 1, config, {}, (), add)
    with pytest.raises(ArtifactMissing, match=r"train_flow\.py"):
        make_all(open_workshop(config), [stage_of(config, 1, add, flow), stage_of(config, 2, add)], 2)
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks up processes in /proc")
def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from tests.stages import test_side_by_side as here\n"
        "if __name__ == '__main__':\n"
        f"    config = here.config_in(Path({str(tmp_path)!r}))\n"
        "    stages = [here.stage_of(config, n, here.write_and_wait) for n in (1, 2)]\n"
        "    here.make_all(here.open_workshop(config), stages, 2)\n"
    )
    script = tmp_path / "starts.py"
    script.write_text(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, str(script)], cwd=ROOT, env=environment) as parent:
        notes = [tmp_path / f"number{n}.pid" for n in (1, 2)]
        try:
            wait_for(lambda: all(note.exists() and note.read_text() for note in notes), 120)
        finally:
            parent.kill()
    started = [int(note.read_text()) for note in notes]
    wait_for(lambda: not any(alive(process) for process in started), 20)
