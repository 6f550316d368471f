"""What is freed stays with the process: the next array of the same size needs no new pages."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import resource, sys, torch
from gpot.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    for size, count in ((2**17, 8), (2**19, 4)):
        held = [torch.ones(size) for _ in range(count)]
        del held
step(), step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's, on Linux")
def test_arrays_of_half_a_megabyte_and_more_find_their_pages_again() -> None:
    """Each step makes 12 MB of arrays, 3,072 pages; by itself glibc gives some or all of them back each time."""
    pages = {}
    for way in ("plain", "keep"):
        done = subprocess.run([sys.executable, "-c", CODE, way], capture_output=True, text=True, check=True)
        pages[way] = int(done.stdout)
    assert pages["keep"] < 3000, pages
