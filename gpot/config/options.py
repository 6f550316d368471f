"""Options of config groups that have no file of their own: what is said once, for many datasets."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from gpot.data.toy import DENSITIES
from gpot.places import CONFIGS

# Datasets that are sized and trained as another is, where a folder of `scale` or `frozen` has no file of theirs
LIKE = {name: "toy" for name in (*DENSITIES, "array")} | {name: "mnist" for name in ("chairs", "celeba", "latents")}
DATASETS = (*LIKE, "dsprites", "mnist", "toy")


def options_of(group: str) -> list[str]:
    """The options of a group that a user may choose: its files, and what is registered for it. None for no group."""
    names = {path.stem for path in (CONFIGS / group).glob("*.yaml")}
    if names:
        names |= {name.removesuffix(".yaml") for name in ConfigStore.instance().repo.get(group, {})}
    return sorted(name for name in names if not name.startswith("base"))


def register_options() -> None:
    """Make known to Hydra: each density of :mod:`gpot.data.toy` as a dataset, `dataset=rings`; each dataset in each
    folder of `scale`, as the one that it is like; and in each folder of `frozen`, or else as in `frozen/ours`."""
    store = ConfigStore.instance()
    for name in DENSITIES:
        density = {"defaults": ["toy", "_self_"], "dataset": {"name": name}}
        store.store(group="dataset", name=name, node=density, package="_global_")
    for folder in (path for group in ("scale", "frozen") for path in sorted((CONFIGS / group).iterdir())):
        group = f"{folder.parent.name}/{folder.name}"
        there = {path.stem for path in folder.glob("*.yaml")}
        for name in set(DATASETS) - there:
            like = LIKE.get(name)
            same = f"/{group}/{like}" if like in there else f"/frozen/ours/{name}"
            store.store(group=group, name=name, node={"defaults": [same]}, package="_global_")
