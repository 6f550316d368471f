"""Run the campaign, or a sample of it, and write what was tried, survived and lost."""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: threads do not survive a fork

import hypothesis
import torch

from benchmarks.faults import damage, disks, kills, malformed, races, sweeps, tracing
from benchmarks.faults.command import REPORT, report, warm
from benchmarks.faults.count import Kind, Record, Scale
from gpot.config import compose

PARTS = ("races", "artefacts", "checkpoints", "malformed", "calls", "moments", "disks", "sweep", "errors")
FULL = {
    "calls": None, "moments": 200, "errors": None, "disks": None, "bits": None, "random_bits": 10_000, "lengths": None,
    "checkpoint_bits": None, "trainings": 20, "races": 100, "sweep_kills": 50, "sweep_jobs": 24, "malformed": 1000,
}  # fmt: skip
SAMPLE = {
    "calls": 5, "moments": 5, "errors": 6, "disks": 5, "bits": 8000, "random_bits": 200, "lengths": 2000,
    "checkpoint_bits": 4000, "trainings": 3, "races": 3, "sweep_kills": 0, "sweep_jobs": 4, "malformed": 60,
}  # fmt: skip
_SAMPLE_SECONDS = 5.0  # of each kind of fault


def campaign(scale: Scale, parts: list[str]) -> Iterator[Kind]:
    """The kinds of the parts that are asked for, one after the other."""
    expected, seconds = kills.reference(scale)
    available = {"calls": tracing.available(), "errors": tracing.available(), "disks": disks.available()}
    for part in parts:
        if not available.get(part, True):
            print(f"{part}: left out, for want of strace, or of the right to attach it or to mount a small file system")
    found: dict[str, Callable[[], Iterator[Kind]]] = {
        "calls": partial(kills.at_calls, scale, expected),
        "moments": partial(kills.at_moments, scale, expected, seconds),
        "errors": partial(kills.failing_calls, scale, expected), "artefacts": partial(damage.artefacts, scale),
        "checkpoints": partial(damage.checkpoints, scale, expected, seconds), "races": partial(races.races, scale),
        "disks": partial(disks.full, scale, expected), "sweep": partial(sweeps.sweep, scale),
        "malformed": partial(malformed.malformed, scale),
    }  # fmt: skip
    return itertools.chain.from_iterable(found[part]() for part in parts if available.get(part, True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="JSON of the counts; the same command goes on from there")
    parser.add_argument("--anew", action="store_true", help="forget what an earlier run has written there")
    parser.add_argument("--sample", action="store_true", help="a part of the campaign, in about two minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--parts", nargs="+", choices=PARTS, help="default: all; of a sample all but the sweep")
    parser.add_argument("--limit", type=float, help="seconds for each kind of fault (default: none)")
    parser.add_argument("--folder", type=Path, help="where the commands work (default: beside --out)")
    for name, full in FULL.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"how many (all of it: {full or 'each one'})")
    options = parser.parse_args()
    sizes = {name: getattr(options, name) for name in FULL}
    sizes = {**(SAMPLE if options.sample else FULL), **{k: v for k, v in sizes.items() if v is not None}}
    versions = {"torch": torch.__version__, "python": platform.python_version(), "hypothesis": hypothesis.__version__}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="gpot-faults-") as temporary:
        folder = options.folder or (options.out.with_suffix("") if options.out else Path(temporary))
        if options.anew:
            shutil.rmtree(folder, ignore_errors=True)
            if options.out is not None:
                options.out.unlink(missing_ok=True)
        record = Record(options.out, {"seed": options.seed, "sizes": sizes, "versions": versions})
        scale = Scale(
            seed=options.seed, folder=folder.resolve(), command=partial(report, compose("report", REPORT)),
            limit=options.limit or (_SAMPLE_SECONDS if options.sample else None), **sizes,
        )  # fmt: skip
        warm(scale.folder, scale.command)
        for kind in campaign(scale, options.parts or [p for p in PARTS if p != "sweep" or not options.sample]):
            print(f"{kind.name} ...", flush=True)
            count = record.try_all(kind, scale.limit)
            print(f"  {count.tried:,} tried, {count.survived:,} survived, {len(count.lost)} lost", flush=True)
    counts = record.counts.values()
    lost = sum(len(count.lost) for count in counts)
    print(f"{sum(count.tried for count in counts):,} faults, {lost} lost; {record.cpu:.0f} s of processor time")
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
