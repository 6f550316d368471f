"""A disk that is full: the command on a file system of every size that is too small, then on the same one, grown."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.faults.command import call, fresh, results
from benchmarks.faults.count import Kind, Result, Scale
from benchmarks.faults.kills import said, wrong

_PAGE = 4096
_ENOUGH = 1 << 28


def available() -> bool:
    """Whether this process may mount a file system in memory, as root may in most containers."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        try:
            with _disk(Path(folder), _PAGE):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


@contextmanager
def _disk(folder: Path, size: int) -> Iterator[None]:
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "gpot-faults", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True, capture_output=True)


def full(scale: Scale, expected: dict[str, Any]) -> Iterator[Kind]:
    """Sizes from one page up, page by page, to what the command needs at most."""
    mounted = fresh(scale.folder / "disk")
    with _disk(mounted, _ENOUGH):
        call(fresh(mounted / "work"), scale.command)
        blocks = sum(-(-path.stat().st_size // _PAGE) + 1 for path in (mounted / "work").rglob("*"))
    pages = list(range(1, blocks + 24))  # and of the checkpoints, which are removed
    order = scale.order(len(pages), scale.disks, "disks")

    def fault(number: int) -> Result:
        n = pages[order[number]]
        with _disk(mounted, n * _PAGE):
            ended = call(fresh(mounted / "work"), scale.command)
            problem = said(ended)
            grown = ["mount", "-o", f"remount,size={_ENOUGH}", str(mounted)]
            subprocess.run(grown, check=True, capture_output=True)
            problem = problem or wrong(call(mounted / "work", scale.command), results(mounted / "work"), expected)
        return f"{n} pages, then exit status {ended.status}", problem

    what = "a file system of 1, 2, ... pages of 4 kB; made larger, and the command again"
    yield Kind("full disk", what, len(order), len(pages), fault)
