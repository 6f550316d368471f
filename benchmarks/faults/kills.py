"""Kills: before every system call that changes a file, and at random moments. The same command again ends as if there
had been none."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from benchmarks.faults import tracing
from benchmarks.faults.command import ENDED, Ended, call, end_after, fresh, results
from benchmarks.faults.count import Kind, Result, Scale

_TIMES = 4  # that a call is tried to be met: what is written to the screen comes at other moments


def reference(scale: Scale) -> tuple[dict[str, Any], float]:
    """What the command leaves when nothing happens, and its seconds of processor time. Twice, for the same bits."""
    found, folder = [], scale.folder / "reference"
    if folder.is_dir():  # of an earlier run: its files are those whose bits were flipped
        found.append(results(folder))
    while len(found) < 2:
        last = folder.with_name("again") if found else folder
        ended = call(fresh(last), scale.command)
        if ended.status:
            raise SystemExit(f"the command of the campaign fails by itself:\n{ended.text}")
        found.append(results(last))
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


def at_calls(scale: Scale, expected: dict[str, Any]) -> Iterator[Kind]:
    """SIGKILL on entering a system call, which is then not made: also what a kill after the call before it leaves."""
    folder = scale.folder / "kill"
    _, calls = tracing.traced(fresh(folder), scale.command)
    order = scale.order(len(calls), scale.calls, "calls")

    def fault(number: int) -> Result | None:
        if number >= len(order):
            return None
        each = calls[order[number]]
        for _ in range(_TIMES):
            option = f"inject={each.name}:signal=SIGKILL:when={each.ordinal}"
            ended, _ = tracing.traced(fresh(folder), scale.command, "-e", option)
            if ended.status in ENDED:
                again = call(folder, scale.command)
                return f"{each.name} {each.ordinal} ({each.text[:160]})", wrong(again, results(folder), expected)
        return None

    what = "SIGKILL at a write, fsync, rename, lock or removal; the command again"
    yield Kind("kill at a system call", what, len(order), len(calls), fault)


def at_moments(scale: Scale, expected: dict[str, Any], seconds: float) -> Iterator[Kind]:
    """Ended at moments that are uniform over the command's processor time."""
    folder = scale.folder / "kill"

    def fault(number: int) -> Result | None:
        part = scale.draw("moments", number).uniform(0.02, 1.0)
        if call(fresh(folder), scale.command, partial(end_after, part * seconds)).status not in ENDED:
            return None  # it was done before
        return f"after {part:.4f} of its time", wrong(call(folder, scale.command), results(folder), expected)

    what = "ended at a random moment of its processor time; the command again"
    yield Kind("kill at a random moment", what, scale.moments, None, fault)


def failing_calls(scale: Scale, expected: dict[str, Any]) -> Iterator[Kind]:
    """A full disk, a missing right, a broken disk: a sentence, nothing half-written, and the command again goes on."""
    folder = scale.folder / "fail"
    _, calls = tracing.traced(fresh(folder), scale.command)
    faults = [(each, error) for error in ("ENOSPC", "EIO", "EACCES") for each in calls if each.name not in _RELEASING]
    order = scale.order(len(faults), scale.errors, "errors")

    def fault(number: int) -> Result:
        each, error = faults[order[number]]
        option = f"inject={each.name}:error={error}:when={each.ordinal}"
        ended, _ = tracing.traced(fresh(folder), scale.command, "-e", option)
        problem = said(ended) or wrong(call(folder, scale.command), results(folder), expected)
        return f"{error} at {each.name} {each.ordinal} ({each.text[:160]})", problem

    what = "ENOSPC, EACCES or EIO at a write, sync, rename, lock; the command again"
    yield Kind("system call fails", what, len(order), len(faults), fault)


def said(ended: Ended) -> str | None:
    """None if a command that met a failing disk went on, or ended in a sentence."""
    if "Traceback" in ended.text or ended.status not in (0, 1):
        return f"exit status {ended.status}: {ended.text[-1500:]}"
    return "no word" if ended.status == 1 and not ended.text.strip() else None


_RELEASING = ("unlink", "unlinkat", "rmdir")  # what is removed is no longer needed
