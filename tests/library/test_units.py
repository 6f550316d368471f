"""A flow of standardized columns and a user's own: densities, costs and digits in the units of the data."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import gpot
from gpot.commands import monge as command
from gpot.errors import BadConfig, BadInput
from gpot.evaluation.potential import PotentialFit
from gpot.library.units import Units

MEAN, SCALE = np.array([1e9, -3.0]), np.array([2.0, 0.05])
SMALL = PotentialFit(groups=2, pieces=4, regression_steps=5, steps=5, batch_size=64)


class Shear(nn.Module):
    """u ~ N(0, I) sheared: z = (u_1, u_2 - u_1^2 / 4)."""

    dim = 2

    def __init__(self) -> None:
        super().__init__()
        self.rate = nn.Parameter(torch.tensor(0.25))

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.stack([u[:, 0], u[:, 1] - self.rate * u[:, 0] ** 2], 1), torch.zeros_like(u[:, 0])

    def inverse(self, z: Tensor) -> Tensor:
        return torch.stack([z[:, 0], z[:, 1] + self.rate * z[:, 0] ** 2], 1)


def points(n: int = 600) -> np.ndarray:
    z = np.random.default_rng(3).normal(size=(n, 2))
    return MEAN + SCALE * np.stack([z[:, 0], z[:, 1] + z[:, 0] ** 2 / 4], 1)


@pytest.fixture(scope="module")
def fitted() -> gpot.FittedMap:
    return gpot.fit(
        Shear(), points(), standardized=True, columns=("mass", "charge"), velocity=gpot.RidgeVelocity(2, 16),
        n_prior=1000, steps=20, batch=64, progress=False,
    )  # fmt: skip


def test_density_has_the_jacobian_of_the_standardization(fitted: gpot.FittedMap) -> None:
    x = torch.as_tensor(points(50))
    s, log_det = fitted(x)
    u = torch.as_tensor((x.numpy() - fitted.units.standardization.mean) / fitted.units.standardization.scale)
    z, log_det_f = Shear().double()(u)
    of_u = -0.5 * (z**2).sum(1) + log_det_f
    of_x = -0.5 * (s.double() ** 2).sum(1) + log_det.double()
    torch.testing.assert_close(of_x, of_u - np.log(fitted.units.standardization.scale).sum(), rtol=0, atol=1e-3)


def test_digits_far_from_zero_are_kept(fitted: gpot.FittedMap) -> None:
    x = torch.as_tensor(points(50))
    back = fitted.inverse(fitted.transport(x), refine=3)
    assert back.dtype == torch.float64  # float32 has steps of 64 at 1e9
    assert ((back - x).abs() / torch.as_tensor(SCALE)).max() < 1e-4
    np.testing.assert_allclose(fitted.units.standardization.scale, points().std(0), rtol=1e-12)
    assert fitted.sample(200, torch.Generator().manual_seed(0))[:, 0].sub(1e9).std().item() == pytest.approx(2, rel=0.3)


def test_report_is_in_the_units_of_the_data(fitted: gpot.FittedMap) -> None:
    report = fitted.report(points(), bound=SMALL)
    said, units = str(report), report.units
    assert units is not None and [c.name for c in units.columns] == ["mass", "charge"]
    moves = np.array([c.after for c in units.columns])
    assert units.after.mean == pytest.approx((moves**2).sum(), rel=1e-9)
    scale = fitted.units.standardization.scale
    assert report.after.mean == pytest.approx(((moves / scale) ** 2).sum(), rel=1e-4)
    assert "mass" in said and "units of the data" in said and "no map between these laws costs less than" in said
    assert report.bound is not None and report.bound.mean >= 0
    json.dumps(report.as_dict(), allow_nan=False)


def test_nll_is_that_of_the_data(fitted: gpot.FittedMap) -> None:
    x = points()
    report = fitted.report(x, bound=False)
    s, log_det = fitted(torch.as_tensor(x[:512]))
    exact = (0.5 * (s.double() ** 2).sum(1) + np.log(2 * np.pi) - log_det.double()).mean().item()
    assert report.nll.mean == pytest.approx(exact, abs=2e-3) and report.bound is None


def test_it_is_saved_and_loaded_with_its_units(fitted: gpot.FittedMap, tmp_path: Path) -> None:
    again = gpot.load(fitted.save(tmp_path / "map"), Shear())
    x = torch.as_tensor(points(20))
    for one, other in zip(fitted(x), again(x), strict=True):
        assert torch.equal(one, other)
    assert again.units.names == ("mass", "charge")


def test_bound_lies_above_the_gap_of_a_map_whose_optimum_is_known() -> None:
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]])

    class Turned(nn.Module):
        """x -> R x of a Gaussian x: costs 4, and the optimum 0."""

        dim = 2

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            return x @ turn.T, torch.zeros_like(x[:, 0])

        def inverse(self, z: Tensor) -> Tensor:
            return z @ turn

    fitted = gpot.fit(Turned(), velocity=gpot.RidgeVelocity(2, 4), n_prior=2000, steps=1, batch=64, progress=False)
    good = fitted.report(bound=SMALL)
    fitted.gp.set_rotation(torch.eye(2))
    bad = fitted.report(bound=SMALL)
    assert good.bound.mean < 0.05 and bad.after.mean == pytest.approx(4, rel=0.1)
    assert bad.bound.mean > bad.after.mean - 3 * bad.bound.stderr - 0.05


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(BadConfig, match=r"gpot.fit\(flow, x, standardized=True\)"):
        gpot.fit(Shear(), standardized=True)
    with pytest.raises(BadInput, match="2 columns, and 1 names"):
        Units.of(points(), ["mass"])


def test_a_picture_without_matplotlib_says_what_to_install(fitted: gpot.FittedMap, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "gpot.plots.before_after", None)
    with pytest.raises(BadInput, match=r"pip install 'gpot\[plots\]'"):
        fitted.plot()


def test_command_reports_by_the_names_of_a_file(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text("from tests.library.test_units import Shear\nload = Shear\n")
    text = "\n".join(",".join([*map(repr, row), "x"]) for row in points(300).tolist())
    (tmp_path / "points.csv").write_text(f"mass,charge,comment\n{text}\n")
    arguments = ["flow.py:load", "points.csv", "--standardized", "--steps", "2", "--quiet", "--out", "map"]
    assert command.main(arguments) == 1 and "--columns mass,charge" in capsys.readouterr().err
    assert command.main([*arguments, "--columns", "mass,charge"]) == 0
    assert "charge" in capsys.readouterr().out
    written = json.loads((tmp_path / "map" / "report.json").read_text())
    assert [c["name"] for c in written["units"]["columns"]] == ["mass", "charge"] == written["columns"]


def test_command_reads_parquet(tmp_path: Path, monkeypatch, capsys) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="parquet is read by pyarrow: pip install 'gpot[tables]'")
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.py").write_text("from tests.library.test_units import Shear\nload = Shear\n")
    mass, charge = points(300).T
    parquet.write_table(pyarrow.table({"mass": mass, "comment": ["x"] * 300, "charge": charge}), "points.parquet")
    arguments = ["flow.py:load", "points.parquet", "--standardized", "--steps", "2", "--quiet", "--out", "map"]
    assert command.main(arguments) == 1 and "--columns mass,charge" in capsys.readouterr().err
    assert command.main([*arguments, "--columns", "mass,charge"]) == 0
    written = json.loads((tmp_path / "map" / "report.json").read_text())
    assert [(c["name"], c["mean"]) for c in written["units"]["columns"]] == [
        ("mass", pytest.approx(mass.mean())), ("charge", pytest.approx(charge.mean()))
    ]  # fmt: skip
