"""One process at a time makes an artefact, also on a file system whose locks do not work."""

from __future__ import annotations

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from gpot.leftovers import clear, temporary_name

logger = logging.getLogger("gpot.store")

_PROBE = ".locks-"
_REFUSED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def locks_hold(folder: Path) -> bool:
    """Whether the file system of a folder keeps a second one out while a lock is held: some shared ones refuse locks,
    and some grant every one."""
    clear(folder, _PROBE)
    probe = folder / temporary_name(_PROBE)
    first, second = filelock.FileLock(probe), filelock.FileLock(probe)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # filelock's own words on its fallback: Locks has others
            first.acquire(timeout=0)
            try:
                second.acquire(timeout=0)
            except filelock.Timeout:
                return not isinstance(first, filelock.SoftFileLock)
            return False
    except (NotImplementedError, filelock.Timeout):  # nobody else has this file: a lock was refused
        return False
    except OSError as error:
        if error.errno in _REFUSED:
            return False
        raise
    finally:
        second.release()
        first.release()
        probe.unlink(missing_ok=True)


class Locks:
    """Locks of the folders below `root`: of the file system, or where those do not hold, files whose existence stands
    for one. What a killed process leaves of these is recognized on the machine that it ran on."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hold: bool | None = None  # None: not tried yet

    @contextmanager
    def of(self, parent: Path, key: str, what: str) -> Iterator[None]:
        """Wait for the lock `key` in a folder, and hold it. what: is made meanwhile."""
        lock = self._lock(parent, key)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            logger.info("another process is making %s: waiting for it", what)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _lock(self, parent: Path, key: str) -> filelock.BaseFileLock:
        if self._hold is None:
            self._hold = locks_hold(self.root)
            if not self._hold:
                logger.warning(
                    "the file system of %s has no working locks: files named .<key>.held stand for them. Of a process "
                    "that was killed on another machine, remove it by hand",
                    self.root,
                )
        return (
            filelock.FileLock(parent / f".{key}.lock") if self._hold else filelock.SoftFileLock(parent / f".{key}.held")
        )
