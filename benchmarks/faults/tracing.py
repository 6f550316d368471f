"""Faults at single system calls, by `strace`: the kernel's list of a command's writes, and a kill or an error at one.

A command stops before its first line, is attached to, and goes on. Calls are counted by name, as strace does.
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.faults.command import Ended, start

# What changes files, or holds others back from them
CALLS = (
    "write", "pwrite64", "writev", "sendfile", "copy_file_range", "ftruncate", "fsync", "fdatasync", "rename",
    "renameat", "renameat2", "flock", "mkdir", "mkdirat", "unlink", "unlinkat", "rmdir",
)  # fmt: skip
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+|\?)")


def available() -> bool:
    """Whether strace is there and may attach to a process that lets it."""
    if shutil.which("strace") is None:
        return False
    pid = os.fork()
    if pid == 0:
        _stop_for_tracer()
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    tracer = subprocess.Popen(["strace", "-o", os.devnull, "-p", str(pid)], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    attached = "attached" in tracer.stderr.readline()
    os.kill(pid, signal.SIGCONT)
    os.waitpid(pid, 0)
    tracer.wait()
    return attached


_PR_SET_PTRACER, _ANY = 0x59616D61, -1


def _stop_for_tracer() -> None:
    """Wait for a tracer, which need not be a parent of this process."""
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(_ANY), 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)


@dataclass(frozen=True)
class Call:
    """The `ordinal`-th call `name` of a command, and what strace printed of it."""

    name: str
    ordinal: int
    text: str


def traced(folder: Path, command: Callable[[], bool], *options: str) -> tuple[Ended, list[Call]]:
    """Run a command under strace. Returns: how it ended, and its calls of `CALLS` that name a file below the folder."""
    process = start(folder, command, _stop_for_tracer)
    os.waitpid(process.pid, os.WUNTRACED)
    out = folder.with_name(f"{folder.name}.strace")
    watch = ["strace", "-f", "-y", "-o", str(out), "-e", f"trace={','.join(CALLS)}", *options, "-p", str(process.pid)]
    tracer = subprocess.Popen(watch, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    tracer.stderr.readline()  # "attached"
    os.kill(process.pid, signal.SIGCONT)
    ended = process.wait()
    tracer.wait()
    counts: Counter[str] = Counter()
    calls = []
    for line in out.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or int(match["pid"]) != process.pid:
            continue
        counts[match["name"]] += 1
        ours = f"{folder.name}/" in match["arguments"] or '"outputs' in match["arguments"]
        if ours and match["result"] not in ("-1", "?"):
            calls.append(Call(match["name"], counts[match["name"]], match["arguments"]))
    return ended, calls
