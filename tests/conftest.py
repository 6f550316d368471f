"""Shared by all tests: where the reference data is, and a fixed seed."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]


def shared_path(relative: str) -> Path:
    """Path below the reference folder (`GPOT_SHARED`, default `../shared`); skips the test where it is absent."""
    path = Path(os.environ.get("GPOT_SHARED", ROOT.parent / "shared")) / relative
    if not path.exists():
        pytest.skip(f"reference data '{relative}' is not here; set GPOT_SHARED to the folder that has it")
    return path


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)
