"""The rows of a result: the maps from data to codes that tables and figures compare."""

from __future__ import annotations

from enum import Enum

from gpot.errors import BadInput

FLOWS = {"ffjord": "FFJORD", "bnaf": "BNAF", "cpflow": "CP-Flow"}


class Row(str, Enum):
    """A map from data to codes. pattern: how it is printed, `{flow}` for the name of the flow.

    CP-Flow has a row of its own beside another flow; measured, it is the `flow` of its own config.
    """

    pattern: str

    def __new__(cls, key: str, pattern: str = "") -> Row:
        row = str.__new__(cls, key)
        row._value_ = key
        row.pattern = pattern
        return row

    latent = "latent", "Initial latent space"
    flow = "flow", "{flow}"
    rotation = "flow+rotation", "{flow}+rotation"
    gp = "flow+gp", "{flow}+GP"
    gp_euler = "flow+gp+euler", "{flow}+GP+Euler"
    gp_kinetic = "flow+gp+kinetic", "{flow}+GP+kinetic"
    gp_spectral = "flow+gp+spectral", "{flow}+GP+spectral"
    cpflow = "cpflow", "CP-Flow"

    def __str__(self) -> str:
        return str(self.value)

    @property
    def moves(self) -> bool:
        """Whether a trained GP flow is part of the row."""
        return self.value.startswith("flow+gp")


ROWS: tuple[str, ...] = tuple(row.value for row in Row)


def base_row(key: str) -> str:
    """Key of a row without its variant: `flow+gp:ridge` -> `flow+gp`.  Raises: BadInput for one that is no `Row`."""
    base = key.partition(":")[0]
    if base not in ROWS:
        raise BadInput(
            f"A result's row must be one of {', '.join(ROWS)}, with a variant after a colon if need be "
            f"(flow+gp:ridge); got '{key}'."
        )
    return base


def row_name(key: str, flow: str | None = None) -> str:
    """Printed name of a row.

    Arguments:
        key: of a `Row`, with or without a variant.
        flow: key of the flow (`ffjord`, `bnaf`, or any other, which is then printed as it is); None prints 'Flow'.

    >>> row_name("flow+gp+euler", "ffjord"), row_name("flow+gp:ridge", "bnaf"), row_name("latent")
    ('FFJORD+GP+Euler', 'BNAF+GP (ridge)', 'Initial latent space')
    """
    name = Row(base_row(key)).pattern.format(flow="Flow" if flow is None else FLOWS.get(flow, flow))
    variant = key.partition(":")[2]
    return f"{name} ({variant})" if variant else name
