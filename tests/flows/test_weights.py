"""Loading of released weights: prefixes, counters, and errors that name what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gpot.errors import BadInput, DataMissing
from gpot.flows import FFJORDFlow, FrozenFlow, load_released
from tests.conftest import shared_path
from third_party.btcvae import BetaTCVAE
from third_party.ffjord import FFJORD


def small() -> FFJORD:
    return FFJORD(2, (3,), 1)


def stored(folder: Path, state: dict[str, Tensor]) -> Path:
    path = folder / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


def test_released_ffjord_loads() -> None:
    path = shared_path("reference/weights/gpflow_dsprites_ffjord.safetensors")
    flow, found = FFJORD(10).double(), load_file(path)
    load_released(flow, path)
    ours = flow.state_dict()
    assert {f"model.{name}" for name in ours} == set(found)
    for name, tensor in ours.items():
        if not name.endswith("_num_evals"):
            assert tensor.dtype == torch.float64 and torch.equal(tensor, found[f"model.{name}"].double())


def test_released_btcvae_loads() -> None:
    path = shared_path("reference/weights/disentangling_vae_btcvae_dsprites.safetensors")
    vae, found = BetaTCVAE(), load_file(path)
    load_released(vae, path)
    assert all(torch.equal(tensor, found[name]) for name, tensor in vae.state_dict().items())


@pytest.mark.parametrize("prefix", ["", "model.", "flow.", "flow.model.", "module.", "_orig_mod.model."])
@pytest.mark.parametrize("wrap", [lambda f: f, FFJORDFlow, lambda f: FrozenFlow(FFJORDFlow(f))])
def test_prefixes_do_not_count(tmp_path: Path, prefix: str, wrap: type) -> None:
    saved, target = small(), small()
    path = stored(tmp_path, {prefix + name: tensor for name, tensor in saved.state_dict().items()})
    load_released(wrap(target), path)
    assert all(torch.equal(a, b) for a, b in zip(saved.parameters(), target.parameters(), strict=True))


def test_a_prefix_that_only_some_names_have_counts(tmp_path: Path) -> None:
    module = nn.ModuleDict({"model": nn.Linear(1, 1), "weightless": nn.Linear(1, 1, bias=False)})
    load_released(module, stored(tmp_path, {name: torch.full_like(t, 7.0) for name, t in module.state_dict().items()}))
    assert all((p == 7.0).all() for p in module.parameters())


@pytest.mark.parametrize("counted", [True, False])
def test_counters_are_neither_needed_nor_loaded(tmp_path: Path, counted: bool) -> None:
    state = small().state_dict()
    name = "chain.0.odefunc._num_evals"
    state[name] = torch.tensor(17.0)
    if not counted:
        del state[name]
    target = small()
    load_released(target, stored(tmp_path, state))
    assert target.state_dict()[name] == 0


def test_errors_name_every_tensor_and_change_nothing(tmp_path: Path) -> None:
    saved = small().state_dict()
    weight = "chain.0.odefunc.diffeq.layers.0._layer.weight"
    bias = "chain.0.odefunc.diffeq.layers.0._layer.bias"
    del saved[bias]
    saved[weight] = torch.zeros(3, 5)
    saved["chain.0.extra"] = torch.zeros(1)
    target = small()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    with pytest.raises(BadInput) as error:
        load_released(target, stored(tmp_path, saved))
    message = str(error.value)
    assert f"missing: {bias}" in message and "unexpected: chain.0.extra" in message
    assert f"{weight} (3, 5) instead of (3, 2)" in message and "Build the module" in message
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_absent_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="no such file"):
        load_released(small(), tmp_path / "absent.safetensors")
    foreign = tmp_path / "foreign.pt"
    torch.save(small().state_dict(), foreign)
    with pytest.raises(BadInput, match="not a safetensors file"):
        load_released(small(), foreign)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.view(-1)[:1].fill_(float("nan")), "not finite: chain.0.odefunc"),
        (lambda t: t.view(-1)[-1:].fill_(float("inf")), "not finite: chain.0.odefunc"),
    ],
)
def test_values_that_are_not_finite_are_refused(
    tmp_path: Path, change: Callable[[Tensor], object], message: str
) -> None:
    saved = small().state_dict()
    change(saved["chain.0.odefunc.diffeq.layers.0._layer.weight"])
    with pytest.raises(BadInput, match=message):
        load_released(small(), stored(tmp_path, saved))


def test_integers_are_no_weights(tmp_path: Path) -> None:
    saved = small().state_dict()
    name = "chain.0.odefunc.diffeq.layers.0._layer.weight"
    saved[name] = saved[name].long()
    with pytest.raises(BadInput, match=f"of another kind: {name} torch.int64 instead of torch.float32"):
        load_released(small(), stored(tmp_path, saved))
