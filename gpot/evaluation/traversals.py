r"""Latent traversals: one coordinate of a code replaced by each of k values, decoded to images (Figures 5 to 8).

Symbols: m codes of dimension d, k values, images of C channels and S x S pixels in [0, 1]. A code is the VAE's mean or
its image under f or s o f; `decode` is the way back to images, the VAE's decoder after the inverse of those maps.

The paper shows such images and measures nothing on them. Here a row has a number, the image change of a step: a
coordinate that carries no information leaves the image as it is.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gpot.errors import BadInput

INFORMATIVE_KL = 0.05  # nats: dimensions of the released VAEs have 0.34 and more, or 0.0013 and less
_ROUNDING = 1e-4  # nats: a float32 mean of KL divergences near 0 may be this far below


def traversal_codes(codes: Tensor, values: Tensor) -> Tensor:
    r"""Codes with one coordinate replaced, all others kept.

    .. math:: \mathrm{result}_{a i j l} = v_j \text{ if } l = i, \quad c_{a l} \text{ otherwise}

    The values are places, not steps away from the code: the paper's seven are linspace(-1.75, 1.75), the same for all
    coordinates.

    Arguments:
        codes: c, shape (m, d).
        values: v, shape (k,), finite; taken to the dtype and device of the codes.
    Returns: (m, d, k, d). A code that is not finite stays so.
    Raises: BadInput for other shapes or values.
    """
    if codes.ndim != 2 or codes.numel() == 0 or not codes.is_floating_point():
        raise BadInput(f"codes to traverse are a float tensor (m, d), and got {_kind(codes)}. Pass one row per image.")
    if values.ndim != 1 or values.numel() == 0 or not values.isfinite().all():
        raise BadInput(f"a traversal has finite values (k,), and got {_kind(values)}. Pass linspace(-1.75, 1.75, 7).")
    d, k = codes.shape[1], len(values)
    path = codes[:, None, None, :].repeat(1, d, k, 1)
    coordinate = torch.arange(d, device=codes.device)
    path[:, coordinate, :, coordinate] = values.to(codes)
    return path


@torch.no_grad()
def traverse(codes: Tensor, decode: Callable[[Tensor], Tensor], values: Tensor, chunk: int = 1024) -> Tensor:
    """Decoded images of :func:`traversal_codes`.

    Arguments:
        codes (m, d).
        values (k,).
        decode: (n, d) -> (n, C, S, S), pixels in [0, 1], given at most `chunk` codes at once.
    Returns: (m, d, k, C, S, S). An image with a pixel that is not finite (its code had no way back) is NaN in all
    pixels; `lost` counts them.
    Raises: BadInput for wrong shapes, or pixels outside [0, 1]: none are clipped.
    """
    if chunk < 1:
        raise BadInput(f"at least 1 code is decoded at once, and got chunk={chunk}. Leave it out for 1024.")
    path = traversal_codes(codes, values)
    images = torch.cat([_decoded(decode, part) for part in path.flatten(0, 2).split(chunk)])
    return images.unflatten(0, path.shape[:3])


def lost(images: Tensor) -> int:
    """How many of the images (..., C, S, S) have a pixel that is not finite."""
    _expect_images(images, 3, "(..., C, S, S)")
    return int((~images.isfinite()).flatten(-3).any(-1).sum())


def image_change(images: Tensor) -> Tensor:
    r"""Mean change of a pixel from one column to the next, in grey levels (0 to 1).

    .. math:: \frac{1}{k - 1} \sum_{j=1}^{k-1} \frac{1}{C S^2} \sum_{p} |I_{j+1, p} - I_{j, p}|

    The step is part of the measure: compare rows that were traversed with the same values.

    Arguments:
        images: I, shape (..., k, C, S, S), k >= 2.
    Returns: (...), float64. A step to or from an image that is not finite is left out of the mean, which is then over
    fewer steps (say how many images with `lost`); NaN where no step is left.
    Raises: BadInput for fewer dimensions or a single column.
    """
    _expect_images(images, 4, "(..., k, C, S, S)")
    if images.shape[-4] < 2:
        raise BadInput(
            f"the image change is between columns, and {tuple(images.shape)} has one. Traverse with at least 2 values."
        )
    steps = images.double().diff(dim=-4).abs().mean((-3, -2, -1))
    return torch.where(steps.isfinite(), steps, torch.nan).nanmean(-1)


def informative(kl: Tensor, threshold: float) -> Tensor:
    """Dimensions of a VAE that carry information: KL(q(z_i|x) || N(0, 1)), mean over data, above a threshold.

    Arguments:
        kl (d,) and threshold in nats.
    Returns: (d,) bool.
    Raises: BadInput for another shape, or a KL that is negative or not finite.
    """
    if kl.ndim != 1 or kl.numel() == 0:
        raise BadInput(f"one KL divergence per dimension (d,) is needed, and got {_kind(kl)}. Take its mean over data.")
    if not kl.isfinite().all() or (kl < -_ROUNDING).any():
        raise BadInput(f"KL divergences are finite and not negative, and got {kl.tolist()}. Pass nats, not logarithms.")
    return kl > threshold


def _decoded(decode: Callable[[Tensor], Tensor], codes: Tensor) -> Tensor:
    images = decode(codes)
    if images.ndim != 4 or len(images) != len(codes) or not images.is_floating_point():
        raise BadInput(
            f"decode must return float images (n, C, S, S) for codes (n, d); for {tuple(codes.shape)} it returned "
            f"{_kind(images)}. Pass the VAE's decoder after the inverse of the maps."
        )
    finite = images.isfinite().flatten(1).all(1)
    images = torch.where(finite[:, None, None, None], images, torch.nan)
    if ((images < 0) | (images > 1)).any():
        low, high = images[finite].aminmax()
        raise BadInput(
            f"decoded pixels must lie in [0, 1], and go from {low:.3g} to {high:.3g}. Decode to probabilities, "
            "not to logits."
        )
    return images


def _expect_images(images: Tensor, dimensions: int, shape: str) -> None:
    if images.ndim < dimensions or images.numel() == 0 or not images.is_floating_point():
        raise BadInput(f"images are a float tensor {shape}, and got {_kind(images)}. Pass what `traverse` returns.")


def _kind(tensor: Tensor) -> str:
    return f"shape {tuple(tensor.shape)} of {tensor.dtype}"
