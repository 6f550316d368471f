"""The benchmark that needs a GPU says so where there is none, and its ways compute the same thing."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

from benchmarks import gpu_ridge
from tests.conftest import ROOT


def test_without_a_gpu_one_sentence_and_nothing_written(tmp_path):
    out = tmp_path / "gpu.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_ridge.py"), "--out", str(out)]
    ended = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, check=False
    )
    assert ended.returncode == 1 and not out.exists()
    assert "torch finds none here" in ended.stderr and "benchmarks/ridge_scaling.py" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("dim", [2, 5])
def test_what_is_compiled_is_what_is_trained(dim: int):
    problem = gpu_ridge.Problem(dim, 9, "cpu")
    results = []
    for transport in (problem.gp.transport, problem.formula):
        s = problem.descend(transport)
        results.append((s, *(parameter.grad for parameter in problem.parameters)))
    assert (results[0][0] - problem.z).abs().max() > 1e-2
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * expected.abs().max().item())
