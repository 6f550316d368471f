"""Files with flipped bits, and cut files: every one is found, by a sentence that names it and what to type."""

from __future__ import annotations

import itertools
import logging
import shutil
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults.command import ENDED, call, end_after, fresh, results
from benchmarks.faults.count import Kind, Result, Scale
from benchmarks.faults.kills import wrong
from gpot.errors import ArtifactCorrupt
from gpot.places import CONFIGS, RELEASED
from gpot.store import Store
from gpot.training.checkpoint import last_checkpoint

_SMALL = 1 << 15  # bytes; above it, what a person calls weights
_BITS = "one bit of a file of an artefact{}; the artefact is looked for"


class Places:
    """The bytes of several files, one after the other."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.ends = list(itertools.accumulate(path.stat().st_size for path in paths))

    def __len__(self) -> int:
        return self.ends[-1] if self.ends else 0

    def __getitem__(self, number: int) -> tuple[Path, int]:
        """The file of a byte, and its place there."""
        file = bisect_right(self.ends, number)
        return self.paths[file], number - (self.ends[file - 1] if file else 0)


def artefacts(scale: Scale) -> Iterator[Kind]:
    """Every bit and every length of the files that the command leaves; random bits of released models' large ones."""
    root = scale.folder / "reference" / "outputs" / "artifacts"
    for folder in root.glob("*/[!.]*"):
        Store(root).find(folder.parent.name, folder.name)  # whole before it is damaged
    small = Places(sorted(path for path in root.glob("*/[!.]*/*") if path.is_file()))
    yield _flips("flipped bit of an artefact", _BITS.format(""), scale, root, small, scale.bits)
    released = scale.folder / "released"
    shutil.rmtree(released, ignore_errors=True)  # of a campaign that was killed, with the bit that it had flipped
    shutil.copytree(CONFIGS.parent / RELEASED, released)
    large = [path for path in sorted(released.glob("*/*/*")) if path.is_file() and path.stat().st_size > _SMALL]
    name, what = "flipped bit of a large file", _BITS.format(f" of more than {_SMALL >> 10} kB, released")
    yield _flips(name, what, scale, released, Places(large), scale.random_bits)
    order = scale.order(len(small), scale.lengths, "lengths")

    def cut(number: int) -> Result:
        path, length = small[order[number]]
        content = path.read_bytes()
        path.write_bytes(content[:length])
        try:
            return f"{path.relative_to(root)} of {length} bytes", _found(root, path)
        finally:
            path.write_bytes(content)

    what = "a file of an artefact, cut at some length; the artefact is looked for"
    yield Kind("cut file of an artefact", what, len(order), len(small), cut)


def _flips(name: str, what: str, scale: Scale, root: Path, places: Places, n: int | None) -> Kind:
    order = scale.order(8 * len(places), n, name)

    def fault(number: int) -> Result:
        path, byte = places[order[number] // 8]
        with open(path, "r+b") as file:
            file.seek(byte)
            (value,) = file.read(1)
            file.seek(byte)
            file.write(bytes([value ^ 1 << order[number] % 8]))
            file.flush()
            try:
                return f"bit {order[number] % 8} of byte {byte} of {path.relative_to(root)}", _found(root, path)
            finally:
                file.seek(byte)
                file.write(bytes([value]))

    return Kind(name, what, len(order), 8 * len(places), fault)


def _found(root: Path, path: Path) -> str | None:
    """None if the damage of a file is found and said."""
    stage, key = path.parent.parent.name, path.parent.name
    try:
        Store(root).find(stage, key)
        return "taken for whole"
    except ArtifactCorrupt as error:
        said = str(error)
        return None if str(path.parent) in said and "Run: " in said else said
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def checkpoints(scale: Scale, expected: dict[str, Any], seconds: float) -> Iterator[Kind]:
    """Of an unfinished training: it starts anew with a warning, and ends with the same weights."""
    folder = scale.folder / "checkpoint"
    kept = _unfinished(scale, folder, seconds)
    content = kept.read_bytes()
    (alone := scale.folder / "alone").mkdir(exist_ok=True)

    def look(damaged: bytes) -> str | None:
        path = alone / kept.name
        path.write_bytes(damaged)
        logging.disable(logging.CRITICAL)
        try:
            return None if last_checkpoint(alone) is None and not path.exists() else "taken for whole"
        finally:
            logging.disable(logging.NOTSET)

    def flipped(bit: int) -> Result:
        return f"bit {bit}", look(flip(content, bit))

    def cut(length: int) -> Result:
        return f"{length} bytes", look(content[:length])

    def again(number: int) -> Result:
        bit, damaged = scale.draw("damaged", number).randrange(8 * len(content)), folder.with_name("damaged")
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(folder, damaged)
        changed = content[: bit // 8] if number % 4 == 0 else flip(content, bit)
        (damaged / kept.relative_to(folder)).write_bytes(changed)
        ended = call(damaged, scale.command)
        problem = wrong(ended, results(damaged), expected)
        if problem is None and "is not as it was written" not in ended.text:
            problem = "nothing was said"
        return f"{'byte' if number % 4 == 0 else 'bit'} {bit}", problem

    faults: list[tuple[str, str, int, Callable[[int], Result]]] = [
        ("flipped bit of a checkpoint", "one bit of an unfinished training's checkpoint; said, and removed",
         8 * len(content), flipped),
        ("cut checkpoint", "an unfinished training's checkpoint, cut at some length; said, and removed",
         len(content), cut),
    ]  # fmt: skip
    for name, what, of, fault in faults:
        n = None if scale.checkpoint_bits is None else scale.checkpoint_bits // (1 if "bit" in name else 8)
        order = scale.order(of, n, name)
        yield Kind(name, what, len(order), of, lambda number, f=fault, o=order: f(o[number]))  # type: ignore[misc]
    what = "the command again: a warning, and the same artefacts"
    yield Kind("training after a damaged checkpoint", what, scale.trainings, None, again)


def _unfinished(scale: Scale, folder: Path, seconds: float) -> Path:
    """A checkpoint of a command that was ended in a training; of an earlier run, if it is there."""
    for number in range(60):
        found = next(folder.glob("outputs/work/*/*/last-*.ckpt"), None)
        if found is not None:
            return found
        moment = scale.draw("checkpoint", number).uniform(0.1, 1.0) * seconds
        if call(fresh(folder), scale.command, partial(end_after, moment)).status not in ENDED:
            fresh(folder)
    raise SystemExit("no run was ended in a training, so there is no checkpoint to damage")


def flip(content: bytes, bit: int) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
