"""The two schedules of beta-TCVAE's training."""

from __future__ import annotations

import pytest

from third_party.btcvae import annealing, pressure


def test_annealing_rises_linearly_to_one() -> None:
    assert [annealing(step, 4) for step in (1, 2, 4, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert annealing(1, 0) == 1.0


def test_pressure_falls_geometrically_to_one() -> None:
    factors = [pressure(step, 16.0, 4) for step in range(6)]
    assert factors == pytest.approx([16.0, 8.0, 4.0, 2.0, 1.0, 1.0])
    assert pressure(1, 1.0, 100) == 1.0 and pressure(1, 50.0, 0) == 1.0
