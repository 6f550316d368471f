"""Scripts of gpot in forked processes, and what they leave."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpot import store
from gpot.config import Config
from gpot.entry import ends_well
from gpot.items.report import report_item
from gpot.stages.stage import open_workshop
from gpot.store import folders
from gpot.tracking import run

# Two moons through every stage of a table with a GP row, in half a second of processor time
TINY = (
    "budget=smoke", "dataset=two_moons", "dataset.n_points=600", "pretrained=null", "seed=1",
    "flow=bnaf", "flow.width=8", "flow.n_layers=2", "flow.epochs=2",
    "gp=toy_ridge", "gp.n_train=256", "gp.n_validation=32", "gp.epochs=2", "gp.epochs_penalized=2", "gp.batch_size=128",
    "gp.n_steps=1", "gp.method=midpoint", "gp.logdet_tolerance=10.0",
    "evaluate.n_prior=64", "evaluate.n_data=64", "evaluate.n_exact=8", "evaluate.certificate_batch=32",
    "evaluate.optimum_sizes=[]", "bounds.n_train=128", "bounds.steps=2", "bounds.regression_steps=2",
    "bounds.batch_size=64", "bounds.groups=2", "bounds.pieces=4",
)  # fmt: skip
REPORT = (*TINY, "report.item=table2", "+penalty@report.variants.gp.penalty=none")
_CRASHED = 70  # exit status of an error that nobody caught: with a traceback, as Python would
_TIMES = ("seconds", "cpu_seconds", "training_seconds", "duration", "started")  # begin the names of what differs


def warm(folder: Path, command: Callable[[], bool]) -> None:
    """Call the command here, so that what is imported and built on first use is there when a process is forked; and fix
    what a record says of the checkout: git would be a process of its own."""
    for module in (folders, run):
        module.commit = lambda: None  # type: ignore[attr-defined]
    here, streams = Path.cwd(), [os.dup(1), os.dup(2)]
    os.chdir(fresh(folder / "warm"))
    log = os.open(folder / "warm.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    sys.stdout.flush()
    try:
        for number in (1, 2):
            os.dup2(log, number)
        command()
    finally:
        sys.stdout.flush()
        for number, stream in zip((1, 2), streams, strict=True):
            os.dup2(stream, number)
            os.close(stream)
        os.close(log)
        os.chdir(here)
    gc.collect()
    gc.freeze()


def report(config: Config) -> bool:
    """What scripts/report.py does with a composed config."""
    report_item(config, open_workshop(config))
    return True


def script(name: str, arguments: Sequence[str]) -> bool:
    """A script with its command line."""
    sys.argv = [f"scripts/{name}.py", *arguments]
    importlib.import_module(f"scripts.{name}").main()
    return True


@dataclass(frozen=True)
class Ended:
    """status: of exit, or minus the signal that ended it. text: what it printed. cpu: seconds."""

    status: int
    text: str
    cpu: float


@dataclass
class Command:
    """A command in a process of its own; what it prints goes to a file that no fault of its disk reaches."""

    pid: int
    log: Path

    def wait(self) -> Ended:
        _, status, usage = os.wait4(self.pid, 0)
        text = self.log.read_text(encoding="utf-8", errors="replace")
        self.log.unlink()
        return Ended(os.waitstatus_to_exitcode(status), text, usage.ru_utime + usage.ru_stime)


def start(folder: Path, command: Callable[[], bool], prepare: Callable[[], object] | None = None) -> Command:
    """Fork, and call a command with the errors that the scripts catch. prepare: called in the new process before."""
    folder.mkdir(parents=True, exist_ok=True)
    output, log = tempfile.mkstemp(prefix="gpot-faults-", suffix=".log")
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(output)
        return Command(pid, Path(log))
    status = _CRASHED
    try:
        os.chdir(folder)
        os.dup2(output, 1)
        os.dup2(output, 2)
        logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
        if prepare is not None:
            prepare()
        status = 0 if ends_well(command) else 1
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def call(folder: Path, command: Callable[[], bool], prepare: Callable[[], object] | None = None) -> Ended:
    """The same, to its end."""
    return start(folder, command, prepare).wait()


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
    """Every artefact below a folder with the hash of each file, the table, and what should not be there: temporary
    files and checkpoints of trainings that are done."""
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
        found[table.name] = {name: _lasting(record[name]) for name in ("rows", "groups", "missing") if name in record}
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
