"""Kills: before every system call that changes a file, and at random moments. The same command again ends as if there
had been none."""

from __future__ import annotations

import difflib
import json
import shutil
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.faults import tracing
from benchmarks.faults.command import ENDED, Ended, call, end_after, fresh, results
from benchmarks.faults.count import Count, Scale, some


def reference(scale: Scale) -> tuple[dict[str, Any], float]:
    """What the command leaves when nothing happens, and its seconds of processor time. Twice, for the same bits."""
    found = []
    for _ in range(2):
        folder = fresh(scale.folder / "reference")
        ended = call(folder, scale.command)
        if ended.status:
            raise SystemExit(f"the command of the campaign fails by itself:\n{ended.text}")
        found.append(results(folder))
    if found[0] != found[1]:
        raise SystemExit("two runs of the command differ:\n" + _difference(found[0], found[1]))
    return found[0], ended.cpu


def wrong(ended: Ended, found: dict[str, Any], expected: dict[str, Any]) -> str | None:
    """What differs from a run that nobody disturbed; None for nothing."""
    if ended.status:
        return f"exit status {ended.status}: {ended.text[-1500:]}"
    return None if found == expected else _difference(expected, found)


def _difference(expected: dict[str, Any], found: dict[str, Any]) -> str:
    texts = [json.dumps(each, indent=1, sort_keys=True).splitlines() for each in (expected, found)]
    return "\n".join(list(difflib.unified_diff(*texts, lineterm="", n=0))[:20])


def at_calls(scale: Scale, expected: dict[str, Any]) -> Iterator[Count]:
    """SIGKILL on entering a system call, which is then not made: also what a kill after the call before it leaves."""
    count = Count("kill at a system call", "SIGKILL at a write, fsync, rename, lock or removal; the command again")
    yield count
    folder = scale.folder / "kill"
    _, calls = tracing.traced(fresh(folder), scale.command)
    count.of = len(calls)
    for each in scale.within(some(calls, scale.calls, scale.draw("calls"))):
        fresh(folder)
        option = f"inject={each.name}:signal=SIGKILL:when={each.ordinal}"
        ended, _ = tracing.traced(folder, scale.command, "-e", option)
        if ended.status not in ENDED:
            continue  # it went on to its end: writes to the screen come at other moments
        again = call(folder, scale.command)
        count.add(f"{each.name} {each.ordinal} ({each.text[:160]})", wrong(again, results(folder), expected))
    shutil.rmtree(folder)


def at_moments(scale: Scale, expected: dict[str, Any], seconds: float) -> Iterator[Count]:
    """Ended at moments that are uniform over the command's processor time."""
    count = Count("kill at a random moment", "ended at a random moment of its processor time; the command again")
    yield count
    folder, draw = scale.folder / "kill", scale.draw("moments")
    for _ in scale.within(range(scale.moments)):
        fresh(folder)
        moment = draw.uniform(0.02, seconds)
        if call(folder, scale.command, partial(end_after, moment)).status not in ENDED:
            continue
        again = call(folder, scale.command)
        count.add(f"after {moment:.3f} s", wrong(again, results(folder), expected))
    shutil.rmtree(folder, ignore_errors=True)


def failing_calls(scale: Scale, expected: dict[str, Any]) -> Iterator[Count]:
    """A full disk, a missing right, a broken disk: a sentence, nothing half-written, and the command again goes on."""
    count = Count("system call fails", "ENOSPC, EACCES or EIO at a write, sync, rename, lock; the command again")
    yield count
    folder = scale.folder / "fail"
    _, calls = tracing.traced(fresh(folder), scale.command)
    faults = [(each, error) for each in calls for error in ("ENOSPC", "EACCES", "EIO") if each.name not in _RELEASING]
    count.of = len(faults)
    for each, error in scale.within(some(faults, scale.errors, scale.draw("errors"))):
        fresh(folder)
        option = f"inject={each.name}:error={error}:when={each.ordinal}"
        ended, _ = tracing.traced(folder, scale.command, "-e", option)
        problem = None
        if "Traceback" in ended.text or ended.status not in (0, 1):
            problem = f"exit status {ended.status}: {ended.text[-1500:]}"
        elif ended.status == 1 and not ended.text.strip():
            problem = "no word"
        if problem is None:
            problem = wrong(call(folder, scale.command), results(folder), expected)
        count.add(f"{error} at {each.name} {each.ordinal} ({each.text[:160]})", problem)
    shutil.rmtree(folder)


_RELEASING = ("unlink", "unlinkat", "rmdir")  # what is removed is no longer needed
