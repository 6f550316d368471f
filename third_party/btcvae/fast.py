r"""The forward pass of :class:`BetaTCVAE` for training on a CPU: the same numbers, more images a second.

Three things make the plain form slow there. Its feature maps are in the order (n, C, S, S), which every product has to
turn around; here all are channels last. A convolution of an image with one channel, or to one, is shaped badly for a
product; here the first and the last layer are one matrix product each, on the windows of all positions. And the
gradient of a transposed convolution's bias takes longer than all its others; here it is a product with ones.

Under autocast the products are in its precision, as in the plain form, but the posterior's mean and log-variance, the
code and the sums of the last layer are in float32. Gradients are written by hand: there is no second derivative, and
none with respect to the image.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from third_party.btcvae.model import HIDDEN_CHANNELS, BetaTCVAE

_SIDE = 4  # of a kernel; stride 2, padding 1
_GRID = 4  # side of the last feature map
_OFFSETS = [(y, x) for y in range(_SIDE) for x in range(_SIDE)]


def training_forward(network: BetaTCVAE, images: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `network(images)` returns: logits, mean, log-variance, a sample z.

    The precision of the products is that of autocast, where it is on, else that of the weights.
    """
    kind = images.device.type
    exact = network.encoder.lin1.weight.dtype
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else exact
    with torch.autocast(kind, enabled=False):
        mean, log_variance = _encode(network, images, dtype, exact)
        z = mean + torch.exp(log_variance / 2) * torch.randn_like(mean)
        return _decode(network, z, dtype), mean, log_variance, z


def _encode(network: BetaTCVAE, images: Tensor, dtype: torch.dtype, exact: torch.dtype) -> tuple[Tensor, Tensor]:
    encoder = network.encoder
    h = _FirstLayer.apply(images, *_parameters(encoder.conv1, dtype))
    for layer in (encoder.conv2, encoder.conv3, encoder.conv_64):
        if layer is not None:
            h = _Layer.apply(h, *_parameters(layer, dtype), False)
    h = h.flatten(1)
    for linear in (encoder.lin1, encoder.lin2):
        h = functional.linear(h, *_parameters(linear, dtype)).relu_()
    posterior = functional.linear(h.to(exact), *_parameters(encoder.mu_logvar_gen, exact))
    mean, log_variance = posterior.unflatten(1, (network.latent_dim, 2)).unbind(-1)
    return mean, log_variance


def _decode(network: BetaTCVAE, z: Tensor, dtype: torch.dtype) -> Tensor:
    decoder, h = network.decoder, z.to(dtype)
    for linear in (decoder.lin1, decoder.lin2, decoder.lin3):
        h = functional.linear(h, *_parameters(linear, dtype)).relu_()
    h = h.unflatten(1, (HIDDEN_CHANNELS, _GRID, _GRID)).contiguous(memory_format=torch.channels_last)
    for layer in (decoder.convT_64, decoder.convT1, decoder.convT2):
        if layer is not None:
            h = _Layer.apply(h, *_parameters(layer, dtype), True)
    logits: Tensor = _LastLayer.apply(h, *_parameters(decoder.convT3, dtype))
    return logits


