"""What the C library does with the memory of arrays that are no longer needed."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # parameters of glibc's `mallopt` (malloc.h)
_LARGEST_OF_THE_HEAP = 32 * 2**20  # bytes: the most that glibc allows
KEPT = 2**30  # bytes of free memory that stay


def keep_freed_memory() -> bool:
    """From now on this process keeps the memory of arrays that it has freed, up to 1 GiB, for the next ones.

    By itself glibc gives the larger ones back to the system, and each array of the next step is then made of new pages,
    zeroed one by one: a GP flow that moves a thousand points in ten dimensions took between one and three times as
    long, by the accident of where its arrays lay (benchmarks/memory.py).

    Returns: False where the C library is another, and has no such trouble, or none that is known.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _LARGEST_OF_THE_HEAP) and mallopt(_TRIM_THRESHOLD, KEPT))
