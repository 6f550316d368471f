"""Run the campaign, or a sample of it, and write what was tried, survived and lost."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: threads do not survive a fork

import torch

from benchmarks.faults import damage, kills, malformed, races, sweeps, tracing
from benchmarks.faults.command import REPORT, report, warm
from benchmarks.faults.count import Count, Scale
from gpot.config import compose

PARTS = ("calls", "moments", "errors", "damage", "checkpoints", "races", "sweep", "malformed")
FULL = {
    "calls": None, "moments": 200, "errors": None, "bits": None, "random_bits": 10_000, "checkpoint_bits": 2000,
    "races": 40, "sweep_kills": 50, "sweep_jobs": 24, "malformed": 1000,
}  # fmt: skip
SAMPLE = {
    "calls": 5, "moments": 5, "errors": 6, "bits": 1500, "random_bits": 200, "checkpoint_bits": 40, "races": 2,
    "sweep_kills": 0, "sweep_jobs": 4, "malformed": 24,
}  # fmt: skip

_SAMPLE_SECONDS = 3.0  # of each kind of fault


def campaign(scale: Scale, parts: list[str]) -> Iterator[Count]:
    """The parts that are asked for, one count after the other."""
    expected, seconds = kills.reference(scale)
    traced = tracing.available()
    if not traced and {"calls", "errors"} & set(parts):
        print("no strace here that may attach: kills and errors at system calls are left out")
    found: dict[str, Callable[[], Iterator[Count]]] = {
        "calls": partial(kills.at_calls, scale, expected),
        "moments": partial(kills.at_moments, scale, expected, seconds),
        "errors": partial(kills.failing_calls, scale, expected), "damage": partial(damage.artefacts, scale),
        "checkpoints": partial(damage.checkpoints, scale, expected, seconds), "races": partial(races.races, scale),
        "sweep": partial(sweeps.sweep, scale), "malformed": partial(malformed.malformed, scale),
    }  # fmt: skip
    return itertools.chain.from_iterable(found[part]() for part in parts if traced or part not in ("calls", "errors"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON of the counts")
    parser.add_argument("--sample", action="store_true", help="a part of the campaign, in about a minute")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all; of a sample all but the sweep")
    parser.add_argument("--limit", type=float, help="seconds for each kind of fault (default: none)")
    parser.add_argument("--folder", type=Path, help="where the commands work (default: a temporary one)")
    for name, full in FULL.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=int, help=f"how many (all of it: {full or 'every one'})"
        )
    options = parser.parse_args()
    torch.set_num_threads(1)
    warm()
    sizes = {name: getattr(options, name) for name in FULL}
    sizes = {**(SAMPLE if options.sample else FULL), **{k: v for k, v in sizes.items() if v is not None}}
    with tempfile.TemporaryDirectory(prefix="gpot-faults-") as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        scale = Scale(
            seed=options.seed,
            folder=folder,
            command=partial(report, compose("report", REPORT)),
            limit=options.limit or (_SAMPLE_SECONDS if options.sample else None),
            **sizes,
        )
        parts = options.parts or [part for part in PARTS if part != "sweep" or not options.sample]
        rows, start = [], time.monotonic()
        for count in campaign(scale, parts):
            print(f"{count.name} ...", flush=True)
            rows.append(count)
            _said(rows[:-1])
            if options.out is not None:
                _write(options.out, rows[:-1], options, sizes, time.monotonic() - start)
        _said(rows)
    print(f"{sum(r.tried for r in rows)} faults, {sum(len(r.lost) for r in rows)} lost; {_cpu()} s of processor time")
    if options.out is not None:
        _write(options.out, rows, options, sizes, time.monotonic() - start)
    sys.exit(1 if any(row.lost for row in rows) else 0)


_seen: set[int] = set()


def _said(rows: list[Count]) -> None:
    for row in rows:
        if id(row) not in _seen:
            _seen.add(id(row))
            print(f"  {row.name}: {row.tried} tried, {row.survived} survived, {len(row.lost)} lost", flush=True)


def _cpu() -> int:
    """Seconds of processor time, of this process and of those that have ended."""
    return round(sum(os.times()[:4]))


def _write(
    out: Path, rows: list[Count], options: argparse.Namespace, sizes: dict[str, int | None], seconds: float
) -> None:
    """The counts so far: a campaign that is ended has what it did."""
    result = {
        "item": "faults", "seed": options.seed, "rows": [row.row() for row in rows], "sizes": sizes,
        "cpu_seconds": _cpu(), "seconds": round(seconds),
        "versions": {"torch": torch.__version__, "python": platform.python_version()}, "machine": platform.machine(),
    }  # fmt: skip
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=2, allow_nan=False) + "\n")


if __name__ == "__main__":
    main()
