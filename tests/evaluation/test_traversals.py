"""Traversals replace one coordinate and nothing else; the image change is a mean of steps; lost images are counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from gpot.errors import BadInput
from gpot.evaluation.traversals import image_change, informative, lost, traversal_codes, traverse
from gpot.flows.weights import load_released
from tests.conftest import shared_path
from third_party.btcvae import BetaTCVAE

M, D, K, C, S = 3, 4, 5, 2, 6
VALUES = torch.linspace(-1.75, 1.75, K, dtype=torch.float64)


def codes() -> Tensor:
    return torch.randn(M, D, dtype=torch.float64)


def linear_decoder(d: int = D) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Basis images (d, C, S, S), and z -> 1/2 + sum_i z_i basis_i, inside [0, 1] for |z_i| <= 5."""
    basis = (torch.rand(d, C, S, S, dtype=torch.float64) - 0.5) / (5 * d)
    return basis, lambda z: 0.5 + torch.einsum("ni,icst->ncst", z, basis)


def test_one_coordinate_is_replaced_and_the_others_are_kept():
    c = codes()
    path = traversal_codes(c, VALUES)
    assert path.shape == (M, D, K, D) and path.dtype == c.dtype
    for a in range(M):
        for i in range(D):
            for j in range(K):
                expected = c[a].clone()
                expected[i] = VALUES[j]
                assert torch.equal(path[a, i, j], expected)


def test_codes_keep_their_dtype_and_what_is_not_finite():
    c = codes().float()
    c[1, 2] = torch.nan
    path = traversal_codes(c, VALUES)
    assert path.dtype == torch.float32
    assert path[1, 2].isfinite().all() and path[1, 0, :, 2].isnan().all() and path[[0, 2]].isfinite().all()


@pytest.mark.parametrize("chunk", [1, 7, 1024])
def test_a_linear_decoder_has_images_in_closed_form(chunk: int):
    c = codes()
    basis, decode = linear_decoder()
    seen = []

    def noted(z: Tensor) -> Tensor:
        seen.append(len(z))
        return decode(z)

    images = traverse(c, noted, VALUES, chunk)
    # replacing coordinate i moves the image along basis image i by the difference
    moved = (VALUES - c[:, :, None])[..., None, None, None] * basis[None, :, None]
    torch.testing.assert_close(images, decode(c)[:, None, None] + moved, rtol=0, atol=1e-14)
    assert max(seen) <= chunk and sum(seen) == M * D * K


def test_change_of_a_linear_decoder_is_the_step_times_the_mean_of_its_basis_image():
    basis, decode = linear_decoder()
    step = (VALUES[1] - VALUES[0]).item()
    expected = step * basis.abs().mean((1, 2, 3))
    torch.testing.assert_close(
        image_change(traverse(codes(), decode, VALUES)), expected.expand(M, D), rtol=1e-12, atol=0
    )


def test_change_is_0_for_the_same_image_and_the_step_of_a_ramp():
    still = torch.rand(C, S, S, dtype=torch.float64).expand(M, D, K, C, S, S)
    assert torch.equal(image_change(still), torch.zeros(M, D, dtype=torch.float64))
    ramp = (torch.arange(K, dtype=torch.float64) / 16)[:, None, None, None].expand(K, C, S, S)
    assert image_change(ramp).item() == 1 / 16  # exact in binary
    assert image_change(ramp.flip(0).float()).item() == 1 / 16  # there or back, in any precision
    assert (
        image_change(torch.stack((torch.zeros(1, S, S), torch.ones(1, S, S)))).item() == 1.0
    )  # black to white: the most


def test_an_image_without_a_finite_value_is_nan_in_all_pixels_and_counted():
    _, decode = linear_decoder()

    def broken(z: Tensor) -> Tensor:
        images = decode(z)
        images[z[:, 0] > 1.5, 0, 1, 2] = torch.inf  # the last value of row 0, for every code
        return images

    c = codes().clamp(-1, 1)
    images = traverse(c, broken, VALUES)
    assert lost(images) == M and images[:, 0, -1].isnan().all()
    assert lost(images[:, 1:]) == 0 and lost(images[:, 0]) == M
    whole = traverse(c, decode, VALUES)
    # the steps that are left, of a ramp, have the same mean
    torch.testing.assert_close(image_change(images), image_change(whole), rtol=1e-12, atol=0)
    assert lost(whole) == 0


