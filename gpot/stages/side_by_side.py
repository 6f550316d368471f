"""Results side by side: processes that make one at a time, each as soon as what it reads is there.

A stage is data, so it is sent to a process as it is; what it makes is the same whichever process makes it, since its
seed is its own. The store is what they share.
"""

from __future__ import annotations

import dataclasses
import logging
import logging.handlers
import multiprocessing
import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.queues import Queue
from typing import Any

import torch

from gpot.config.choices import Upstream
from gpot.errors import ProcessLost
from gpot.memory import keep_freed_memory
from gpot.stages.stage import Stage, Workshop

log = logging.getLogger(__name__)

_THREADS = "OMP_NUM_THREADS"  # read by PyTorch and by NumPy's BLAS when they are loaded


def make_all(workshop: Workshop, stages: Sequence[Stage], jobs: int) -> None:
    """Make what these results need and the store lacks, in `jobs` processes; a single one leaves it to those who ask.

    Each has as many threads as this process, unless `OMP_NUM_THREADS` says otherwise: see :func:`shared_threads`.
    Raises: what making a result raises, when those in the making have ended; ProcessLost for a process that was killed.
    """
    if workshop.upstream is Upstream.require:
        for stage in stages:
            workshop.permit(stage)
    plan = workshop.plan(stages)
    jobs = min(jobs, len(plan))
    if jobs < 2:
        return
    log.info("%d results to make, in %d processes", len(plan), jobs)
    missing = {part.key: part for part in plan}
    # also of what is read partly: where all of it is made anyway, a part of it would be made twice
    needs = {part.key: {stage.key for stage in (*part.inputs, *part.required())} & missing.keys() for part in plan}
    context = multiprocessing.get_context("spawn")  # a fork copies locks of threads that it does not copy
    records: Queue[logging.LogRecord] = context.Queue()
    listener = logging.handlers.QueueListener(records, *logging.getLogger().handlers, respect_handler_level=True)
    level, threads = logging.getLogger().getEffectiveLevel(), torch.get_num_threads()
    listener.start()
    try:
        with _environment(_THREADS, str(threads)), ProcessPoolExecutor(jobs, context, _begin, (records, level)) as pool:
            try:
                _run(pool, workshop, missing, needs)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)  # what is in the making is kept
                raise
    finally:
        listener.stop()


@contextmanager
def shared_threads(jobs: int) -> Iterator[None]:
    """Meanwhile this process has its share of the threads, of as many processes as `jobs`."""
    all_threads = torch.get_num_threads()
    torch.set_num_threads(max(1, all_threads // jobs))
    try:
        yield
    finally:
        torch.set_num_threads(all_threads)


def _run(pool: ProcessPoolExecutor, workshop: Workshop, missing: dict[str, Stage], needs: dict[str, set[str]]) -> None:
    """Hand out each stage when those that it reads are made."""
    waiting, running = dict(missing), dict[Future[None], Stage]()
    while waiting or running:
        for key in [key for key in waiting if not needs[key]]:
            part = waiting.pop(key)
            running[pool.submit(_make, workshop, part)] = part
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            part = running.pop(future)
            try:
                future.result()
            except BrokenProcessPool as error:
                raise ProcessLost(
                    f"a process was to make a result of stage {part.name}, and the system ended it: often for want of "
                    "memory. Type the same command with report.jobs=1 (make: JOBS=1); what is finished is found."
                ) from error
            for needed in needs.values():
                needed.discard(part.key)
            log.info("%s: there, %d of %d", part.name, len(missing) - len(waiting) - len(running), len(missing))


def _make(workshop: Workshop, stage: Stage) -> None:
    """In a process of the pool: its inputs are there."""
    dataclasses.replace(workshop, device=stage.config.device.words).make(stage)


def _begin(records: Queue[Any], level: int) -> None:
    """In each process, first: what it logs goes to the one that started it, and it ends when that one does."""
    keep_freed_memory()
    root = logging.getLogger()
    root.handlers[:] = [logging.handlers.QueueHandler(records)]
    root.setLevel(level)
    os.environ["TERM"] = "dumb"  # several bars would write over one another: lines instead
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """An environment variable as the processes find it that are started meanwhile; one that is set stays."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        del os.environ[name]
