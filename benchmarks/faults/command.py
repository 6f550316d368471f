"""Scripts of gpot in forked processes, and what they leave."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpot import store
from gpot.stages import run

# Two moons through every stage of a table with a GP row, in about a second of processor time
TINY = (
    "budget=smoke", "dataset=two_moons", "dataset.n_points=600", "pretrained=null", "seed=1", "flow=bnaf", "flow.width=8",
    "flow.n_layers=2", "flow.epochs=2", "gp=toy_ridge", "gp.n_train=256", "gp.n_validation=32", "gp.epochs=3",
    "gp.epochs_penalized=3", "gp.batch_size=128", "evaluate.n_prior=64", "evaluate.n_data=64", "evaluate.n_exact=16",
    "evaluate.certificate_batch=32", "evaluate.optimum_sizes=[]", "bounds.n_train=128", "bounds.steps=2",
    "bounds.regression_steps=2", "bounds.batch_size=64", "bounds.widths=[4]",
)  # fmt: skip
REPORT = (*TINY, "report.item=table2", "+penalty@report.variants.gp.penalty=none")
SCRIPTS = ("report", "evaluate", "train_flow", "sweep_summary")
_CRASHED = 70  # exit status of an error that nobody caught: with a traceback, as Python would
_TIMES = ("seconds", "cpu_seconds", "duration", "started")  # begin the names of what differs from run to run


def warm() -> None:
    """Import what the commands need, and fix what a record says of the checkout: git would be a process of its own."""
    for name in SCRIPTS:
        importlib.import_module(f"scripts.{name}")
    store.commit = run.commit = lambda: None


@dataclass(frozen=True)
class Ended:
    """status: of exit, or minus the signal that ended it. text: what it printed. cpu: seconds."""

    status: int
    text: str
    cpu: float


@dataclass
class Command:
    """A script in a process of its own, working in `folder`; what it prints goes to a file beside that."""

    pid: int
    log: Path

    def wait(self) -> Ended:
        _, status, usage = os.wait4(self.pid, 0)
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return Ended(os.waitstatus_to_exitcode(status), text, usage.ru_utime + usage.ru_stime)


def start(
    folder: Path, script: str, arguments: Sequence[str], prepare: Callable[[], object] | None = None
) -> Command:
    """Fork, and run a script. prepare: called in the new process before."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder.with_name(f"{folder.name}.log")
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return Command(pid, log)
    status = _CRASHED
    try:
        os.chdir(folder)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.argv = [f"scripts/{script}.py", *arguments]
        if prepare is not None:
            prepare()
        importlib.import_module(f"scripts.{script}").main()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                pass
        os._exit(status)


def call(folder: Path, script: str, arguments: Sequence[str], prepare: Callable[[], object] | None = None) -> Ended:
    """Run a script to its end."""
    return start(folder, script, arguments, prepare).wait()


def end_after(seconds: float) -> None:
    """Let this process be ended after that much processor time, by a signal that it does not handle: as by a kill."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_PROF, seconds)


ENDED = (-signal.SIGKILL, -signal.SIGPROF)


def _lasting(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _lasting(item) for name, item in value.items() if not name.startswith(_TIMES)}
    return [_lasting(item) for item in value] if isinstance(value, list) else value


def results(folder: Path) -> dict[str, Any]:
    """Every artefact below a folder with the hash of each file, the table, and what should not be there: temporary files
    and checkpoints of trainings that are done."""
    outputs = folder / "outputs"
    found: dict[str, Any] = {}
    for manifest in sorted(outputs.glob("artifacts/*/[!.]*/manifest.json")):
        record = json.loads(manifest.read_text(encoding="utf-8"))
        files = {
            str(path.relative_to(manifest.parent)): store.file_sha256(path)
            for path in sorted(manifest.parent.rglob("*"))
            if path.is_file() and path.name not in (store.MANIFEST, store.MANIFEST_HASH)
        }
        kept = {name: record[name] for name in ("config", "inputs", "metrics")}
        found[f"{record['stage']}/{record['key']}"] = {**_lasting(kept), "files": files}
    for table in sorted(outputs.glob("report/**/*.json")):
        record = json.loads(table.read_text(encoding="utf-8"))
        found[table.name] = {name: _lasting(record[name]) for name in ("rows", "groups") if name in record}
    left = [path for path in outputs.rglob("*") if _left(path.relative_to(outputs))]
    return found | {"left behind": sorted(str(path.relative_to(folder)) for path in left)}


def _left(path: Path) -> bool:
    if path.parts[0] == "work":
        return len(path.parts) > 2
    hidden = path.name.startswith(".") and not path.name.endswith(".lock")
    return hidden or path.suffix in (".partial", ".tmp")


def fresh(folder: Path) -> Path:
    """An empty folder of that name."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def wait_until_stopped(pid: int) -> None:
    os.waitpid(pid, os.WUNTRACED)


def in_time(deadline: float) -> bool:
    return time.process_time() + sum(os.times()[2:4]) < deadline
