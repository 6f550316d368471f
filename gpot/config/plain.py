"""Settings as plain dicts and strings, for keys, manifests and loggers."""

from __future__ import annotations

import dataclasses
from enum import Enum
from typing import Any

from gpot.config.schema import OptimizerConfig, VaeConfig


def plain(value: Any) -> Any:
    """Dataclasses and enums as dicts and strings, for keys and manifests."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def adam_settings(optimizer: OptimizerConfig) -> dict[str, Any]:
    """An optimizer's settings; the points of its schedule, (step, factor), only where it has some."""
    points = {"points": [list(point) for point in optimizer.points.items()]} if optimizer.points else {}
    return without(optimizer, "points") | points


def vae_settings(vae: VaeConfig) -> dict[str, Any]:
    """A trained VAE's settings; the points of its ceiling, (step, weight), only where it has some."""
    ceiling = {"ceiling": [list(point) for point in vae.ceiling.items()]} if vae.ceiling else {}
    return without(vae, "weights", "ceiling") | ceiling


def without(value: Any, *names: str) -> dict[str, Any]:
    """A config group as a dict, less the named keys (those that say how or where, not what)."""
    return {key: item for key, item in plain(value).items() if key not in names}
