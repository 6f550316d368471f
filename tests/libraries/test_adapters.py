"""Flows of the real libraries: density kept, round trip, base carried to N(0, I), dtype kept.

Each needs its library, which the environment of the other tests does not have: `make test-libraries`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import gpot
from gpot.errors import FlowRefused, InverseNotAvailable
from gpot.flows.base import FrozenFlow
from gpot.flows.handshake import handshake
from gpot.maths.transport import gaussian_log_density

D, C = 3, 2


def zuko_flow(name: str = "MAF", **options: Any) -> Any:
    zuko = pytest.importorskip("zuko", reason="zuko is not installed; type make test-libraries")
    return getattr(zuko.flows, name)(D, transforms=2, hidden_features=(8, 8), **options)


def zuko_density(flow: Any, x: Tensor, c: Tensor | None = None) -> Tensor:
    return flow(c).log_prob(x)


def nflows_flow(context: int | None = None, base: str = "StandardNormal") -> Any:
    pytest.importorskip("nflows", reason="nflows is not installed; type make test-libraries")
    from nflows import distributions, flows, transforms

    def layer() -> Any:
        return transforms.MaskedAffineAutoregressiveTransform(D, 8, context_features=context)

    law = getattr(distributions, base)
    base_law = law([D]) if base != "ConditionalDiagonalNormal" else law([D], torch.nn.Linear(context or 1, 2 * D))
    chain = transforms.CompositeTransform([layer(), transforms.ReversePermutation(D), layer()])
    return flows.Flow(chain, base_law)


def nflows_density(flow: Any, x: Tensor, c: Tensor | None = None) -> Tensor:
    return flow.log_prob(x, context=None if c is None else c.expand(len(x), -1))


def normflows_flow(base: str = "DiagGaussian") -> Any:
    nf = pytest.importorskip("normflows", reason="normflows is not installed; type make test-libraries")
    layers = [nf.flows.AutoregressiveRationalQuadraticSpline(D, 1, 8), nf.flows.LULinearPermute(D)]
    if base == "Uniform":
        layers = [nf.flows.AutoregressiveRationalQuadraticSpline(D, 1, 8, tail_bound=1)]
    return nf.NormalizingFlow(getattr(nf.distributions.base, base)(D), layers)


def normflows_density(flow: Any, x: Tensor, c: Tensor | None = None) -> Tensor:
    return flow.log_prob(x)


def pyro_flow(scale: float = 1.0) -> Any:
    dist = pytest.importorskip("pyro.distributions", reason="Pyro is not installed; type make test-libraries")
    transforms = pytest.importorskip("pyro.distributions.transforms")
    base = dist.Normal(torch.full((D,), 1.0 - scale), torch.full((D,), scale))
    return dist.TransformedDistribution(base, [transforms.spline_coupling(D, hidden_dims=[8]), transforms.permute(D),
                                               transforms.affine_coupling(D, hidden_dims=[8])])  # fmt: skip


def pyro_density(flow: Any, x: Tensor, c: Tensor | None = None) -> Tensor:
    return flow.log_prob(x)


def freia_flow() -> Any:
    framework = pytest.importorskip("FrEIA.framework", reason="FrEIA is not installed; type make test-libraries")
    import FrEIA.modules as modules

    net = framework.SequenceINN(D)
    for _ in range(2):
        net.append(
            modules.AllInOneBlock,
            subnet_constructor=lambda i, o: torch.nn.Sequential(
                torch.nn.Linear(i, 8), torch.nn.Tanh(), torch.nn.Linear(8, o)
            ),
        )
    return net


def freia_density(flow: Any, x: Tensor, c: Tensor | None = None) -> Tensor:
    z, log_det = flow(x)
    return gaussian_log_density(z) + log_det


def torchflows_flow(context: int | None = None) -> Any:
    torchflows = pytest.importorskip("torchflows.flows", reason="torchflows is not installed; type make test-libraries")
    from torchflows.bijections.finite.autoregressive.architectures import RealNVP

    return torchflows.Flow(RealNVP((D,), context_shape=None if context is None else (context,), n_layers=2))


def torchflows_density(flow: Any, x: Tensor, c: Tensor | None = None) -> Tensor:
    return flow.log_prob(x, context=None if c is None else c.expand(len(x), -1))


FLOWS: dict[str, tuple[Callable[[], Any], Callable[..., Tensor]]] = {
    "zuko MAF": (zuko_flow, zuko_density),
    "zuko NSF": (lambda: zuko_flow("NSF"), zuko_density),
    "zuko NCSF, uniform base": (lambda: zuko_flow("NCSF"), zuko_density),
    "nflows": (nflows_flow, nflows_density),
    "nflows, trained base": (lambda: nflows_flow(base="DiagonalNormal"), nflows_density),
    "normflows": (normflows_flow, normflows_density),
    "normflows, uniform base": (lambda: normflows_flow("Uniform"), normflows_density),
    "pyro": (pyro_flow, pyro_density),
    "pyro, another normal base": (lambda: pyro_flow(2.0), pyro_density),
    "FrEIA": (freia_flow, freia_density),
    "torchflows": (torchflows_flow, torchflows_density),
}


def shaken(flow: Any) -> Any:
    """With weights that are not those of the start, where many flows are the identity; bases included."""
    modules = [flow] if isinstance(flow, torch.nn.Module) else [t for t in flow.transforms if hasattr(t, "parameters")]
    with torch.no_grad():
        for module in modules:
            for parameter in module.parameters():
                if parameter.requires_grad:  # FrEIA holds fixed permutations as parameters
                    parameter.add_(0.15 * torch.randn_like(parameter))
            module.eval()
    return flow


def at_home(adapted: torch.nn.Module, dtype: torch.dtype) -> Tensor:
    """Points of the flow's own law."""
    with torch.no_grad():
        return adapted.inverse(torch.randn(32, D, dtype=dtype))  # type: ignore[operator]


