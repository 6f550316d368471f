"""A sweep that is killed again and again, and started again with the same command: the same summary."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from functools import partial

from benchmarks.faults.command import ENDED, TINY, Ended, call, end_after, fresh, results, script
from benchmarks.faults.count import Count, Scale
from benchmarks.faults.kills import wrong

# Of 24 jobs, as `sweep=lambda`: penalties, halvings, seeds
_LARGE = ("penalty.weight=0,5e-5,5e-4,5e-3", "penalty.halvings=0,5", "gp.seed=0,1,2")
_SMALL = ("penalty.weight=0,5e-4", "penalty.halvings=0", "gp.seed=0,1")


def sweep(scale: Scale) -> Iterator[Count]:
    large = scale.sweep_jobs > 4
    jobs = 24 if large else 4
    count = Count("kill of a sweep", f"a sweep of {jobs} jobs, ended at random moments; the command again, the summary")
    yield count
    command = ["-m", "sweep=lambda", *TINY, *(_LARGE if large else _SMALL), "launcher=basic"]
    expected_folder = fresh(scale.folder / "sweep-expected")
    whole = call(expected_folder, partial(script, "evaluate", command))
    if whole.status:
        count.add("the sweep by itself", whole.text[-1500:])
        return
    call(expected_folder, partial(script, "sweep_summary", []))
    expected = results(expected_folder)
    folder, draw = fresh(scale.folder / "sweep"), scale.draw("sweep")
    left, start = scale.sweep_kills, time.monotonic()
    while left and (scale.limit is None or time.monotonic() - start < scale.limit):
        ended = call(
            folder, partial(script, "evaluate", command), partial(end_after, draw.uniform(0.05, whole.cpu / 4))
        )
        if ended.status not in ENDED:  # it is done: the rest of the kills on another one, from the beginning
            count.add("the sweep that was done", _problem(ended, folder, expected))
            fresh(folder)
            continue
        left -= 1
        count.tried, count.survived = count.tried + 1, count.survived + 1
    ended = call(folder, partial(script, "evaluate", command))
    if (problem := _problem(ended, folder, expected)) is not None:
        count.survived -= 1
        count.lost.append(problem)
        print(f"    LOST {problem[:2000]}", flush=True)
    shutil.rmtree(folder)


def _problem(ended: Ended, folder, expected) -> str | None:  # type: ignore[no-untyped-def]
    call(folder, partial(script, "sweep_summary", []))
    return wrong(ended, results(folder), expected)
