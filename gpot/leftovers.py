"""Files that are written whole or not at all, by names that tell a later process what a killed one has left."""

from __future__ import annotations

import glob
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def temporary_name(prefix: str) -> str:
    """A name that no other process takes: the prefix, the machine, the process, random digits."""
    return f"{prefix}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write, which takes its place at the end; of an error nothing is left, and `path` is as it
    was."""
    prefix = f".{path.name}."
    clear(path.parent, prefix)
    temporary = path.with_name(temporary_name(prefix))
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def clear(folder: Path, prefix: str) -> None:
    """Remove the files of a folder with such names whose processes, of this machine, are no more."""
    mine = f"{prefix}{socket.gethostname()}-"
    for left in folder.glob(f"{glob.escape(mine)}*"):
        if not _alive(int(left.name.removeprefix(mine).partition("-")[0])):
            left.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    """Whether there is such a process here. Elsewhere than on POSIX nobody can ask without ending it: taken for one."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
