"""The bound of a map's gap: an upper bound on known truth, no worse than Gelbrich's, and fixed by its seed."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gpot.errors import BadInput, TrainingDiverged
from gpot.evaluation.bounds import bound_by, conjugates_at, fenchel_young_bound, gaps
from gpot.evaluation.potential import Potential, PotentialFit, fit_potential, gelbrich_potential
from gpot.maths.transport import gelbrich
from tests.maths.test_convex_network import draw, large

FIT = PotentialFit(groups=4, pieces=8, regression_steps=60, steps=60, batch_size=256)


def twisted(z: Tensor, strength: float) -> Tensor:
    """A Gaussian-preserving map: the plane of the first two coordinates turns by an angle of its radius."""
    angle = strength * z[:, :2].norm(dim=1)
    first = z[:, 0] * angle.cos() - z[:, 1] * angle.sin()
    second = z[:, 0] * angle.sin() + z[:, 1] * angle.cos()
    return torch.cat([first[:, None], second[:, None], z[:, 2:]], dim=1)


def known_truth(n: int, dim: int, strength: float = 0.5) -> tuple[Tensor, Tensor, Tensor]:
    """x = grad u0(z0), z = h(z0), z0."""
    z0 = torch.randn(n, dim, generator=draw(1), dtype=torch.float64)
    return large(dim, (8, 8), 3).gradient(z0), twisted(z0, strength), z0


@pytest.mark.parametrize("dim", [2, 10, 32])
def test_above_the_true_gap_on_known_truth(dim: int) -> None:
    x, z, z0 = known_truth(4000, dim)
    bound = fenchel_young_bound(x[:3000], z[:3000], x[3000:], z[3000:], FIT)
    # what the map costs more than the optimum on the held-out pairs; as laws, h#N = N, so a sample differs by chance
    excess = 2.0 * (x[3000:] * (z0 - z)[3000:]).sum(1)
    assert bound.mean > excess.mean() - 5.0 * excess.std() / len(excess) ** 0.5
    assert excess.mean() > 0.0 and bound.n == 1000


def test_near_zero_for_an_optimal_map_and_less_than_the_quadratic() -> None:
    x, _, z0 = known_truth(6000, 2)
    fit = PotentialFit(groups=8, pieces=16, regression_steps=300, steps=300, batch_size=512)
    bound = fenchel_young_bound(x[:5000], z0[:5000], x[5000:], z0[5000:], fit)
    quadratic = bound_by(gelbrich_potential(x[:5000], z0[:5000]), x[5000:], z0[5000:])
    assert bound.fitted and not quadratic.fitted and 0.0 <= bound.mean < 0.2 * quadratic.mean
    cost = ((x - z0) ** 2).sum(1).mean()
    assert bound.mean < 0.02 * cost


def test_never_worse_than_gelbrich_even_where_nothing_is_learned() -> None:
    z = torch.randn(2000, 3, generator=draw(2), dtype=torch.float64)
    x = z @ torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 0.02]], dtype=torch.float64) + 1.0
    fit = PotentialFit(groups=1, pieces=4, regression_steps=0, steps=1, batch_size=64)
    bound = fenchel_young_bound(x[:1000], z[:1000], x[1000:], z[1000:], fit)
    assert not bound.fitted and bound.mean < 1e-2  # a linear map with a positive definite matrix is optimal


def test_of_means_and_covariances_the_quadratic_bound_is_gelbrichs() -> None:
    z = torch.randn(3000, 4, generator=draw(3), dtype=torch.float64)
    x = torch.randn(3000, 4, generator=draw(4), dtype=torch.float64) @ large(4, (), 1).root + 2.0
    x[:, 3] *= 1e-3
    cost = ((x - z) ** 2).sum(1).mean()
    moments = [m for cloud in (x, z) for m in (cloud.mean(0), cloud.T.cov())]
    floor = gelbrich(*moments)
    assert cost - gaps(gelbrich_potential(x, z), x, z)[0].mean() == pytest.approx(floor.item(), abs=2e-3 * cost.item())


def test_a_collapsed_axis_is_no_obstacle() -> None:
    x, _, z0 = known_truth(3000, 3)
    x = x * torch.tensor([1.0, 1e-3, 0.0], dtype=torch.float64)
    bound = fenchel_young_bound(x[:2000], z0[:2000], x[2000:], z0[2000:], FIT)
    assert 0.0 <= bound.mean <= 1.05 * bound_by(gelbrich_potential(x[:2000], z0[:2000]), x[2000:], z0[2000:]).mean


def test_one_seed_one_number_and_float32_pairs() -> None:
    x, z, _ = known_truth(1500, 2)
    x, z = x.float(), z.float()
    first, second = (fenchel_young_bound(x[:1000], z[:1000], x[1000:], z[1000:], FIT, seed=4) for _ in range(2))
    assert first == second
    assert fenchel_young_bound(x[:1000], z[:1000], x[1000:], z[1000:], FIT, seed=5).mean != first.mean


def test_held_out_pairs_take_no_part_in_the_choice() -> None:
    x, z, _ = known_truth(1500, 2)
    whole = fenchel_young_bound(x[:1000], z[:1000], x[1000:], z[1000:], FIT)
    halves = [fenchel_young_bound(x[:1000], z[:1000], x[k : k + 250], z[k : k + 250], FIT) for k in (1000, 1250)]
    assert sum(half.mean for half in halves) / 2.0 == pytest.approx(whole.mean, rel=1e-9)


def test_a_potential_of_one_map_bounds_another_between_the_same_laws() -> None:
    x, z, z0 = known_truth(4000, 2)
    optimal = fit_potential(x[:3000], z0[:3000], PotentialFit(8, 16, 200, 200, 512), seed=0)
    excess = 2.0 * (x[3000:] * (z0 - z)[3000:]).sum(1)
    bound = bound_by(optimal, x[3000:], z[3000:])
    assert bound.mean == pytest.approx(excess.mean().item(), abs=0.1 * excess.mean().item() + 4.0 * bound.stderr)


def test_pairs_near_the_best_ones_make_the_better_potential() -> None:
    x, _, z0 = known_truth(6000, 10)
    near, far = twisted(z0, 0.1), twisted(z0, 0.5)  # the same laws, hence the same best potential
    by_near, by_far = (fit_potential(x[:5000], z[:5000], FIT, 0) for z in (near, far))
    assert bound_by(by_near, x[5000:], near[5000:]).mean < 0.8 * bound_by(by_far, x[5000:], near[5000:]).mean


def test_conjugates_at_the_points_alone_give_each_map_its_own_bound() -> None:
    x, z, z0 = known_truth(600, 3)
    for potential in (gelbrich_potential(x, z), fit_potential(x, z0, PotentialFit(4, 4, 20, 20, 64), seed=0)):
        reached = conjugates_at(potential, x)
        for image in (z, z0):
            assert bound_by(potential, x, image, reached).mean == pytest.approx(
                bound_by(potential, x, image).mean, rel=1e-9, abs=1e-12
            )


def test_a_potential_is_what_its_state_says() -> None:
    x, z, _ = known_truth(400, 3)
    for potential in (gelbrich_potential(x, z), fit_potential(x, z, PotentialFit(2, 4, 2, 2, 64), seed=0)):
        assert bound_by(Potential.of_state(potential.state()), x, z) == bound_by(potential, x, z)


def test_refusals() -> None:
    x, z, _ = known_truth(100, 2)
    with pytest.raises(BadInput, match="at least"):
        fenchel_young_bound(x[:10], z[:10], x, z, FIT)
    with pytest.raises(TrainingDiverged, match="learning rate"):
        fit = PotentialFit(groups=2, pieces=8, regression_steps=40, steps=0, batch_size=32, lr_regression=1e30)
        fenchel_young_bound(x, z, x, z, fit)
