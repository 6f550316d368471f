"""Arrays and pictures as text: what the page carries inside itself, in base64."""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from gpot.errors import BadInput

log = logging.getLogger(__name__)

GAP = -32768  # the integer that stands for a number that is not finite
_LARGEST = 32767
_WIDTHS = (1600, 1300, 1000, 800, 640)  # pixels: the widest at which all pictures fit is taken
_PAPER = (255, 255, 255)


@dataclass(frozen=True)
class Embedded:
    """A picture inside the page: its data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


def pack(array: ArrayLike) -> dict[str, Any]:
    r"""An array as 16-bit integers, in the form that the page's script unpacks.

    .. math:: q = \mathrm{round}(32767\, a / \max |a|), \qquad \text{error} \le \max|a| / 65534

    so a place within 4 of the origin is off by 6e-5, far below a pixel. What is not finite is `GAP`.
    Returns: `shape`, `scale` (max |a|) and `data` (little-endian, base64).
    """
    values = np.asarray(array, dtype=np.float64)
    finite = np.isfinite(values)
    scale = float(np.abs(values[finite]).max(initial=0.0)) or 1.0
    whole = np.full(values.shape, GAP, dtype="<i2")
    whole[finite] = np.round(values[finite] / scale * _LARGEST)
    return {"shape": list(values.shape), "scale": scale, "data": _text(whole.tobytes())}


def unpack(packed: Mapping[str, Any]) -> NDArray[np.float64]:
    """The array of :func:`pack`, as the page sees it."""
    whole = np.frombuffer(base64.b64decode(packed["data"]), dtype="<i2").reshape(packed["shape"])
    return np.where(whole == GAP, np.nan, whole * (packed["scale"] / _LARGEST))


def pack_bytes(array: NDArray[np.uint8]) -> str:
    """Bytes, such as colours (n, 3), in base64."""
    return _text(np.ascontiguousarray(array, dtype=np.uint8).tobytes())


def data_uri(kind: str, content: bytes) -> str:
    """`data:<kind>;base64,...`"""
    return f"data:{kind};base64,{_text(content)}"


def embed_pictures(paths: Mapping[str, Path], at_most: int) -> dict[str, Embedded]:
    """PNG files inside the page: name -> picture.

    All are made narrower by the same steps until they fit together, so that their text stays of one size.
    Arguments:
        paths: name -> file.
        at_most: bytes of all data URIs.
    Raises: BadInput where they do not fit at the narrowest.
    """
    for width in _WIDTHS:
        pictures = {name: _picture(path, width) for name, path in paths.items()}
        if sum(len(picture.uri) for picture in pictures.values()) <= at_most:
            if width < _WIDTHS[0]:
                log.info("pictures are at most %d pixels wide, to fit %.1f MB", width, at_most / 1e6)
            return pictures
    raise BadInput(
        f"{len(paths)} pictures were to fit {at_most / 1e6:.1f} MB, and at {_WIDTHS[-1]} pixels of width they do not. "
        "Take some out of the report folder."
    )


def embed_animation(path: Path) -> Embedded:
    """A GIF inside the page, as it is."""
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        return Embedded(data_uri("image/gif", content), *image.size)


def png(pixels: NDArray[np.uint8]) -> Embedded:
    """An image (h, w), grey, or (h, w, 3), colour, inside the page."""
    out = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(out, "PNG", optimize=True)
    return Embedded(data_uri("image/png", out.getvalue()), *image.size)


def _picture(path: Path, width: int) -> Embedded:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        size = image.size
        flat = Image.new("RGB", size, _PAPER)
        rgba = image.convert("RGBA")
        flat.paste(rgba, mask=rgba.getchannel("A"))
    if size[0] > width:
        flat = flat.resize((width, round(size[1] * width / size[0])), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    flat.save(out, "PNG", optimize=True)
    smallest = content if flat.size == size and len(content) <= out.tell() else out.getvalue()
    return Embedded(data_uri("image/png", smallest), *flat.size)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
