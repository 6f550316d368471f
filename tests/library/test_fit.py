"""`gpot.fit` on a flow of our own: cost, law, repeats, saving, pictures, and what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gpot
from gpot.errors import ArtifactCorrupt, BadConfig, BadInput, DataMissing, FlowRefused, GpotWarning
from gpot.library.families import described, family, rebuilt, rest
from gpot.library.saved import MANIFEST, WEIGHTS
from gpot.maths.costs import squared_euclidean
from gpot.maths.schedule import WARM_UP

D = 2
TURN = torch.tensor([[0.6, -0.8], [0.8, 0.6]])


class Bent(nn.Module):
    """f^-1(z) = G(R z), G(y) = (y_1, y_2 + y_1^2 / 4), R a turn: no rotation alone is the best s after it."""

    def __init__(self, sign: float = 1.0) -> None:
        super().__init__()
        self.dim = D
        self.turn = nn.Parameter(TURN * torch.tensor([1.0, sign]))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = torch.stack([x[:, 0], x[:, 1] - x[:, 0] ** 2 / 4], 1)
        return y @ self.turn, torch.zeros_like(x[:, 0])

    def inverse(self, z: Tensor) -> Tensor:
        y = z @ self.turn.T
        return torch.stack([y[:, 0], y[:, 1] + y[:, 0] ** 2 / 4], 1)


class OneWay(Bent):
    def inverse(self, z: Tensor) -> Tensor:
        raise gpot.errors.InverseNotAvailable("this flow has no inverse")


def quick(flow: Any, x: Any = None, **options: Any) -> gpot.FittedMap:
    settings: dict[str, Any] = {"n_prior": 2000, "steps": 40, "batch": 128, "progress": False}
    torch.manual_seed(7)
    return gpot.fit(flow, x, **{"velocity": gpot.RidgeVelocity(D, 16), **settings, **options})


@pytest.fixture(scope="module")
def fitted() -> gpot.FittedMap:
    return quick(Bent())


def test_cost_falls_below_the_rotation_and_the_law_is_kept(fitted: gpot.FittedMap) -> None:
    report = fitted.report()
    assert report.before.mean > report.rotation.mean > report.after.mean + 0.005
    assert report.density.mean < 1e-3 and report.log_det_of_f < 1e-5 and report.round_trip < 1e-3
    assert fitted.record.source == "prior" and fitted.record.kept > 0 and fitted.course.validations
    for words in ("cost before", "cost after rotation", "exchange certificate", "round trip", "nats"):
        assert words in str(report)
    json.dumps(report.as_dict(), allow_nan=False)


def test_density_is_that_of_the_flow(fitted: gpot.FittedMap) -> None:
    x = fitted.sample(500, torch.Generator().manual_seed(0))
    logs = [-0.5 * (z**2).sum(1) + log_det for z, log_det in (fitted(x), Bent()(x))]
    torch.testing.assert_close(logs[0], logs[1], rtol=1e-5, atol=1e-5)


def test_the_flow_is_frozen_and_the_callers_random_numbers_are_left_alone(fitted: gpot.FittedMap) -> None:
    assert not any(p.requires_grad for p in fitted.parameters())
    torch.manual_seed(3)
    wanted = torch.rand(1)
    torch.manual_seed(3)
    gpot.fit(Bent(), velocity="ridge", n_prior=64, steps=2, batch=8, progress=False)
    assert torch.equal(torch.rand(1), wanted)


def test_the_same_seed_gives_the_same_map() -> None:
    first, second = (quick(Bent(), velocity="ridge", seed=5, n_prior=200, steps=4, batch=50) for _ in range(2))
    for a, b in zip(first.gp.parameters(), second.gp.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_small_table_is_not_learned_by_heart() -> None:
    x = Bent().inverse(torch.randn(60, D)).detach().numpy().astype(np.float64)
    monge = quick(Bent(), x)
    assert monge.record.source == "prior" and monge.record.n_train > len(x)
    assert monge.report(x).source == "points given"


def test_without_inverse_data_are_needed_and_used() -> None:
    with pytest.raises(FlowRefused, match=r"gpot\.fit\(flow, x\)"):
        quick(OneWay())
    x = Bent().inverse(torch.randn(400, D)).detach()
    with pytest.warns(GpotWarning, match="no inverse"):
        monge = quick(OneWay(), x)
    assert monge.record.source == "data" and monge.report().round_trip is None


def test_a_reflection_is_found_and_said() -> None:
    flow = Bent(sign=-1.0)
    with pytest.warns(GpotWarning, match="reverses orientation"):
        monge = quick(flow, steps=5)
    assert torch.linalg.det(monge.gp.rotation) < 0
    assert monge.report().rotation.mean < 0.5
    with pytest.raises(FlowRefused, match="reflection='auto'"):
        quick(flow, reflection=False)


def test_time_is_kept_and_the_cycle_ends_in_it() -> None:
    monge = quick(Bent(), steps=10**6, time_limit=4.0)
    assert monge.record.ended == "the time was over" and monge.record.steps < 10**6
    assert monge.record.seconds < 20.0


def test_training_stops_when_the_cost_stops_falling() -> None:
    def halved(x: Tensor) -> tuple[Tensor, Tensor]:
        return x / 2, torch.full_like(x[:, 0], -D * math.log(2.0))

    monge = quick((halved, lambda z: 2 * z), dim=D, steps=60, n_prior=800, batch=64)
    assert monge.record.ended == "the held-out cost stopped falling"
    assert WARM_UP * 60 < monge.record.steps < 60
    report = monge.report()
    assert report.after.mean == pytest.approx(report.before.mean, rel=1e-3)  # f is a Monge map already, and stays one


def test_another_cost_is_minimized() -> None:
    def l1(x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs().sum(1)

    report = quick(Bent(), cost=l1).report()
    assert report.after.mean <= report.rotation.mean
    with pytest.raises(BadInput, match="one value per pair"):
        quick(Bent(), cost=lambda x, y: (x - y) ** 2)


def test_float64_is_kept() -> None:
    monge = quick(Bent().double(), steps=5)
    assert monge.gp.rotation.dtype == monge.sample(3).dtype == torch.float64


def test_saved_and_loaded_it_is_the_same_map(fitted: gpot.FittedMap, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "map")
    assert sorted(p.name for p in folder.iterdir()) == sorted([MANIFEST, WEIGHTS])
    again, x = gpot.load(folder, Bent()), torch.randn(20, D)
    assert torch.equal(again.transport(x), fitted.transport(x)) and again.record == fitted.record
    assert again.report().after.mean == pytest.approx(fitted.report().after.mean, rel=0.2)
    fitted.save(folder)  # a second time
    assert list(tmp_path.iterdir()) == [folder]


def test_what_does_not_belong_together_is_refused_in_a_sentence(fitted: gpot.FittedMap, tmp_path: Path) -> None:
    folder = fitted.save(tmp_path / "map")

    class Other(Bent):
        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            z, log_det = super().forward(x)
            return z + 0.5, log_det

    class Solid(Bent):
        def __init__(self) -> None:
            super().__init__()
            self.dim = 3

    wrong = ((Other(), "codes that differ"), (Bent().double(), "float64"), (Solid(), "dimension"))
    for flow, words in wrong:
        with pytest.raises(FlowRefused, match=words):
            gpot.load(folder, flow)
    with pytest.raises(DataMissing):
        gpot.load(tmp_path / "nowhere", Bent())
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["gp"]["chart"] = "gaussian"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BadConfig, match="chart='direct'"):
        gpot.load(folder, Bent())
    weights = bytearray((folder / WEIGHTS).read_bytes())
    weights[-1] ^= 1
    (folder / WEIGHTS).write_bytes(weights)
    with pytest.raises(ArtifactCorrupt, match="sha256"):
        gpot.load(folder, Bent())
    (tmp_path / "mine").mkdir()
    with pytest.raises(BadInput, match="no saved map"):
        fitted.save(tmp_path / "mine")


def test_a_picture_of_the_plane(fitted: gpot.FittedMap) -> None:
    figure = fitted.plot()
    assert len(figure.axes) == 3 and "cost" in figure.axes[2].get_title()


@pytest.mark.parametrize(
    "gp",
    [gpot.TwistFlow(3, 2, 4), gpot.GaussianPreservingFlow(gpot.MLPVelocity(3, (5,)), "gaussian", 4),
     gpot.GaussianPreservingFlow(gpot.RidgeVelocity(3, 5)),
     gpot.GaussianPreservingFlow(gpot.DeepRidgeVelocity(3, 5, 4)),
     gpot.GaussianPreservingFlow(gpot.SpectralVelocity(2, 3), "gaussian"),
     gpot.SeriesFlow([gpot.TwistFlow(3, 2, 4), gpot.GaussianPreservingFlow(gpot.RidgeVelocity(3, 5), n_steps=3)])],
    ids=["twist", "mlp", "ridge", "deep_ridge", "spectral", "series"],
)  # fmt: skip
def test_every_family_is_built_again_from_its_description(gp: Any) -> None:
    twin = rebuilt(json.loads(json.dumps(described(gp))))
    twin.load_state_dict(gp.state_dict())
    z = torch.randn(5, gp.dim)
    assert torch.equal(twin.transport(z), gp.transport(z))
    rest(twin)
    torch.testing.assert_close(twin.transport(z), z, rtol=1e-5, atol=1e-5)


def test_auto_is_the_field_of_two_layers_where_it_is_the_better_one() -> None:
    def chosen(dim: int, chart: str = "direct") -> str:
        return str(described(family("auto", dim, chart))["family"])

    assert [chosen(dim) for dim in (2, 10, 11)] == ["deep_ridge", "deep_ridge", "series"]
    assert chosen(2, "cube") == chosen(20, "gaussian") == "ridge", "the others are of the direct chart alone"
    with pytest.raises(BadConfig, match="chart 'direct'"):
        family("series", 3, "cube")


def test_names_and_scales_are_checked() -> None:
    wrong = (({"velocity": "fast"}, "ridge"), ({"time_limit": 0}, "time_limit"), ({"chart": "x"}, "chart"))
    for options, words in wrong:
        with pytest.raises(BadConfig, match=words):
            gpot.fit(Bent(), progress=False, **options)
    with pytest.raises(FlowRefused, match="zuko"):
        gpot.fit(object())
    with pytest.raises(BadInput, match="row 1, column 0"):
        gpot.fit(Bent(), [[0.0, 1.0], [float("nan"), 1.0]])


def test_the_map_costs_what_it_says(fitted: gpot.FittedMap) -> None:
    x = Bent().inverse(torch.randn(300, D)).detach()
    paid = squared_euclidean(x, fitted.transport(x)).mean().item()
    assert fitted.report(x).after.mean == pytest.approx(paid, rel=1e-5)
