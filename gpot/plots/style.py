r"""One look for all figures: sizes, colours that colour-blind eyes can follow, and the check of what is drawn.

Nothing is set at import: a figure is drawn inside `styled()`, which puts the settings back afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import matplotlib.style
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from gpot.errors import BadInput

Array = NDArray[np.float64]
Extent = tuple[float, float, float, float]  # left, right, bottom, top

WIDTH = 10.0  # inches: with the sizes below, text is readable when the figure is as wide as a page
NUMBERS = 9.0  # font size, points, of what stands below a title
INK, PALE = "#222222", "#8a8a8a"

RC: dict[str, Any] = {
    "font.size": 10.0,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.labelsize": 10.0,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "lines.linewidth": 1.6,
}

# Okabe and Ito's set, made to be told apart by all three kinds of colour-blind eyes; a line has a style of its own too
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
OURS, PAPER, PATHS, MESH = CYCLE[0], INK, CYCLE[1], "#2b4c7e"


def _part(name: str, last: float) -> Colormap:
    """The light part of a colour map, so that what is drawn over it can be seen."""
    return LinearSegmentedColormap.from_list(f"{name}_light", matplotlib.colormaps[name](np.linspace(0.0, last, 128)))


# both go from light to dark, so that they read the same without colour
DENSITY, SPEED = _part("Blues", 0.9), _part("YlOrBr", 0.65)


@contextmanager
def styled() -> Iterator[None]:
    """The settings of `RC`, and else matplotlib's defaults, inside a `with` or as a decorator `@styled()`.

    The user's own settings are back afterwards.
    """
    settings: Any = RC  # the names of settings are known to type checkers from matplotlib 3.11 on
    with matplotlib.style.context(["default", settings]):
        yield


@contextmanager
def unstyled() -> Iterator[None]:
    """Matplotlib's defaults, whatever a matplotlibrc says (`text.usetex` without LaTeX stops a drawing)."""
    with matplotlib.style.context("default"):
        yield


def expect(what: str, array: ArrayLike, shape: tuple[int | str, ...], sizes: dict[str, int] | None = None) -> Array:
    """The array in float64 if it has the shape and finite numbers.

    Arguments:
        shape: a number where a length is fixed, a letter where it is free, the same letter for the same length.
        sizes: the lengths of letters met before; those met here are added to it.
    Raises: BadInput for another shape, an empty array, or an entry that is not a finite number.
    """
    sizes = {} if sizes is None else sizes
    expected = f"({', '.join(str(length) for length in shape)}{',' if len(shape) == 1 else ''})"
    known = ", ".join(f"{s} = {sizes[s]}" for s in dict.fromkeys(shape) if isinstance(s, str) and s in sizes)
    values = np.asarray(array)
    fits = values.ndim == len(shape) and values.size > 0
    for letter, length in zip(shape, values.shape, strict=False):
        fits = fits and length == (sizes.setdefault(letter, length) if isinstance(letter, str) else letter)
    if not fits or values.dtype.kind not in "fiu":
        raise BadInput(
            f"{what}: an array of numbers of shape {expected}{' with ' + known if known else ''} is drawn; got shape "
            f"{values.shape} of {values.dtype}. Pass one of that shape."
        )
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise BadInput(
            f"{what}: finite numbers are drawn, and {bad} of {values.size} are not. Leave those out and say how many."
        )
    return values.astype(np.float64)


# OKLab (Ottosson, 2020): (lightness, green-red, blue-yellow) -> cube roots of cone responses -> linear sRGB
_TO_CONES = np.array(
    [[1.0, 0.3963377774, 0.2158037573], [1.0, -0.1055613458, -0.0638541728], [1.0, -0.0894841775, -1.2914855480]]
)
_TO_RGB = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)
# the largest disc of this tilt that sRGB holds: no colour is clipped
_LIGHTNESS, _TILT, _CHROMA = 0.68, 0.16, 0.134


def polar_colours(x: ArrayLike, radius: float | None = None) -> Array:
    r"""A colour for each place in the plane: its angle is the hue, its distance from the origin the strength.

    .. math:: (L, a, b) = (L_0 - \tau r \cos\theta, \; C r \cos\theta, \; C r \sin\theta), \qquad r = |x| / \max |x|

    in OKLab, a disc that is tilted in lightness: red is dark, green is light, yellow and blue lie between. The map is
    linear, so equal distances in the plane look about equally different, and no two places share a colour. Red-green
    blind eyes see lightness and blue-yellow alone, which are (-cos, sin) of the angle: they too see all of the plane.
    The origin is grey.

    Arguments:
        x (n, 2).
        radius: the distance of full strength in place of max |x|; a point beyond it has the colour of its angle at that
            distance (for a Gaussian, whose farthest point is far from all others, 2.5 shows more).
    Returns: (n, 3), sRGB in [0, 1].  Raises: BadInput for another shape, or a radius that is not above 0.
    Departure: the paper's wheel is HSV at value 0.8, whose red and green one man in twelve can hardly tell apart.
    """
    x = expect("polar_colours", x, ("n", 2))
    if radius is not None and not 0.0 < radius < np.inf:
        raise BadInput(f"polar_colours: a radius above 0 gives full strength; got {radius}. Leave it out for max |x|.")
    distance = np.hypot(*x.T)
    full = np.maximum(distance, radius) if radius is not None else distance.max()
    p, q = x.T / np.where(full > 0.0, full, 1.0)
    lab = np.stack((_LIGHTNESS - _TILT * p, _CHROMA * p, _CHROMA * q), axis=-1)
    linear = (lab @ _TO_CONES.T) ** 3 @ _TO_RGB.T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055)


def frame_map(ax: Axes, extent: Extent) -> None:
    """The same look for all maps of the plane: equal units, exact limits, few ticks."""
    ax.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    for axis, low, high in ((ax.xaxis, *extent[:2]), (ax.yaxis, *extent[2:])):
        edge = 0.08 * (high - low)  # none at the ends: there the numbers of neighbours would meet
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(low, high)
        axis.set_ticks([tick for tick in ticks if low + edge <= tick <= high - edge])


def open_frame(ax: Axes) -> None:
    """Two axes in place of a box, for curves and bars."""
    ax.spines[["top", "right"]].set_visible(False)


def share_numbers(axes: NDArray[Any]) -> None:
    """Numbers on an axis once where neighbours share it."""
    for row in axes:
        for ax in row[1:]:
            ax.tick_params(labelleft=ax.get_ylim() != row[0].get_ylim())


def name_rows(axes: NDArray[Any], *names: str) -> None:
    """A name to the left of each row."""
    for ax, name in zip(axes[:, 0], names, strict=True):
        ax.set_ylabel(name)
        ax.yaxis.set_label_coords(-0.15, 0.5)  # one line of labels, whatever the width of the numbers


def title(ax: Axes, name: str, numbers: Sequence[str]) -> None:
    """The name in bold, its numbers below it."""
    ax.set_title(name, pad=8.0 + 1.3 * NUMBERS * len(numbers))
    ax.annotate("\n".join(numbers), (0.5, 1.0), (0.0, 4.0), xycoords="axes fraction", textcoords="offset points",
                ha="center", va="bottom", fontsize=NUMBERS)  # fmt: skip
