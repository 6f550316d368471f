"""Problems of known optimum: h keeps the Gaussian and moves as far as asked; the truth has the score 0."""

from __future__ import annotations

import pytest
import torch

from gpot.errors import BadConfig
from gpot.evaluation.known_truth import known_truth

PROBLEMS = [(2, "ridges", "field"), (3, "network", "twist"), (9, "ridges", "field"), (9, "network", "twist")]


@pytest.mark.parametrize(("dim", "potential", "scramble"), PROBLEMS)
def test_h_keeps_the_gaussian_and_moves_as_far_as_asked(dim: int, potential: str, scramble: str) -> None:
    truth = known_truth(dim, potential, scramble, strength=0.4, dtype=torch.float64)
    draw = torch.Generator().manual_seed(5)
    for part in truth.parts:
        z = torch.randn(300, part.dim, generator=draw, dtype=torch.float64)
        assert part.log_det_error(z).abs().mean() < 1e-4
        moved = ((part.transport(z) - z) ** 2).mean().item()
        assert moved == pytest.approx(0.4, rel=0.25)
    assert sum(part.dim for part in truth.parts) == dim


@pytest.mark.parametrize(("dim", "potential", "scramble"), PROBLEMS)
def test_scores(dim: int, potential: str, scramble: str) -> None:
    truth = known_truth(dim, potential, scramble)
    triples = truth.draw(1500, seed=1)
    again = known_truth(dim, potential, scramble).draw(1500, seed=1)
    assert torch.equal(triples.x, again.x) and torch.equal(triples.z, again.z)
    z0 = iter(triples.z0.split(512))
    exact = truth.scores(lambda rows: next(z0), triples)
    assert exact.uvp.mean == 0.0 and exact.excess.mean == pytest.approx(0.0, abs=1e-8)
    nothing = truth.scores(lambda rows: rows, triples)
    assert nothing.uvp.mean > 10.0 and nothing.excess_percent > 10.0
    cost = ((triples.x - triples.z0).double() ** 2).sum(1).mean().item()
    assert nothing.optimal_cost == pytest.approx(cost)


def test_only_known_problems() -> None:
    for wrong in ({"potential": "cubic"}, {"scramble": "shuffle"}, {"strength": 3.0}):
        with pytest.raises(BadConfig, match="known truth"):
            known_truth(4, **wrong)
