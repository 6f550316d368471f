"""Files with flipped bits, and cut files: every one is found, by a sentence that names it and what to type."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.faults.command import ENDED, call, end_after, fresh, results
from benchmarks.faults.count import Count, Scale, some
from benchmarks.faults.kills import wrong
from gpot.errors import ArtifactCorrupt
from gpot.store import Store
from gpot.training.checkpoint import last_checkpoint

_SMALL = 4096  # bytes


def artefacts(scale: Scale) -> Iterator[Count]:
    """Every bit of the files up to 4 kB, random bits of the others; every length of the small ones, and of the others
    256 of them."""
    flipped = Count("flipped bit of an artefact", "one bit of a file of an artefact; the artefact is looked for")
    yield flipped
    cut = Count("cut file of an artefact", "a file of an artefact, cut at some length; the artefact is looked for")
    yield cut
    root = scale.folder / "reference" / "outputs" / "artifacts"
    files = sorted(path for path in root.glob("*/[!.]*/*") if path.is_file())
    small = [path for path in files if path.stat().st_size <= _SMALL]
    large = [path for path in files if path.stat().st_size > _SMALL]
    draw = scale.draw("bits")
    bits = [(path, bit) for path in small for bit in range(8 * path.stat().st_size)]
    flipped.of = len(bits) + sum(8 * path.stat().st_size for path in large)
    chosen = some(bits, scale.bits, draw)
    if large:
        chosen += [(path, draw.randrange(8 * path.stat().st_size)) for path in draw.choices(large, k=scale.random_bits)]
    for path, bit in scale.within(some(chosen, None, draw)):
        flipped.add(f"bit {bit} of {path.relative_to(root)}", _found(root, path, partial(flip, bit=bit)))
    lengths = [(path, length) for path in small for length in range(path.stat().st_size)]
    cut.of = sum(path.stat().st_size for path in files)
    chosen = some(lengths, None if scale.bits is None else scale.bits // 8, draw)
    chosen += [(path, draw.randrange(path.stat().st_size)) for path in large for _ in range(256)]
    for path, length in scale.within(some(chosen, None, draw)):
        cut.add(f"{path.relative_to(root)} of {length} bytes", _found(root, path, lambda data, n=length: data[:n]))


def flip(content: bytes, bit: int) -> bytes:
    """The content with one bit changed."""
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _found(root: Path, path: Path, damage: Callable[[bytes], bytes]) -> str | None:
    """None if the damage of a file is found and said."""
    content = path.read_bytes()
    stage, key = path.parent.parent.name, path.parent.name
    path.write_bytes(damage(content))
    try:
        Store(root).find(stage, key)
        return "taken for whole"
    except ArtifactCorrupt as error:
        said = str(error)
        return None if str(path.parent) in said and "Run: " in said else said
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    finally:
        path.write_bytes(content)


def checkpoints(scale: Scale, expected: dict[str, Any], seconds: float) -> Iterator[Count]:
    """Of an unfinished training: it starts anew with a warning, and ends with the same weights."""
    count = Count("damaged checkpoint", "a bit of an unfinished training's checkpoint, or its end; is it said?")
    yield count
    whole = Count("training after a damaged checkpoint", "the command again: a warning, and the same artefacts")
    yield whole
    folder, draw = scale.folder / "checkpoint", scale.draw("checkpoints")
    kept = None
    for _ in range(60):
        if kept is not None:
            break
        if call(fresh(folder), scale.command, partial(end_after, draw.uniform(0.1, seconds))).status in ENDED:
            kept = next(folder.glob("outputs/work/*/*/last-*.ckpt"), None)
    if kept is None:
        count.add("a checkpoint to damage", "no run was ended in a training")
        return
    content = kept.read_bytes()
    logging.disable(logging.CRITICAL)
    for number in scale.within(range(scale.checkpoint_bits)):
        bit, length = draw.randrange(8 * len(content)), draw.randrange(len(content))
        kept.write_bytes(content[:length] if number % 4 == 0 else flip(content, bit))
        taken = last_checkpoint(kept.parent)
        what = f"{length} bytes" if number % 4 == 0 else f"bit {bit}"
        count.add(what, None if taken is None and not kept.exists() else "taken for whole")
    logging.disable(logging.NOTSET)
    for number in scale.within(range(min(20, scale.checkpoint_bits))):
        bit = draw.randrange(8 * len(content))
        damaged = folder.with_name("damaged")
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(content[: len(content) // 2] if number == 0 else flip(content, bit))
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(folder, damaged)
        ended = call(damaged, scale.command)
        problem = wrong(ended, results(damaged), expected)
        if problem is None and "is not as it was written" not in ended.text:
            problem = "nothing was said"
        whole.add(f"bit {bit}", problem)
        shutil.rmtree(damaged)
