"""From YAML and overrides to a checked, typed `Config`, with or without `hydra.main`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from gpot.config.checks import check
from gpot.config.schema import Config, register

CONFIGS = Path(__file__).resolve().parents[2] / "configs"


def to_config(tree: DictConfig) -> Config:
    """Typed object of a composed tree, after the rules of `checks`. Raises: BadConfig, or OmegaConf's own errors."""
    config = cast(Config, OmegaConf.to_object(tree))
    check(config)
    return config


def compose(root: str, overrides: Sequence[str] = ()) -> Config:
    """Config of a root (`train_gp`, `report`, ...) under overrides as typed on the command line.

    >>> compose("train_gp", ["penalty=euler_latent"]).penalty.halvings
    5
    """
    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        return to_config(hydra.compose(config_name=root, overrides=list(overrides)))
