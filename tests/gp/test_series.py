"""Maps one after another: the law, the log-determinant of the whole, the inverse, the grid, the state."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadConfig
from gpot.evaluation.fidelity import Guard
from gpot.gp.base import GaussianPreserving
from gpot.gp.flow import GaussianPreservingFlow
from gpot.gp.orthogonal import Rotation
from gpot.gp.series import SeriesFlow
from gpot.gp.twist import TwistFlow
from gpot.gp.velocity import RidgeVelocity
from gpot.maths.transport import exact_log_det

DTYPE, D = torch.float64, 4


def orthogonal(draws: torch.Generator) -> Tensor:
    return torch.linalg.qr(torch.randn(D, D, dtype=DTYPE, generator=draws)).Q


def wild(n_steps: int = 32) -> SeriesFlow:
    """Two ridge fields with a twist between them, each with a rotation of its own, weights random and large."""
    draws = torch.Generator().manual_seed(0)
    ridges = [GaussianPreservingFlow(RidgeVelocity(D, 6), n_steps=n_steps) for _ in range(2)]
    series = SeriesFlow([ridges[0], TwistFlow(D, 2, 5), ridges[1]]).double()
    with torch.no_grad():
        for parameter in series.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, dtype=DTYPE, generator=draws))
    for part in (series, *series.stages):
        part.set_rotation(orthogonal(draws))
    return series


def test_the_whole_keeps_the_gaussian_and_its_log_det_is_that_of_its_jacobian() -> None:
    series, z = wild(), torch.randn(6, D, dtype=DTYPE)
    exact = series.exact_log_det(z, chunk=4)

    def composed(rows: Tensor) -> Tensor:
        rows = rows @ series.rotation.T
        for stage in series.stages:
            assert isinstance(stage, GaussianPreserving)
            plain = stage.rotation
            rows = stage._map(rows @ plain.T) if isinstance(stage, GaussianPreservingFlow) else stage.transport(rows)
        return rows

    torch.testing.assert_close(exact, exact_log_det(composed, z), rtol=0.0, atol=1e-10)
    torch.testing.assert_close(series.transport(z), composed(z), rtol=0.0, atol=1e-12)
    assert (series.transport(z) - z @ series.rotation.T).norm(dim=1).min() > 0.1
    assert not exact.requires_grad
    assert series.log_det_error(z).abs().max() < 1e-4 < exact.abs().max()
    finer = wild(64)
    ratio = series.log_det_error(z).abs().max() / finer.log_det_error(z).abs().max()
    assert ratio > 10, "of fourth order"


def test_inverse() -> None:
    series, z = wild(), torch.randn(6, D, dtype=DTYPE)
    torch.testing.assert_close(series.inverse(series.transport(z), refine=3), z, rtol=0.0, atol=1e-10)


def test_equal_stages_are_one_flow_in_time() -> None:
    """Fields that do not change with time: twice the half way is the whole way, if each is half as fast."""
    draws = torch.Generator().manual_seed(1)
    whole = GaussianPreservingFlow(RidgeVelocity(D, 6), n_steps=8).double()
    with torch.no_grad():
        for parameter in whole.velocity.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, dtype=DTYPE, generator=draws))
        whole.velocity.o.zero_()
    series = SeriesFlow([GaussianPreservingFlow(RidgeVelocity(D, 6), n_steps=4).double() for _ in range(2)])
    for stage in series.stages:
        stage.load_state_dict(whole.state_dict())
        with torch.no_grad():
            stage.velocity.alpha.mul_(0.5)
    series.refine(8)
    z = torch.randn(5, D, dtype=DTYPE)
    torch.testing.assert_close(series.transport(z), whole.transport(z), rtol=0.0, atol=1e-12)


def test_the_grid_is_that_of_all_stages_and_the_guard_refines_it() -> None:
    series = SeriesFlow.of_ridges(D, n_stages=3, width=5)
    assert series.n_steps == 3 and [stage.n_steps for stage in series.stages] == [1, 1, 1]
    series.refine(4)
    assert [stage.n_steps for stage in series.stages] == [2, 2, 2], "no fewer than were asked for"
    guard = Guard(series, 0.0, 64)
    assert guard.judge(guard.measure(torch.randn(5, D)), "now") is not None and series.n_steps == 9
    mixed = wild(5)
    assert mixed.n_steps == 10
    mixed.refine(12)
    assert mixed.n_steps == 12
    still = SeriesFlow([Rotation(D), TwistFlow(D, 1, 3)])
    assert still.n_steps is None
    with pytest.raises(BadConfig, match="nothing is discretized"):
        still.refine(4)


def test_the_state_is_the_map_with_its_grid() -> None:
    series, twin, z = wild(8), wild(2), torch.randn(5, D, dtype=DTYPE)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    twin.load_state_dict(series.state_dict())
    assert torch.equal(twin.transport(z), series.transport(z)) and twin.n_steps == 16


def test_stages_must_fit_together() -> None:
    for stages in ([], [Rotation(3), Rotation(4)]):
        with pytest.raises(BadConfig, match="one stage or more"):
            SeriesFlow(stages)
    with pytest.raises(BadConfig, match="n_stages=0"):
        SeriesFlow.of_ridges(3, n_stages=0)
