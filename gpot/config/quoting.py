"""What to type for a value that Hydra's grammar of overrides does not take as it is."""

from __future__ import annotations

import re

from hydra.errors import OverrideParseException

_PLAIN = re.compile(r"[\w./:+-]*")


def quoted(override: str) -> str:
    """The override as it is typed in a shell, its value quoted for Hydra and the whole for the shell.

    >>> print(quoted("dataset.path=~/my points.npy"))
    'dataset.path="~/my points.npy"'
    >>> print(quoted("seed=1"))
    seed=1
    """
    name, equals, value = override.partition("=")
    if not equals or (_PLAIN.fullmatch(value) and value.isascii()):
        return override
    inside = value.replace("\\", "\\\\").replace('"', '\\"')
    return "'" + f'{name}="{inside}"'.replace("'", "'\\''") + "'"


def advice(error: OverrideParseException) -> str:
    """One sentence for an override that cannot be read."""
    if re.fullmatch(r"\+{0,2}[\w.@/]+", error.override or ""):
        return f"The option {error.override} has no value. Type {error.override}=VALUE."
    return (
        f"The option {error.override} cannot be read: a value with blanks, =, ~, commas, brackets, quotes or accents "
        f"is quoted twice, for Hydra and for the shell. If it is one value, type {quoted(error.override)}."
    )
