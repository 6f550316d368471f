"""The checkpoint of an unfinished training: a kill leaves the one before, and damage is said."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning as L
import pytest

from gpot.training.checkpoint import LastCheckpoint, last_checkpoint


class Saver(SimpleNamespace):
    """A trainer that writes `written` bytes of its state, and is interrupted if that is not all."""

    is_global_zero = True

    def save_checkpoint(self, path: Path, weights_only: bool) -> None:
        assert not weights_only
        path.write_bytes(self.content[: self.written])
        if self.written < len(self.content):
            raise KeyboardInterrupt


def save(work: Path, content: bytes, written: int | None = None) -> None:
    saver: Any = Saver(content=content, written=len(content) if written is None else written)
    LastCheckpoint(work).on_train_epoch_end(saver, L.LightningModule())


def test_a_kill_while_writing_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    save(tmp_path, b"epoch 1")
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path, b"epoch 2", written=3)
    kept = last_checkpoint(tmp_path)
    assert kept is not None and kept.read_bytes() == b"epoch 1"
    save(tmp_path, b"epoch 2")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"epoch 2"]


def test_of_two_whole_ones_the_newer_is_taken(tmp_path: Path) -> None:
    save(tmp_path, b"epoch 1")
    (old,) = tmp_path.iterdir()
    content, name = old.read_bytes(), old.name
    save(tmp_path, b"epoch 2")
    old = tmp_path / name  # as a kill between the new one and the removal leaves it
    old.write_bytes(content)
    (new,) = (path for path in tmp_path.iterdir() if path != old)
    os.utime(old, (1.0, 1.0))
    assert last_checkpoint(tmp_path) == new and old.exists()


def test_a_flipped_bit_or_a_cut_file_is_said_and_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = bytes(range(256)) * 4
    draw = random.Random(0)
    damages = [content[:length] for length in (0, 1, 500, len(content) - 1)] + [content + b"\0"]
    for _ in range(50):
        at, bit = draw.randrange(len(content)), draw.randrange(8)
        damages.append(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
    for damage in damages:
        save(tmp_path, content)
        (path,) = tmp_path.iterdir()
        path.write_bytes(damage)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            assert last_checkpoint(tmp_path) is None
        assert str(path) in caplog.text and "removed" in caplog.text
        assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_an_older_gpot_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "last.ckpt").write_bytes(b"whose content nobody can check")
    assert last_checkpoint(tmp_path) is None and not list(tmp_path.iterdir())