@pytest.mark.parametrize("name", FLOWS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_density_is_kept_and_the_flow_inverted(name: str, dtype: torch.dtype) -> None:
    make, density = FLOWS[name]
    flow = shaken(make())
    if dtype is torch.float64:
        if not isinstance(flow, torch.nn.Module) or "torchflows" in name or name == "normflows, uniform base":
            pytest.skip("this object of its library is float32 only")
        flow = flow.double()
    adapted = gpot.adapt(flow)
    x = at_home(adapted, dtype)
    with torch.no_grad():
        z, log_det = adapted(x)
        mine, theirs = gaussian_log_density(z) + log_det, density(flow, x)
    assert z.dtype == log_det.dtype == dtype and log_det.shape == (32,)
    torch.testing.assert_close(mine, theirs.to(dtype), rtol=1e-5, atol=1e-5 if dtype is torch.float64 else 2e-4)
    torch.testing.assert_close(adapted.inverse(z), x, rtol=2e-3, atol=2e-3)
    found = handshake(adapted, x)
    assert found.log_det_error < 0.02 and found.invertible


@pytest.mark.parametrize(
    ("make", "density"),
    [
        (lambda: zuko_flow(context=C), zuko_density),
        (lambda: nflows_flow(C), nflows_density),
        (lambda: nflows_flow(C, "ConditionalDiagonalNormal"), nflows_density),
        (lambda: torchflows_flow(C), torchflows_density),
    ],
    ids=["zuko", "nflows", "nflows, conditional base", "torchflows"],
)
def test_a_conditional_flow_has_a_fixed_context(make: Callable[[], Any], density: Callable[..., Tensor]) -> None:
    flow, c = shaken(make()), torch.tensor([0.5, -1.0])
    with pytest.raises(FlowRefused, match="context"):
        FrozenFlow(gpot.adapt(flow))
    adapted = gpot.adapt(flow, context=c)
    x = at_home(adapted, torch.float32)
    with torch.no_grad():
        z, log_det = adapted(x)
        torch.testing.assert_close(gaussian_log_density(z) + log_det, density(flow, x, c), rtol=1e-4, atol=2e-4)
    other, _ = gpot.adapt(flow, context=-c)(x)
    assert (other - z).abs().max() > 1e-3


@pytest.mark.parametrize("make", [zuko_flow, nflows_flow, normflows_flow], ids=["zuko", "nflows", "normflows"])
def test_a_fit_in_one_call(make: Callable[[], Any]) -> None:
    flow = shaken(make())
    velocity = gpot.RidgeVelocity(D, 16)
    monge = gpot.fit(flow, velocity=velocity, n_prior=1024, steps=40, batch=128, rate=1e-2, progress=False)
    report = monge.report()
    assert report.after.mean <= report.rotation.mean * 1.001 and report.rotation.mean <= report.before.mean
    assert report.density.mean < 1e-3 and report.round_trip is not None and report.round_trip < 0.05


def test_a_flow_without_samples_is_fitted_on_data() -> None:
    pytest.importorskip("nflows", reason="nflows is not installed; type make test-libraries")
    from nflows import distributions, flows, transforms

    class OneWay(transforms.Transform):
        def forward(self, inputs: Tensor, context: Any = None) -> Any:
            return 2.0 * inputs, torch.full_like(inputs[:, 0], D * 0.6931471805599453)

    flow = flows.Flow(OneWay(), distributions.StandardNormal([D]))
    with pytest.raises(InverseNotAvailable):
        gpot.adapt(flow).inverse(torch.randn(4, D))
    with pytest.raises(FlowRefused, match=r"pass data"):
        gpot.fit(flow, progress=False)
    options: dict[str, Any] = {"velocity": gpot.RidgeVelocity(D, 8), "steps": 20, "batch": 64, "progress": False}
    with pytest.warns(gpot.errors.GpotWarning):
        monge = gpot.fit(flow, 0.5 * torch.randn(400, D), **options)
    assert monge.record.source == "data" and monge.report().round_trip is None
