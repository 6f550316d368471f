"""Rules between groups, one small function each: what was asked, what was found, what to type next.

The parameters of a rule are the groups that it is about, or what `gpot.config.checks.subjects` names. A new rule is a
function in the module of its subject, and an entry of `RULES`.
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
    sizes.batches_fit,
    sizes.certificate_fits,
    sizes.grid_refinable,
    sizes.split_fits,
    points.enough_points,
    points.optimum_fits,
    models.penalty_consistent,
    running.logger_fits,
    running.device_present,
    running.processes_fit,
)


def check(config: Config, rules: Sequence[Callable[..., None]] = RULES) -> None:
    """Apply rules, all by default. Raises: BadConfig for the first that fails."""
    known = vars(config) | subjects(config.gp, config.penalty, config.report)
    for rule in rules:
        rule(**{name: known[name] for name in inspect.signature(rule).parameters})