def test_change_leaves_out_steps_next_to_a_lost_image():
    levels = torch.tensor([0.0, 0.25, 0.5, 0.5, 1.0], dtype=torch.float64)
    images = levels[:, None, None, None].repeat(1, 1, S, S)
    assert image_change(images).item() == 0.25
    images[0, 0, 0, 0] = torch.nan  # one pixel is enough; three steps are left: 0.25, 0, 0.5
    assert image_change(images).item() == 0.25
    images[4] = -torch.inf  # two are left: 0.25, 0
    assert image_change(images).item() == 0.125
    images[2] = torch.nan  # none
    assert image_change(images).isnan() and lost(images) == 3


def test_informative_dimensions_are_above_the_threshold():
    kl = torch.tensor([3.809, 0.05, 0.0013, -1e-7, 0.3417])
    assert informative(kl, threshold=0.05).tolist() == [True, False, False, False, True]
    assert informative(kl, threshold=1e-3).tolist() == [True, True, True, False, True]


def test_traversals_of_the_released_vae_change_along_its_five_dimensions():
    """Its own latent space: the last rows leave the image unchanged."""
    vae = BetaTCVAE()
    load_released(vae, shared_path("reference/weights/disentangling_vae_btcvae_dsprites.safetensors"))
    golden = load_file(shared_path("reference/golden/btcvae_dsprites_vae.safetensors"))
    image = next(tensor for tensor in golden.values() if tensor.ndim == 4 and tensor.shape[1:] == (1, 64, 64))[:2]
    with torch.no_grad():
        mean = vae.encode(image.float())[0]
    change = image_change(traverse(mean, vae.decode, torch.linspace(-1.75, 1.75, 7))).mean(0)
    carries = torch.zeros(10, dtype=torch.bool)
    carries[[4, 8, 2, 3, 6]] = True  # by the KL divergences of its training log
    assert change[carries].min() > 5 * change[~carries].max()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: traversal_codes(torch.zeros(4), VALUES), r"\(m, d\).*got shape \(4,\)"),
        (lambda: traversal_codes(torch.zeros(0, 4), VALUES), r"got shape \(0, 4\)"),
        (lambda: traversal_codes(torch.zeros(2, 4, dtype=torch.int64), VALUES), "float tensor.*int64"),
        (lambda: traversal_codes(codes(), torch.zeros(2, 2)), r"values \(k,\).*got shape \(2, 2\)"),
        (lambda: traversal_codes(codes(), torch.tensor([0.0, torch.nan])), "finite values"),
        (lambda: traverse(codes(), lambda z: z, VALUES), r"decode must return.*it returned shape \(60, 4\)"),
        (lambda: traverse(codes(), lambda z: torch.zeros(1, 1, S, S), VALUES), r"for \(60, 4\).*\(1, 1, 6, 6\)"),
        (lambda: traverse(codes(), lambda z: torch.full((len(z), 1, S, S), 1.5), VALUES), "1.5 to 1.5.*not to logits"),
        (lambda: traverse(codes(), linear_decoder()[1], VALUES, chunk=0), "chunk=0"),
        (lambda: lost(torch.zeros(S, S)), r"\(\.\.\., C, S, S\), and got shape \(6, 6\)"),
        (lambda: image_change(torch.zeros(C, S, S)), r"\(\.\.\., k, C, S, S\)"),
        (lambda: image_change(torch.zeros(1, C, S, S)), "at least 2 values"),
        (lambda: informative(torch.zeros(2, 2), 0.05), r"\(d,\).*got shape \(2, 2\)"),
        (lambda: informative(torch.tensor([1.0, -2.0]), 0.05), "not negative.*-2.0"),
        (lambda: informative(torch.tensor([1.0, torch.nan]), 0.05), "finite"),
    ],
)
def test_wrong_input_is_said(call: Callable[[], Any], message: str):
    with pytest.raises(BadInput, match=message):
        call()
