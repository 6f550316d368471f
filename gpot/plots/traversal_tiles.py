"""What the picture and the animation of latent traversals share: checked images, and their tiles.

Images have C channels and S x S pixels in [0, 1]. Those of one channel are drawn as ink on white (1 - pixel), as the
paper does; colour images as they are. An image that is not finite is drawn as a crossed-out tile.

Departure: the paper's white gaps between white images hide where an image ends, and with it where a shape stands in it;
here gaps are pale grey.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput
from gpot.plots.style import expect

PAD = 2  # pixels between images
_GAP = 0.88  # grey level between images
_LOST, _CROSS = 0.97, 0.55  # grey levels of an image that is not finite


def as_rgb(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(..., C, S, S) -> (..., S, S, 3): ink on white for one channel, lost images crossed out."""
    if images.shape[-3] == 1:
        images = np.repeat(1.0 - images, 3, axis=-3)
    lost = np.isnan(images).any(axis=(-3, -2, -1), keepdims=True)
    across = np.eye(images.shape[-1], dtype=bool)
    tile = np.where(across | across[::-1], np.float32(_CROSS), np.float32(_LOST))
    return np.moveaxis(np.where(lost, tile, images), -3, -1)


def tiled(images: NDArray[np.float32]) -> NDArray[np.float32]:
    """(r, c, S, S, 3) -> one picture of r rows and c columns, with gaps between and around."""
    after = ((0, 0), (0, 0), (PAD, 0), (PAD, 0), (0, 0))
    padded = np.pad(images, after, constant_values=_GAP).swapaxes(1, 2)
    joined = padded.reshape(padded.shape[0] * padded.shape[1], -1, 3)
    return np.pad(joined, ((0, PAD), (0, PAD), (0, 0)), constant_values=_GAP)


def row_middles(number: int, side: int) -> NDArray[np.float64]:
    """Where the middles of images stand in a tiled picture, in pixels."""
    return (side - 1) / 2 + PAD + (side + PAD) * np.arange(number, dtype=np.float64)


def coordinate(value: float) -> str:
    """A value of a coordinate; what rounds to 0 has no sign."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def checked_images(
    name: str, images: ArrayLike, shape: tuple[int | str, ...], sizes: dict[str, int]
) -> NDArray[np.float32]:
    """Images as float32, NaN in all pixels where one is not finite. Raises: BadInput, see `expect`, or for pixels."""
    values = np.asarray(images)
    finite = np.isfinite(values) if values.dtype.kind == "f" else np.ones(1, dtype=bool)
    pixels = expect(f"'{name}', images", np.where(finite, values, 0.0), shape, sizes).astype(np.float32)
    if sizes["C"] not in (1, 3):
        raise BadInput(
            f"'{name}': images have 1 or 3 channels; got {sizes['C']}. Axes are {', '.join(map(str, shape))}."
        )
    if pixels.min() < 0.0 or pixels.max() > 1.0:
        raise BadInput(
            f"'{name}': pixels lie in [0, 1]; got {pixels.min():.3g} to {pixels.max():.3g}. Divide grey levels by 255."
        )
    pixels[~np.broadcast_to(finite, pixels.shape).all(axis=(-3, -2, -1))] = np.nan
    return pixels


def expect_names(what: str, panels: Mapping[str, ArrayLike], most: int | None = None) -> None:
    if not panels or (most is not None and len(panels) > most):
        raise BadInput(
            f"{what}: {'at least 1' if most is None else f'1 to {most}'} latent spaces are drawn; got {len(panels)}. "
            "Draw others in a figure of their own."
        )
