"""From YAML and overrides to a checked, typed `Config`, with or without `hydra.main`."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, cast

import hydra
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from gpot.config.checks import check, rules_of
from gpot.config.schema import Config, register
from gpot.errors import BadConfig
from gpot.places import CONFIGS

# Keys that the group `gp` had once, and what is typed now
FORMER = {name: f"Type gp={name}, and its settings as gp.family.*." for name in ("mlp", "ridge", "spectral", "twist")}
FORMER["velocity"] = "The option of the group says the family: type gp=mlp or gp=ridge."


def to_config(tree: DictConfig, root: str | None, typed: Sequence[str] = ()) -> Config:
    """Typed object of a composed tree, after the rules of `checks`. Raises: BadConfig, or OmegaConf's own errors.

    root: what is asked for, whose data must be enough; None for nothing. typed: the overrides that the tree was
    composed with.
    """
    config = cast(Config, OmegaConf.to_object(tree))
    config.typed = list(typed)
    refuse_added_keys(config)
    read_paths(vars(config))
    if config.pretrained is not None:
        if not config.pretrained.strip():
            raise BadConfig(
                "pretrained was to be a folder of released models, and is empty. Type pretrained=null to train from "
                "nothing, or pretrained=PATH."
            )
        config.pretrained = os.path.expanduser(config.pretrained)
    check(config, rules_of(root))
    return config


def read_paths(groups: Mapping[str, Any]) -> None:
    """`~` is the home folder in every path of these groups. Raises: BadConfig for an empty one."""
    for group in ("paths", "dataset", "flow", "vae"):
        options = {} if groups[group] is None else vars(groups[group])
        for name, value in options.items():
            if isinstance(value, str) and (group == "paths" or name in ("path", "weights")):
                if not value.strip():
                    raise BadConfig(f"{group}.{name} was to be a path, and is empty. Type {group}.{name}=PATH.")
                options[name] = os.path.expanduser(value)


def refuse_added_keys(node: Any, path: str = "") -> None:
    """Raises BadConfig for a key that no group has: Hydra lets `+penalty.wieght=1` pass, and nothing would read it."""
    if isinstance(node, dict):
        for name, child in node.items():
            refuse_added_keys(child, f"{path}{name}.")
    elif dataclasses.is_dataclass(node):
        keys = [f.name for f in dataclasses.fields(node)]
        for name, child in vars(node).items():
            if name not in keys:
                raise BadConfig(f"an option must be one that gpot reads; found {path}{name}. {known_keys(name, keys)}")
            refuse_added_keys(child, f"{path}{name}.")


def known_keys(name: str, keys: Sequence[str]) -> str:
    """The sentence that follows an unknown key: those that exist, and the nearest one."""
    near = difflib.get_close_matches(name, keys, n=1)
    meant = FORMER.get(name) if "family" in keys else None
    meant = meant or (f"Did you mean '{near[0]}'?" if near else "")
    return f"The keys of this group are: {', '.join(keys)}. {meant}".rstrip()


def sibling(
    config: Config, experiment: str, untyped: Collection[str] = (), for_settings: bool = False, **groups: str
) -> Config:
    """The report config of another experiment, with everything else as typed for this one.

    Arguments:
        untyped: groups of which nothing that was typed is kept.
        for_settings: nothing is made of it, so it may ask for more data than there is.
        groups: other options of these, as they stand in their files.
    """
    changed = {"experiment": experiment} | groups
    left_out = {*changed, *untyped}
    kept = [override for override in config.typed if re.split(r"[=.]", override.lstrip("+"))[0] not in left_out]
    overrides = [*kept, *(f"{group}={option}" for group, option in changed.items())]
    return compose("report", overrides, for_settings)


def compose(root: str, overrides: Sequence[str] = (), for_settings: bool = False) -> Config:
    """Config of a root (`train_gp`, `report`, ...) under overrides as typed on the command line.

    for_settings: it is looked at, and nothing made of it, so the data need not be enough.

    >>> compose("train_gp", ["penalty=euler_latent"]).penalty.halvings
    5
    """
    register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        tree = hydra.compose(config_name=root, overrides=list(overrides))
    return to_config(tree, None if for_settings else root, overrides)
