"""What rules are about besides the groups of a config: those of all rows of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpot.config.schema import GpConfig, PenaltyConfig, ReportConfig

Gps = Mapping[str, GpConfig]  # by the name that an override would have


def subjects(gp: GpConfig, penalty: PenaltyConfig, report: ReportConfig) -> dict[str, Any]:
    """Arguments of rules that are of the run and of all rows of a report:

    - `gps`: the GP flows, and `penalties`: the penalties, by the name that an override would have;
    - `runs`: (GP flow, penalty) of those that are trained, by what stands before the names of their groups.
    """
    variants = {f"report.variants.{name}": variant for name, variant in report.variants.items()}
    rows = {f"{name}.": v for name, v in variants.items() if v.flow is None}
    return {
        "gps": {"gp": gp} | {f"{name}.gp": v.gp for name, v in variants.items() if v.gp},
        "penalties": {"penalty": penalty} | {f"{name}.penalty": v.penalty for name, v in variants.items() if v.penalty},
        "runs": {"": (gp, penalty)} | {name: (v.gp or gp, v.penalty or penalty) for name, v in rows.items()},
    }
