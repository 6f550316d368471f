"""The form of the beta-TCVAE for training on a CPU has the numbers and the gradients of the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from third_party.btcvae import BetaTCVAE, training_forward
from third_party.btcvae.fast import overlap, windows

N = 5


def outputs_and_gradients(network: BetaTCVAE, fast: bool, images: Tensor, weights: list[Tensor]) -> list[Tensor]:
    """The four outputs, and the gradients of their weighted sum with respect to the parameters."""
    network.zero_grad()
    torch.manual_seed(1)
    found = training_forward(network, images) if fast else network(images)
    sum((weight * output).sum() for weight, output in zip(weights, found, strict=True)).backward()  # type: ignore[union-attr]
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert len(gradients) == len(list(network.parameters()))
    return [output.detach() for output in found] + gradients


def case(size: int, channels: int) -> tuple[BetaTCVAE, Tensor, list[Tensor]]:
    """A network with large biases, images, and weights of the outputs."""
    torch.manual_seed(0)
    network = BetaTCVAE(size, channels, latent_dim=3)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    images = torch.rand(N, channels, size, size)
    return network, images, [torch.randn_like(images), *(torch.randn(N, 3) for _ in range(3))]


@pytest.mark.parametrize(("size", "channels"), [(64, 1), (64, 3), (32, 1), (32, 2)])
def test_fast_and_plain_agree(size: int, channels: int) -> None:
    network, images, weights = case(size, channels)
    network, images, weights = network.double(), images.double(), [weight.double() for weight in weights]
    for fast, plain in zip(
        *(outputs_and_gradients(network, way, images, weights) for way in (True, False)), strict=True
    ):
        torch.testing.assert_close(fast, plain, rtol=1e-11, atol=1e-11)


def test_under_autocast_fast_is_as_close_to_float32_as_plain() -> None:
    """Each within a few roundings of bfloat16, and what the loss divides by small variances in float32."""
    network, images, weights = case(64, 1)
    exact = outputs_and_gradients(network, False, images, weights)
    with torch.autocast("cpu", torch.bfloat16):
        fast = outputs_and_gradients(network, True, images, weights)
        plain = outputs_and_gradients(network, False, images, weights)
    assert all(tensor.dtype is torch.float32 for tensor in fast)
    for true, ours, theirs in zip(exact, fast, plain, strict=True):
        error, expected = ((found.float() - true).norm() / true.norm() for found in (ours, theirs))
        assert error < max(1.5 * expected, torch.tensor(0.01))


def test_overlap_is_the_adjoint_of_windows() -> None:
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    seen = windows(images)
    pieces = torch.randn_like(seen)
    torch.testing.assert_close((seen * pieces).sum(), (images * overlap(pieces, 2, 8)).sum(), rtol=1e-12, atol=1e-12)


def test_windows_are_those_of_unfold() -> None:
    images = torch.randn(2, 3, 8, 8)
    unfolded = torch.nn.functional.unfold(images, 4, padding=1, stride=2)  # (n, 16 C, positions)
    assert torch.equal(windows(images), unfolded.permute(1, 0, 2).flatten(1))
