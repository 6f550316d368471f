"""Small charts as SVG text, in the colours of the page's scheme: curves of a training, a histogram of errors."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

_WIDTH, _HEIGHT = 320, 178  # units of the drawing; at 320 pixels of width text has its nominal size
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 16, 10, 34
_PER_DECADE = 4  # bins of a histogram over a factor of ten
_DECADES = 3  # at least, so that a narrow distribution is not drawn as a wide one


def curves(lines: Sequence[tuple[str, Mapping[int, float | None]]], description: str) -> str:
    """Curves over a common index, the epochs 1, 2, ...; an index that is left out is passed over, None is a gap.

    Arguments:
        lines: (name, index -> value) each; the first is drawn strongest.
        description: for readers who see no picture. The scale shows all values from the second entry on: the first
            epochs of a training are often off every scale, and are then drawn as far as the frame.
    """
    visible = [v for _, values in lines for v in list(values.values())[min(1, len(values) - 1) :] if v is not None]
    length = max(max(values) for _, values in lines)
    low, high = (min(visible), max(visible)) if visible else (0.0, 1.0)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    low, high = low - pad, high + pad
    parts = [*_frame("epoch"), *_y_ticks(_nice(low, high, 4), low, high)]
    for at in _whole_ticks(length):
        x = _x(at - 1, 0, max(1, length - 1))
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">{at}</text>')
    for number, (_, values) in enumerate(lines):
        path, pen = [], "M"
        for at, value in values.items():
            if value is None:
                pen = "M"
                continue
            y = min(max(_y(value, low, high), _TOP - 4.0), _HEIGHT - _BOTTOM + 0.0)
            path.append(f"{pen}{_x(at - 1, 0, max(1, length - 1)):.1f} {y:.1f}")
            pen = "L"
        parts.append(f'<path class="line s{number}" d="{" ".join(path)}"/>')
    return _svg(parts, description)


def histogram(errors: ArrayLike, description: str) -> str:
    """How many of the errors (n,) lie in each part of a decade. Zeros, which have no logarithm, are in a bar of their
    own at the left edge; the caption should say how many there are."""
    values = np.abs(np.asarray(errors, dtype=np.float64))
    zeros = int((values == 0.0).sum())
    logs = np.log10(values[values > 0.0])
    last = math.ceil(logs.max() + 1e-12) if len(logs) else 0
    first = min(math.floor(logs.min()), last - _DECADES) if len(logs) else -_DECADES
    edges = np.linspace(first, last, (last - first) * _PER_DECADE + 1)
    counts = np.histogram(logs, edges)[0]
    step = edges[1] - edges[0]
    bars = [(first - step, first, zeros), *zip(edges[:-1], edges[1:], counts, strict=True)]
    low, high, most = first - step, float(last), max(1, zeros, int(counts.max(initial=0)))
    parts = [*_frame("|exact − analytic| log-det, nats"), *_y_ticks(_nice(0, most, 3), 0, most)]
    for left, right, count in bars:
        if count:
            x, y = _x(left, low, high), _y(count, 0, most)
            wide = _x(right, low, high) - x - 1.0
            kind = "bar zero" if right == first else "bar"
            parts.append(
                f'<rect class="{kind}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
                f'height="{_HEIGHT - _BOTTOM - y:.1f}"/>'
            )
    every = max(1, math.ceil((last - first) / 6))
    for power in range(last, first - 1, -every):
        x = _x(power, low, high)
        parts.append(
            f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 14}" text-anchor="middle">10'
            f'<tspan dy="-4" class="power">{str(power).replace("-", "−")}</tspan></text>'
        )
    return _svg(parts, description)


def _svg(parts: Iterable[str], description: str) -> str:
    label = escape(description, quote=True)
    return f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _frame(x_label: str) -> list[str]:
    bottom = _HEIGHT - _BOTTOM
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [
        f'<path class="axis" d="M{_LEFT} {_TOP} V{bottom} H{_WIDTH - _RIGHT}"/>',
        f'<text x="{middle}" y="{_HEIGHT - 4}" text-anchor="middle">{escape(x_label)}</text>',
    ]


def _y_ticks(ticks: Sequence[float], low: float, high: float) -> list[str]:
    parts = []
    for tick in ticks:
        y = _y(tick, low, high)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f} H{_WIDTH - _RIGHT}"/>')
        text = f"{tick:.6g}".replace("-", "−")
        parts.append(f'<text x="{_LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{text}</text>')
    return parts


def _x(value: float, low: float, high: float) -> float:
    return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _nice(low: float, high: float, about: int) -> list[float]:
    """Round numbers between two ends, about as many as asked for."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1.0, 2.0, 5.0, 10.0) if raw <= m * power * (1 + 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]


def _whole_ticks(length: int) -> list[int]:
    """First, last and whole numbers between, for an index from 1."""
    if length <= 1:
        return [1]
    inner = [int(t) for t in _nice(1, length, 4) if t == int(t) and 1 < t < length]
    return [1, *(t for t in inner if min(t - 1, length - t) > 0.12 * length), length]
