"""Eight processes want the same artefact at once, on a file system with locks and on ones without: it is made once."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.faults.command import fresh
from benchmarks.faults.count import Kind, Result, Scale
from gpot.store import Store, content_key

_PROCESSES = 8
_CONFIG = {"dim": 2}


def _refused(*_: Any) -> None:
    raise OSError(errno.ENOLCK, "No locks available")


def _granted(*_: Any) -> None:
    """A lock that holds nobody back."""


KINDS: dict[str, tuple[str, Callable[..., None] | None]] = {
    "race, file locks": ("the locks of the file system", None),
    "race, locks refused": ("a shared file system that refuses locks", _refused),
    "race, locks that do not hold": ("a shared file system that grants every lock", _granted),
}


def races(scale: Scale) -> Iterator[Kind]:
    for name, (where, flock) in KINDS.items():

        def fault(number: int, flock: Callable[..., None] | None = flock) -> Result:
            return f"round {number}", _race(fresh(scale.folder / "race"), flock)

        what = f"{_PROCESSES} processes ask for one artefact at once, {where}; made once"
        yield Kind(name, what, scale.races, None, fault)


def _race(folder: Path, flock: Callable[..., None] | None) -> str | None:
    pids = []
    start = time.monotonic() + 0.05
    for rank in range(_PROCESSES):
        pid = os.fork()
        if pid == 0:
            os._exit(_take_part(folder, rank, start, flock))
        pids.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    builds = (folder / "builds").read_text().split()
    said = flock is None or all((folder / f"{rank}.log").read_text() for rank in range(_PROCESSES))
    if statuses != [0] * _PROCESSES or len(builds) != 1 or not said:
        return f"exit statuses {statuses}, made {len(builds)} times, said: {said}"
    left = [
        path.name
        for path in (folder / "artifacts/gp").iterdir()
        if not path.name.endswith(".lock") and "." in path.name
    ]
    return f"left: {left}" if left else None


def _take_part(folder: Path, rank: int, start: float, flock: Callable[..., None] | None) -> int:
    logging.basicConfig(filename=folder / f"{rank}.log", level=logging.WARNING, force=True)
    if flock is not None:
        fcntl.flock = flock  # type: ignore[assignment]

    def build(made: Path) -> dict[str, int]:
        with open(folder / "builds", "a") as builds:
            builds.write(f"{rank}\n")
        (made / "value").write_text("1")
        time.sleep(0.02)  # long enough for the others to come
        return {"made": 1}

    key = content_key("gp", 1, _CONFIG, {}, None)
    given = {"version": 1, "config": _CONFIG, "inputs": {}, "data_hash": None, "seed": 0, "device": "cpu"}
    time.sleep(max(0.0, start - time.monotonic()))
    try:
        artifact = Store(folder / "artifacts").make("gp", key, build, given)
        return 0 if artifact.file("value").read_text() == "1" else 1
    except BaseException as error:
        logging.error("%s: %s", type(error).__name__, error)
        return 2
