"""Weights of released models: a safetensors file with names of its own, into one of our modules."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from gpot.errors import BadInput, DataMissing

# names of wrappers, ours or others', that say nothing about the network
WRAPPERS = ("module.", "_orig_mod.")  # of DataParallel, DDP and torch.compile
PREFIXES = ("model.", "flow.", *WRAPPERS)
COUNTERS = ("_num_evals",)  # buffers that count calls; a run changes them, so they are neither needed nor loaded


def without_wrapper(_module: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    """Before a state dict is loaded, as a hook: the names of a wrapped module are those of the module."""
    for wrapper in WRAPPERS:
        if not prefix and state and all(name.startswith(wrapper) for name in state):
            for name in list(state):
                state[name.removeprefix(wrapper)] = state.pop(name)


def check_file(path: str | Path) -> Path:
    """The path of a file that is there. Raises DataMissing."""
    path = Path(path)
    if not path.is_file():
        raise DataMissing(f"weights are to be read from '{path}', and there is no such file. Check the path.")
    return path


def load_released(module: nn.Module, path: str | Path) -> None:
    """Copies every tensor of a safetensors file into a module: see `copy_released`.

    Raises BadInput where it is another file, and DataMissing where there is none.
    """
    path = check_file(path)
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise BadInput(
            f"'{path}' is not a safetensors file ({error}). Convert a state dict with safetensors.torch.save_file."
        ) from error
    copy_released(module, tensors, path)


def copy_released(module: nn.Module, tensors: Mapping[str, Tensor], path: str | Path) -> None:
    """Copies every tensor of a state dict into the parameter or buffer of the same name, or changes nothing.

    Prefixes shared by all names (`PREFIXES`) count neither in the state dict nor in the module; counters are left
    out. Values take the module's dtype and device. path: where the tensors are from, for errors.
    Raises BadInput with the names that are missing, unexpected, of another shape or kind, or not finite.
    """
    source = _strip(tensors)
    target = _strip(module.state_dict(keep_vars=True))
    common = sorted(target.keys() & source.keys())
    shapes = [(name, tuple(source[name].shape), tuple(target[name].shape)) for name in common]
    problems = {
        "missing": sorted(target.keys() - source.keys()),
        "unexpected": sorted(source.keys() - target.keys()),
        "of another shape": [f"{name} {has} instead of {needs}" for name, has, needs in shapes if has != needs],
        "of another kind": [
            f"{name} {source[name].dtype} instead of {target[name].dtype}"
            for name in common
            if source[name].is_floating_point() is not target[name].is_floating_point()
        ],
        "not finite": [name for name in common if not source[name].isfinite().all()],
    }
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in problems.items() if names)
        raise BadInput(
            f"'{path}' needs the {len(target)} tensors of {type(module).__name__}; it has {len(source)}. {listed}. "
            "Build the module with the dimension, widths and number of blocks of the saved model, or give its own file."
        )
    with torch.no_grad():
        for name in common:
            target[name].copy_(source[name])


def _strip(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without counters, and without the prefixes that all their names share."""
    kept = {name: tensor for name, tensor in tensors.items() if name.rpartition(".")[2] not in COUNTERS}
    while kept and (shared := [prefix for prefix in PREFIXES if all(name.startswith(prefix) for name in kept)]):
        kept = {name.removeprefix(shared[0]): tensor for name, tensor in kept.items()}
    return kept
