"""One s(z; c) for all contexts of a conditional flow: law, inverse and cost at each."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

import gpot
from gpot.errors import ArtifactCorrupt, BadConfig, BadInput, FlowRefused
from gpot.gp.amortized import AmortizedFlow
from gpot.library.saved import MANIFEST, WEIGHTS


def bend(y: Tensor, strength: Tensor) -> Tensor:
    return torch.stack([y[:, 0], y[:, 1] + strength * (y[:, 0] ** 2 - 1) / 3], 1)


def turn(y: Tensor, angle: Tensor) -> Tensor:
    cos, sin = angle.cos(), angle.sin()
    return torch.stack([cos * y[:, 0] - sin * y[:, 1], sin * y[:, 0] + cos * y[:, 1]], 1)


def forward(x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
    """z of x = bend_c(turn_c z): the best s turns by an angle of c, and bends by as much as c says."""
    return turn(bend(x, -context[:, 0]), -2 * context[:, 0]), torch.zeros_like(x[:, 0])


def inverse(z: Tensor, context: Tensor) -> Tensor:
    return bend(turn(z, 2 * context[:, 0]), context[:, 0])


def contexts(n: int) -> Tensor:
    return torch.linspace(-1, 1, n)[:, None]


@pytest.fixture(scope="module")
def fitted() -> gpot.AmortizedMap:
    return gpot.fit_contexts(
        (forward, inverse), contexts(40), dim=2, n_prior=6000, steps=150, batch=256, width=32, progress=False
    )


def random_flow(dim: int = 3) -> AmortizedFlow:
    gp = AmortizedFlow(dim, 2, width=16, hidden=8, n_steps=40).double()
    with torch.no_grad():
        for parameter in gp.parameters():
            parameter.copy_(0.7 * torch.randn_like(parameter))
    return gp.requires_grad_(False)


def test_gaussian_is_kept_at_every_context() -> None:
    gp = random_flow()
    rows = torch.cat((torch.randn(60, 3), 2 * torch.randn(60, 2)), 1).double()
    assert gp.log_det_error(rows).abs().mean() < 1e-3
    z = torch.randn(8000, 3).double()
    images = [gp.at(context).transport(z) for context in torch.randn(3, 2)]
    for s in images:
        assert s.mean(0).abs().max() < 0.06 and (s.T.cov() - torch.eye(3)).abs().max() < 0.08  # five standard errors
        assert (s.abs() < 0.6745).double().mean(0).sub(0.5).abs().max() < 0.03
    assert (images[0] - images[1]).abs().mean() > 0.3  # and contexts differ


def test_rows_and_one_context_agree_and_are_inverted() -> None:
    gp = random_flow()
    z, context = torch.randn(10, 3).double(), torch.tensor([0.5, -1.0]).double()
    rows, one = torch.cat((z, context.expand(10, 2)), 1), gp.at(context)
    s, log_det = gp(rows)
    torch.testing.assert_close(one.transport(z), s)
    torch.testing.assert_close(one(z)[1], log_det)
    torch.testing.assert_close(one.exact_log_det(z), gp.exact_log_det(rows))
    torch.testing.assert_close(one.inverse(s, refine=4), z, rtol=0, atol=1e-6)


def test_cost_falls_at_contexts_that_were_not_trained_on(fitted: gpot.AmortizedMap) -> None:
    report = fitted.report()
    assert report.contexts == 4
    assert report.after.mean < 0.5 * report.rotation.mean
    assert report.density.mean < 1e-3 and "mean of 4 contexts" in str(report)


def test_map_of_one_context_keeps_its_density(fitted: gpot.AmortizedMap) -> None:
    monge = fitted.at([0.8])
    x = monge.sample(200, torch.Generator().manual_seed(0))
    s, log_det = monge(x)
    z, log_det_f = forward(x, torch.full((200, 1), 0.8))
    ours, theirs = (-0.5 * (part**2).sum(1) + ld for part, ld in ((s, log_det), (z, log_det_f)))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    assert ((x - s) ** 2).sum(1).mean() < 0.5 * ((x - z) ** 2).sum(1).mean()


def test_contexts_may_be_drawn() -> None:
    drawn = gpot.fit_contexts(
        (forward, inverse), lambda n: torch.rand(n, 1), dim=2, n_prior=100, steps=2, batch=8, width=4, progress=False
    )
    assert drawn.report(torch.rand(2, 1), n=50).contexts == 2


def test_saved_and_loaded_it_is_the_same_map(fitted: gpot.AmortizedMap, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "map")
    assert sorted(path.name for path in folder.iterdir()) == [MANIFEST, WEIGHTS]
    again, z = gpot.load(folder, (forward, inverse)), torch.randn(30, 2)
    assert isinstance(again, gpot.AmortizedMap)
    for context in ([0.8], [-0.3]):
        torch.testing.assert_close(again.at(context)(z), fitted.at(context)(z), rtol=0, atol=0)
    assert str(again.report(n=100)) == str(fitted.report(n=100)), "on the same held-out contexts"
    assert gpot.load(again.save(tmp_path / "map"), (forward, inverse)).seconds == fitted.seconds  # type: ignore[union-attr]


def test_a_saved_map_knows_its_flow(fitted: gpot.AmortizedMap, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "map")
    other = (lambda x, context: forward(x, 0.5 * context), lambda z, context: inverse(z, 0.5 * context))
    with pytest.raises(FlowRefused, match="codes that differ by"):
        gpot.load(folder, other)
    with pytest.raises(BadInput, match=r"\.at\(context\)"):
        gpot.load(folder, (forward, inverse), context=torch.tensor([0.8]))
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[:-1] + bytes([weights[-1] ^ 1]))
    with pytest.raises(ArtifactCorrupt, match="sha256"):
        gpot.load(folder, (forward, inverse))


def test_what_does_not_fit_is_refused(fitted: gpot.AmortizedMap) -> None:
    with pytest.raises(BadConfig, match="at least 3 contexts"):
        gpot.fit_contexts((forward, inverse), contexts(2), dim=2, progress=False)
    with pytest.raises(BadInput, match=r"has 1 numbers, and got 2"):
        fitted.at([0.0, 1.0])
    with pytest.raises(BadInput, match=r"rows of s\(z; c\) are \[z, c\]"):
        fitted.gp.transport(torch.zeros(2, 2))
