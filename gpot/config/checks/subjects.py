"""What rules are about: the groups of a config by their names, and those of all rows of a report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpot.config.schema import Config, GpConfig

Gps = Mapping[str, GpConfig]  # by the name that an override would have


def subjects(config: Config) -> dict[str, Any]:
    """Arguments of rules: each group of the config, and of the run and the report's rows

    - `gps`: the GP flows, and `penalties`: the penalties, by the name that an override would have;
    - `runs`: (GP flow, penalty) of those that are trained, by what stands before the names of their groups.
    """
    variants = {f"report.variants.{name}": variant for name, variant in config.report.variants.items()}
    rows = {f"{name}.": v for name, v in variants.items() if v.flow is None}
    return {
        **vars(config),
        "gps": {"gp": config.gp} | {f"{name}.gp": v.gp for name, v in variants.items() if v.gp},
        "penalties": {"penalty": config.penalty}
        | {f"{name}.penalty": v.penalty for name, v in variants.items() if v.penalty},
        "runs": {"": (config.gp, config.penalty)}
        | {name: (v.gp or config.gp, v.penalty or config.penalty) for name, v in rows.items()},
    }
