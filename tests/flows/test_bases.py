"""Bases other than N(0, I): the map that carries them there keeps the density, and is inverted."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as dist

from gpot.errors import FlowRefused
from gpot.flows.bases import Base, read_base
from gpot.maths.transport import exact_log_det, gaussian_log_density

D = 3
ONE = torch.ones(D)
TRIL = torch.tensor([[1.0, 0.0, 0.0], [0.5, 2.0, 0.0], [-0.3, 0.2, 0.7]])


class NoQuantile(dist.Laplace):
    """A law with a distribution function and no inverse of it."""

    def icdf(self, value: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


LAWS = {
    "diagonal": dist.Independent(dist.Normal(ONE, 2 * ONE), 1),
    "full": dist.MultivariateNormal(ONE, scale_tril=TRIL),
    "low rank": dist.LowRankMultivariateNormal(ONE, torch.randn(D, 1), ONE),
    "uniform": dist.Independent(dist.Uniform(-ONE, 2 * ONE), 1),
    "laplace": dist.Laplace(ONE, 0.5 * ONE),
    "logistic": dist.TransformedDistribution(
        dist.Uniform(0 * ONE, ONE), [dist.SigmoidTransform().inv, dist.AffineTransform(0.3 * ONE, 2 * ONE)]
    ),
    "no quantile": NoQuantile(0 * ONE, ONE),
    "mixture": dist.MixtureSameFamily(
        dist.Categorical(torch.ones(D, 2)), dist.Normal(torch.tensor([-1.0, 2.0]).expand(D, 2), torch.ones(D, 2))
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_density_is_kept_and_the_map_inverted(name: str) -> None:
    law = LAWS[name]
    base = read_base(law, D).double()
    u = law.sample((50,)).double()
    z, log_det = base(u)
    wanted = law.log_prob(u.float()).double()
    wanted = wanted if wanted.ndim == 1 else wanted.sum(1)
    torch.testing.assert_close(gaussian_log_density(z) + log_det, wanted, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(base.inverse(z), u, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(exact_log_det(lambda rows: base(rows)[0], u), log_det, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LAWS)
def test_samples_are_carried_to_the_normal_law(name: str) -> None:
    z, _ = read_base(LAWS[name], D)(LAWS[name].sample((4000,)))
    assert z.mean(0).abs().max() < 0.08 and (torch.cov(z.T) - torch.eye(D)).abs().max() < 0.12


def test_the_standard_normal_costs_nothing() -> None:
    for law in (None, dist.Normal(torch.zeros(D), ONE), dist.Independent(dist.Normal(torch.zeros(1, D), ONE), 1)):
        assert type(read_base(law, D)) is Base


@pytest.mark.parametrize(
    "law", [dist.Dirichlet(ONE), dist.VonMises(torch.zeros(D), ONE), dist.Uniform(torch.zeros(2), torch.ones(2))]
)
def test_another_base_is_refused_by_name(law: dist.Distribution) -> None:
    with pytest.raises(FlowRefused, match=type(law).__name__):
        read_base(law, D)
