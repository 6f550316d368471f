"""Numbers as the page sets them."""

from __future__ import annotations

import re
from decimal import Decimal

MINUS = "−"
_SMALL_EXPONENT = 3
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(ratio: float, sign: bool = True) -> str:
    """0.031 -> `+3.1%`: two digits, or whole above ten; nothing but `0` for none."""
    value = 100 * ratio
    if value == 0:
        return "0"
    spec = ("+" if sign else "") + (".0f" if abs(value) >= 10 else ".1f")
    return minus(format(value, spec)) + "%"


def duration(seconds: float) -> str:
    """`48 s`, `12.5 min`, `3.2 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def minus(text: str) -> str:
    """Numbers as they are set: a minus sign for a hyphen, a power of ten for an exponent that is not small.

    >>> minus("-17.52"), minus("2.8e-06 to 1e-2")
    ('−17.52', '2.8×10⁻⁶ to 0.01')
    """
    return re.sub(r"(?<![\w)])-(?=[\d.])", MINUS, re.sub(r"\b(\d[\d.]*)e([+-]?\d+)\b", _power, text))


def _power(match: re.Match[str]) -> str:
    exponent = int(match[2])
    if abs(exponent) <= _SMALL_EXPONENT:
        return format(Decimal(match[0]), "f")
    return f"{match[1]}×10{str(exponent).translate(_RAISED)}"
