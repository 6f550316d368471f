"""Rules between groups, one small function each: what was asked, what was found, what to type next.

The parameters of a rule are the groups that it is about, or what `gpot.config.checks.subjects` names. A new rule is a
function in the module of its subject, and an entry of `RULES`, or of `DATA_RULES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from gpot.config.checks import models, points, running, sizes
from gpot.config.checks.subjects import subjects
from gpot.config.schema import Config

RULES: tuple[Callable[..., None], ...] = (
    models.dimensions_agree,
    models.families_fit,
    models.penalty_has_a_path,
    models.prior_samples_available,
    models.blocks_fit,
    running.device_known,
    sizes.seeds_in_range,
    sizes.seeds_differ,
    sizes.sizes_positive,
    sizes.rates_not_negative,
    sizes.tolerances_reachable,
    sizes.schedules_complete,
    sizes.ceiling_rises,
    sizes.batches_fit,
    sizes.certificate_fits,
    sizes.grid_refinable,
    sizes.grid_shiftable,
    sizes.split_fits,
    models.penalty_consistent,
    models.cost_defined,
    running.logger_fits,
    running.device_present,
    running.processes_fit,
    running.jobs_fit,
)

_FLOW: tuple[Callable[..., None], ...] = (points.enough_points,)
_MEASURED: tuple[Callable[..., None], ...] = (*_FLOW, points.enough_held_out, points.optimum_fits)
# Rules of how much data there is, by what is asked for: a VAE needs less than a flow, a flow less than a report
DATA_RULES: dict[str, tuple[Callable[..., None], ...]] = {
    "train_flow": _FLOW, "train_gp": _FLOW, "evaluate": _MEASURED, "report": _MEASURED, "search": _MEASURED,
}  # fmt: skip


def rules_of(root: str | None) -> tuple[Callable[..., None], ...]:
    """Rules of a config that a root is made of. None: it is looked at and nothing made of it, so that no rule of how
    much data there is applies."""
    if root is None:
        return tuple(rule for rule in RULES if rule is not sizes.split_fits)
    return (*RULES, *DATA_RULES.get(root, ()))


def check(config: Config, rules: Sequence[Callable[..., None]] = RULES) -> None:
    """Apply rules, all by default. Raises: BadConfig for the first that fails."""
    known = vars(config) | subjects(config.gp, config.penalty, config.report)
    for rule in rules:
        rule(**{name: known[name] for name in inspect.signature(rule).parameters})
