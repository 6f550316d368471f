"""Progress on long work: a bar in a terminal, a line at the start and the end elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
log = logging.getLogger(__name__)


def track(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """Iterate over items and show how far it is. total: their number. what: the work, as a verb."""
    console = Console(stderr=True)
    start = time.monotonic()
    if not console.is_interactive:  # no terminal, or one without a cursor
        yield from items
        log.info("%s: done in %.0f s", what, time.monotonic() - start)
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        yield from progress.track(items, total=total, description=what)