def _parameters(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    weight, bias = layer.weight, layer.bias
    assert isinstance(weight, Tensor)
    assert isinstance(bias, Tensor)
    return weight.to(dtype), bias.to(dtype)


def windows(images: Tensor) -> Tensor:
    """The windows that a kernel sees, (n, C, S, S) -> (16 C, n S/2 S/2), in the order of a kernel's (C, 4, 4).

    Row 2 i + p - 1 of an image, and so its columns, are in plane p at i: each of the 16 copies is of unbroken rows.
    """
    n, channels, size, _ = images.shape
    half = size // 2
    planes = images.new_zeros(2, 2, channels, n, half + 1, half + 1)
    for plane, pixels in _parities(planes, images):
        plane.copy_(pixels)
    out = images.new_empty(channels, _SIDE, _SIDE, n, half, half)
    for y, x in _OFFSETS:
        out[:, y, x] = planes[y % 2, x % 2, :, :, y // 2 : y // 2 + half, x // 2 : x // 2 + half]
    return out.view(-1, n * half * half)


def overlap(pieces: Tensor, n: int, size: int) -> Tensor:
    """Windows added where they overlap, (16 C, n S/2 S/2) -> (n, C, S, S): the adjoint of :func:`windows`, in float32
    at least."""
    half = size // 2
    parts = pieces.view(-1, _SIDE, _SIDE, n, half, half)
    dtype = torch.promote_types(pieces.dtype, torch.float32)
    planes = pieces.new_zeros(2, 2, len(parts), n, half + 1, half + 1, dtype=dtype)
    for y, x in _OFFSETS:
        planes[y % 2, x % 2, :, :, y // 2 : y // 2 + half, x // 2 : x // 2 + half] += parts[:, y, x]
    images = planes.new_empty(n, len(parts), size, size)
    for plane, pixels in _parities(planes, images):
        pixels.copy_(plane)
    return images


def _parities(planes: Tensor, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of each plane the part without padding, and the pixels that belong there, both (C, n, S/2, S/2)."""
    n, channels, size, _ = images.shape
    half = size // 2
    pixels = images.view(n, channels, half, 2, half, 2).permute(3, 5, 1, 0, 2, 4)
    return [
        (planes[p, q, :, :, 1 - p : half + 1 - p, 1 - q : half + 1 - q], pixels[1 - p, 1 - q])
        for p in (0, 1)
        for q in (0, 1)
    ]


def _rows(maps: Tensor) -> Tensor:
    """(n, C, S, S), channels last -> (n S S, C), the same memory."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])


def _maps(rows: Tensor, n: int, size: int) -> Tensor:
    """(n S S, C) -> (n, C, S, S), channels last, the same memory."""
    return rows.view(n, size, size, -1).permute(0, 3, 1, 2)


def _column_sums(rows: Tensor) -> Tensor:
    return (rows.new_ones(1, len(rows)) @ rows)[0]


class _FirstLayer(torch.autograd.Function):
    """relu(convolution): images (n, C, S, S) -> (n, H, S/2, S/2), channels last."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        seen = windows(images.to(weight.dtype))
        out = torch.addmm(bias, seen.T, weight.flatten(1).T).relu_()
        ctx.save_for_backward(seen, out)
        ctx.shape = weight.shape
        return _maps(out, len(images), images.shape[-1] // 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[None, Tensor, Tensor]:
        seen, out = ctx.saved_tensors
        rows = torch.ops.aten.threshold_backward(_rows(grad), out, 0)
        return None, (rows.T @ seen.T).view(ctx.shape), _column_sums(rows)


class _Layer(torch.autograd.Function):
    """relu(convolution), or of a transposed one: maps, channels last -> maps of half or twice the side."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor, transposed: bool) -> Tensor:
        ctx.transposed = transposed
        out = torch.convolution(maps, weight, bias, [2, 2], [1, 1], [1, 1], transposed, [0, 0], 1).relu_()
        ctx.save_for_backward(maps, weight, out)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        maps, weight, out = ctx.saved_tensors
        grad = torch.ops.aten.threshold_backward(grad, out, 0)
        to_maps, to_weight, _ = torch.ops.aten.convolution_backward(
            grad, maps, weight, None, [2, 2], [1, 1], [1, 1], ctx.transposed, [0, 0], 1, [True, True, False]
        )
        return to_maps, to_weight, _column_sums(_rows(grad)), None


class _LastLayer(torch.autograd.Function):
    """Transposed convolution: (n, H, S, S), channels last -> images (n, C, 2 S, 2 S)."""

    @staticmethod
    def forward(ctx: Any, maps: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(maps, weight)
        return overlap(weight.flatten(1).T @ _rows(maps).T, len(maps), 2 * maps.shape[-1]).add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        maps, weight = ctx.saved_tensors
        seen = windows(grad.to(weight.dtype))
        to_maps = _maps(seen.T @ weight.flatten(1).T, len(maps), maps.shape[-1])
        return to_maps, (_rows(maps).T @ seen.T).view_as(weight), grad.sum((0, 2, 3)).to(weight.dtype)
