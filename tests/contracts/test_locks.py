"""Locks that a file system refuses, or grants to everybody, are noticed, and replaced."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import filelock
import pytest

from gpot.store.locks import Locks, locks_hold


def refused(number: int) -> Any:
    def flock(*_: Any) -> None:
        raise OSError(number, "refused")

    return flock


def test_locks_of_this_file_system_hold(tmp_path: Path) -> None:
    assert locks_hold(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_trial_left_goes_and_that_of_a_living_one_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    dead, alive, elsewhere = (
        tmp_path / f".locks-{name}-0123abcd" for name in (f"{host}-{ended.pid}", f"{host}-{os.getppid()}", "other-1")
    )
    for path in (dead, alive, elsewhere):
        path.touch()
    assert locks_hold(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted((alive, elsewhere))


@pytest.mark.parametrize(
    "flock", [refused(errno.ENOLCK), refused(errno.EOPNOTSUPP), refused(errno.ENOSYS), refused(errno.EACCES), print]
)
def test_others_are_noticed_said_and_replaced(
    tmp_path: Path, flock: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fcntl, "flock", lambda *_: None if flock is print else flock())
    assert not locks_hold(tmp_path) and list(tmp_path.iterdir()) == []
    with caplog.at_level(logging.WARNING), Locks(tmp_path).of(tmp_path, "k", "gp/k"):
        assert f"the file system of {tmp_path} has no working locks" in caplog.text
        with pytest.raises(filelock.Timeout):
            filelock.SoftFileLock(tmp_path / ".k.held").acquire(timeout=0)
    assert not (tmp_path / ".k.held").exists()


def test_a_missing_right_is_no_missing_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refused(errno.EIO))
    with pytest.raises(OSError, match="refused"):
        locks_hold(tmp_path)
