"""Twist couplings: volume and norm kept whatever the angle, by autograd; inverse; what an angle may not look at."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from gpot.errors import BadConfig, BadInput
from gpot.maths.transport import jacobian
from gpot.maths.twist import (
    AngleFunction,
    change_frames,
    exact_chain_log_det,
    orthogonal,
    plane_counts,
    plane_features,
    tanh_angles,
    turn,
    twist,
    twist_chain,
    untwist,
    untwist_chain,
)

DTYPE = torch.float64
EPS = torch.finfo(DTYPE).eps
DIMS = [3, 4, 5, 10, 33]
every_dim = pytest.mark.parametrize("dim", DIMS)


def wave(dim: int, planes: int) -> AngleFunction:
    """Angles of the order of 1, far from those of a tanh network, with slopes of the order of 1."""
    inside = torch.randn(dim - planes, planes, dtype=DTYPE) / math.sqrt(dim)
    return lambda features: 2.0 * torch.sin(features @ inside + 0.5) + 0.2 * features[:, :planes] ** 2


def waves(dim: int) -> tuple[AngleFunction, AngleFunction | None]:
    planes_a, planes_b = plane_counts(dim)
    return wave(dim, planes_a), wave(dim, planes_b) if planes_b else None


def random_chain(dim: int, n_layers: int = 3) -> tuple[Tensor, list[AngleFunction], list[AngleFunction | None]]:
    frames = orthogonal(torch.randn(n_layers, dim, dim, dtype=DTYPE))
    rotation = orthogonal(torch.randn(dim, dim, dtype=DTYPE))
    first, second = zip(*(waves(dim) for _ in range(n_layers)), strict=True)
    return change_frames(frames, rotation), list(first), list(second)


def reverse_mode_log_det(fn: object, z: Tensor) -> Tensor:
    jac = [torch.autograd.functional.jacobian(lambda row: fn(row[None])[0], row) for row in z]  # type: ignore[operator]
    return torch.linalg.slogdet(torch.stack(jac)).logabsdet


# -- pieces ---------------------------------------------------------------


def test_planes_of_each_half() -> None:
    assert [plane_counts(dim) for dim in DIMS] == [(1, 0), (1, 1), (1, 1), (3, 2), (8, 8)]
    for dim in (0, 1, 2):
        with pytest.raises(BadConfig, match=rf"needs dim >= 3, and got dim={dim}; take a ridge field"):
            plane_counts(dim)


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_orthogonal_is_a_rotation(scale: float) -> None:
    free = scale * torch.randn(4, 7, 7, dtype=DTYPE)
    q = orthogonal(free)
    eye = torch.eye(7, dtype=DTYPE)
    rounding = 16 * EPS * (1.0 + torch.linalg.matrix_norm(free).max().item())
    torch.testing.assert_close(q @ q.mT, eye.expand(4, 7, 7), rtol=0.0, atol=rounding)
    torch.testing.assert_close(torch.linalg.det(q), torch.ones(4, dtype=DTYPE), rtol=0.0, atol=7 * rounding)
    assert (q - eye).abs().amax((1, 2)).min() > 0.1


def test_orthogonal_in_a_plane_is_a_turn_by_the_difference() -> None:
    cos, sin = math.cos(0.7), math.sin(0.7)
    expected = torch.tensor([[cos, -sin], [sin, cos]], dtype=DTYPE)
    torch.testing.assert_close(orthogonal(torch.tensor([[5.0, 0.1], [0.8, 3.0]], dtype=DTYPE)), expected)


def test_turn_is_multiplication_by_a_phase() -> None:
    planes, angles = torch.randn(20, 6, dtype=DTYPE), 5.0 * torch.randn(20, 3, dtype=DTYPE)
    turned = torch.complex(planes[:, :3], planes[:, 3:]) * torch.polar(torch.ones_like(angles), angles)
    torch.testing.assert_close(turn(planes, angles), torch.cat((turned.real, turned.imag), 1))


def test_features_have_mean_zero_and_variance_one_under_the_gaussian() -> None:
    z = torch.randn(20000, 7, dtype=DTYPE)
    features = plane_features(z[:, :4], z[:, 4:])
    assert features.shape == (20000, 5)
    torch.testing.assert_close(features[:, 2:], z[:, 4:])
    assert features.mean(0).abs().max() < 5.0 / math.sqrt(len(z))
    assert (features.var(0) - 1.0).abs().max() < 5.0 * math.sqrt(8.0 / len(z))  # an exponential's kurtosis is 9


def test_tanh_angles_are_the_formula() -> None:
    w, b, v, c = (torch.randn(*shape, dtype=DTYPE) for shape in ((6, 4), (6,), (2, 6), (2,)))
    row = torch.randn(4, dtype=DTYPE)
    torch.testing.assert_close(tanh_angles(w, b, v, c)(row[None])[0], v @ torch.tanh(w @ row + b) + c)


# -- one layer ---------------------------------------------------------------


@every_dim
def test_a_twist_keeps_volume_and_radii_whatever_the_angle(dim: int) -> None:
    first, second = waves(dim)
    z = 1.5 * torch.randn(4, dim, dtype=DTYPE)
    s = twist(z, first, second)
    assert (s - z).norm(dim=1).mean() > 1.0
    log_det = reverse_mode_log_det(lambda rows: twist(rows, first, second), z)
    torch.testing.assert_close(log_det, torch.zeros(4, dtype=DTYPE), rtol=0.0, atol=1e-12)
    planes_a, planes_b = plane_counts(dim)
    a, b = z[:, : 2 * planes_a], z[:, 2 * planes_a : 2 * (planes_a + planes_b)]
    for before, after in ((a, s[:, : 2 * planes_a]), (b, s[:, 2 * planes_a : 2 * (planes_a + planes_b)])):
        radii = [torch.hypot(*part.chunk(2, 1)) for part in (before, after)]
        torch.testing.assert_close(radii[0], radii[1], rtol=8 * EPS, atol=8 * EPS)
    assert torch.equal(z[:, dim - dim % 2 :], s[:, dim - dim % 2 :])


@every_dim
def test_each_half_sees_all_that_it_may(dim: int) -> None:
    """No entry of the Jacobian is 0 where A turns by B and the radii of A, and B by A and the radii of B."""
    first, second = waves(dim)
    jac = jacobian(lambda rows: twist(rows, first, second), torch.randn(1, dim, dtype=DTYPE))[0]
    turned = dim - dim % 2
    assert jac[:turned].abs().min() > 0.0
    assert torch.equal(jac[turned:], torch.eye(dim, dtype=DTYPE)[turned:])


@pytest.mark.parametrize("what", ["its own coordinate", "the coordinates of a plane that turns with it"])
def test_an_angle_that_sees_a_phase_changes_volume(what: str) -> None:
    """The rule is needed: what `plane_features` withholds would not keep the Gaussian."""

    def broken(z: Tensor) -> Tensor:
        planes = z[:, :4]
        seen = planes[:, :2] if what == "its own coordinate" else planes[:, :2].flip(1)
        return torch.cat((turn(planes, torch.sin(seen)), z[:, 4:]), 1)

    assert reverse_mode_log_det(broken, torch.randn(10, 5, dtype=DTYPE)).abs().mean() > 0.1


@every_dim
def test_untwist_is_the_inverse(dim: int) -> None:
    first, second = waves(dim)
    z = torch.randn(50, dim, dtype=DTYPE)
    for forth, back in ((twist, untwist), (untwist, twist)):
        torch.testing.assert_close(back(forth(z, first, second), first, second), z, rtol=0.0, atol=1e-12)


# -- a chain ---------------------------------------------------------------


@every_dim
def test_a_chain_is_its_layers_each_in_its_own_frame(dim: int) -> None:
    frames = orthogonal(torch.randn(3, dim, dim, dtype=DTYPE))
    rotation = orthogonal(torch.randn(dim, dim, dtype=DTYPE))
    halves = [waves(dim) for _ in range(3)]
    z = torch.randn(10, dim, dtype=DTYPE)
    y = z @ rotation.T
    for q, (first, second) in zip(frames, halves, strict=True):
        y = twist(y @ q.T, first, second) @ q
    chain = (change_frames(frames, rotation), [h[0] for h in halves], [h[1] for h in halves])
    condition = torch.linalg.cond(jacobian(lambda rows: twist_chain(rows, *chain), z)).max().item()
    rounding = 100 * EPS * condition
    assert rounding < 1e-6
    torch.testing.assert_close(twist_chain(z, *chain), y, rtol=0.0, atol=rounding)
    torch.testing.assert_close(untwist_chain(y, *chain), z, rtol=0.0, atol=rounding)


@every_dim
def test_log_det_layer_by_layer_is_that_of_the_chain(dim: int) -> None:
    """With matrices that are not orthogonal, so that neither is 0: a measurement, not an assumption."""
    changes, first, second = random_chain(dim)
    changes = changes + 0.1 * torch.randn_like(changes) / math.sqrt(dim)
    z = torch.randn(4, dim, dtype=DTYPE)
    jac = jacobian(lambda rows: twist_chain(rows, changes, first, second), z)
    whole = torch.linalg.slogdet(jac).logabsdet
    parts = exact_chain_log_det(z, changes, first, second, chunk=3)
    assert parts.abs().min() > 1e-3
    rounding = 10 * EPS * torch.linalg.cond(jac).max().item()  # of log|det| of the whole
    torch.testing.assert_close(parts, whole, rtol=0.0, atol=dim * rounding)
    with pytest.raises(BadInput, match="chunk=0"):
        exact_chain_log_det(z, changes, first, second, chunk=0)
