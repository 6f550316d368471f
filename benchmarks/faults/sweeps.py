"""A sweep that is killed again and again, and started again with the same command: the same summary."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from benchmarks.faults.command import ENDED, TINY, Ended, call, end_after, fresh, results, script
from benchmarks.faults.count import Kind, Result, Scale
from benchmarks.faults.kills import wrong

# Of 24 jobs, as `sweep=lambda`: penalties, halvings, seeds
_LARGE = ("penalty.weight=0,5e-5,5e-4,5e-3", "penalty.halvings=0,5", "gp.seed=0,1,2")
_SMALL = ("penalty.weight=0,5e-4", "penalty.halvings=0", "gp.seed=0,1")


def sweep(scale: Scale) -> Iterator[Kind]:
    """One that is done is compared, and another one begun; so is the one that the last kill leaves, to its end."""
    large = scale.sweep_jobs > 4
    command = partial(
        script, "evaluate", ["-m", "sweep=lambda", *TINY, *(_LARGE if large else _SMALL), "launcher=basic"]
    )
    reference, folder = scale.folder / "sweep-expected", scale.folder / "sweep"
    whole = call(fresh(reference), command)
    if whole.status:
        raise SystemExit(f"the sweep of the campaign fails by itself:\n{whole.text[-3000:]}")
    call(reference, partial(script, "sweep_summary", []))
    expected = results(reference)
    if not any(name.startswith("lambda") for name in expected):
        raise SystemExit(f"the sweep of the campaign has no summary, only {sorted(expected)}")
    if not folder.is_dir():
        fresh(folder)

    def problem(ended: Ended) -> str | None:
        call(folder, partial(script, "sweep_summary", []))
        found = wrong(ended, results(folder), expected)
        fresh(folder)
        return found

    def fault(number: int) -> Result:
        moment = scale.draw("sweep", number).uniform(0.05, whole.cpu / 4)
        ended = call(folder, command, partial(end_after, moment))
        fault, wrong_end = f"after {moment:.3f} s", None
        while ended.status not in ENDED:  # it was done
            wrong_end = wrong_end or problem(ended)
            ended = call(folder, command, partial(end_after, moment))
        if number == scale.sweep_kills - 1:
            wrong_end = wrong_end or problem(call(folder, command))
        return fault, wrong_end

    what = f"a sweep of {24 if large else 4} jobs, ended at random moments; the command again, the summary"
    yield Kind("kill of a sweep", what, scale.sweep_kills, None, fault)
