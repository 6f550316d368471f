"""Kinds of faults, how many are tried, and a record of what was found, from which an interrupted campaign goes on."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpot.leftovers import replacing

Result = tuple[str, str | None]  # the fault, and what should not have happened: None for nothing
_SAVE = 20.0  # seconds
_LONG = 2000  # characters
_MANY = 10_000


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    name, what: for the table. n: how many are tried. of: how many there are; None where there is no end of them.
    fault: does the one of a number and says what it found; None where it could not be done, and the next is tried.
    """

    name: str
    what: str
    n: int
    of: int | None
    fault: Callable[[int], Result | None]


@dataclass
class Count:
    """tried: faults. lost: those after which something was not as it should be, by number, each with what happened.
    next: number of the fault that comes next."""

    name: str
    what: str
    of: int | None
    tried: int = 0
    lost: dict[int, str] = field(default_factory=dict)
    next: int = 0

    @property
    def survived(self) -> int:
        """Those after which everything was as it should be."""
        return self.tried - len(self.lost)

    def add(self, number: int, result: Result | None) -> None:
        """What a fault did."""
        if result is None:
            return
        fault, problem = result
        self.tried += 1
        if problem is not None:
            self.lost[number] = f"{fault}: {problem}"[:_LONG]
            print(f"    LOST {self.lost[number]}", flush=True)

    def row(self) -> dict[str, Any]:
        return {
            "fault": self.name, "what": self.what, "tried": self.tried, "survived": self.survived,
            "lost": len(self.lost), "of": self.of, "next": self.next, "lost_faults": self.lost,
        }  # fmt: skip


@dataclass(frozen=True)
class Scale:
    """How much of the campaign is run: `None` is all of it."""

    seed: int
    folder: Path
    command: Callable[[], bool]  # through all stages
    calls: int | None
    moments: int
    errors: int | None
    disks: int | None
    bits: int | None
    random_bits: int
    lengths: int | None
    checkpoint_bits: int | None
    trainings: int
    races: int
    sweep_kills: int
    sweep_jobs: int
    malformed: int
    limit: float | None = None  # seconds for each kind of fault; what is left of it then is not tried

    def draw(self, purpose: str, number: int = 0) -> random.Random:
        """Chance of its own for each purpose and number, so that what was done before does not matter."""
        return random.Random(f"{self.seed} {purpose} {number}")

    def order(self, of: int, n: int | None, purpose: str) -> range | list[int]:
        """n of as many numbers, or all (None), in an order of chance: what a limit of time leaves is a sample too. Of
        very many, all are in their own order."""
        if n is None and of > _MANY:
            return range(of)
        return self.draw(purpose).sample(range(of), of if n is None else min(n, of))


class Record:
    """The counts, in a JSON file from which a campaign that was ended goes on: none for a path of None.

    Raises: SystemExit for a file of another campaign.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        self.counts: dict[str, Count] = {}
        self._before = {"seconds": 0.0, "cpu_seconds": 0.0}
        self._start = time.monotonic()
        if path is not None and path.is_file():
            self._read(path)

    def _read(self, path: Path) -> None:
        saved = json.loads(path.read_text(encoding="utf-8"))
        if any(saved.get(name) != value for name, value in self.about.items()):
            raise SystemExit(
                f"{path} is of another campaign, with other sizes or versions: type --anew, or --out OTHER"
            )
        self._before = {name: saved[name] for name in self._before}
        for row in saved["rows"]:
            lost = {int(number): text for number, text in row["lost_faults"].items()}
            counted = {name: row[name] for name in ("what", "of", "tried", "next")}
            self.counts[row["fault"]] = Count(name=row["fault"], lost=lost, **counted)

    def count(self, kind: Kind) -> Count:
        """What is known of a kind."""
        count = self.counts.setdefault(kind.name, Count(kind.name, kind.what, kind.of))
        count.what, count.of = kind.what, kind.of
        return count

    @property
    def cpu(self) -> float:
        """Seconds of processor time, of this process, of those that have ended, and of the sessions before."""
        return self._before["cpu_seconds"] + sum(os.times()[:4])

    def save(self) -> None:
        """The counts so far."""
        if self.path is None:
            return
        spent = {"cpu_seconds": round(self.cpu), "seconds": round(self._before["seconds"] + self._elapsed())}
        result = {"item": "faults", **self.about, "rows": [count.row() for count in self.counts.values()], **spent}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n", encoding="utf-8")

    def _elapsed(self) -> float:
        return time.monotonic() - self._start

    def try_all(self, kind: Kind, limit: float | None) -> Count:
        """The faults of a kind that were not tried yet, within a limit of seconds; first those that were lost before,
        again."""
        count = self.count(kind)
        start = said = saved = time.monotonic()
        for number in list(count.lost):
            del count.lost[number]
            count.tried -= 1
            count.add(number, kind.fault(number))
        while count.tried < kind.n and count.next < 3 * kind.n:
            count.add(count.next, kind.fault(count.next))
            count.next += 1
            now = time.monotonic()
            if limit is not None and now - start > limit:
                break
            if now - saved > _SAVE:
                self.save()
                saved = now
            if now - said > 3 * _SAVE:
                print(f"    {count.tried:,} of {kind.n:,}, {len(count.lost)} lost", flush=True)
                said = now
        self.save()
        return count
