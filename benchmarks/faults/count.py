"""What a part of the campaign found."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

Item = TypeVar("Item")


@dataclass
class Count:
    """tried: faults. survived: those after which everything was as it should be. lost: the others, each with what
    happened. of: how many faults there are of the kind; None where there is no end of them."""

    name: str
    what: str
    tried: int = 0
    survived: int = 0
    of: int | None = None
    lost: list[str] = field(default_factory=list)

    def add(self, fault: str, wrong: str | None) -> None:
        """One more fault; wrong: what should not have happened."""
        self.tried += 1
        if wrong is None:
            self.survived += 1
        else:
            self.lost.append(f"{fault}: {wrong}")
            print(f"    LOST {self.lost[-1][:2000]}", flush=True)

    def row(self) -> dict[str, Any]:
        return {
            "fault": self.name, "what": self.what, "tried": self.tried, "survived": self.survived,
            "lost": len(self.lost), "of": self.of, "first_lost": self.lost[:5],
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
    bits: int | None
    random_bits: int
    checkpoint_bits: int
    races: int
    sweep_kills: int
    sweep_jobs: int
    malformed: int

    limit: float | None = None  # seconds for each kind of fault; what is left of it then is not tried

    def within(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, until the limit is passed."""
        start = time.monotonic()
        for item in items:
            if self.limit is not None and time.monotonic() - start > self.limit:
                return
            yield item

    def draw(self, purpose: str) -> random.Random:
        return random.Random(f"{self.seed} {purpose}")


def some(items: list[Item], n: int | None, draw: random.Random) -> list[Item]:
    """n of the items, or all, in an order of chance: what a limit of time leaves is a sample too."""
    return draw.sample(items, len(items) if n is None else min(n, len(items)))
