"""Files of torch.save, of both layouts, without the classes that are pickled in them, hostile, cut and damaged."""

from __future__ import annotations

import io
import os
import struct
import sys
import types
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gpot.data import checkpoints
from gpot.data.checkpoints import read_checkpoint
from gpot.errors import BadInput
from third_party.bnaf import BNAF
from third_party.btcvae import BetaTCVAE
from third_party.ffjord import FFJORD

pytestmark = [
    pytest.mark.filterwarnings("ignore:Couldn't retrieve source code"),  # of classes that are pickled from nowhere
    pytest.mark.filterwarnings("ignore:TypedStorage is deprecated"),
]
LAYOUTS = pytest.mark.parametrize("archive", [True, False], ids=["archive", "stream"])


@contextmanager
def foreign(*classes: type) -> Iterator[None]:
    """The classes as those of a package that is gone afterwards, `elsewhere.models`."""
    package, module, homes = types.ModuleType("elsewhere"), types.ModuleType("elsewhere.models"), {}
    sys.modules |= {"elsewhere": package, "elsewhere.models": module}
    try:
        for cls in classes:
            homes[cls], cls.__module__ = cls.__module__, "elsewhere.models"
            setattr(module, cls.__qualname__, cls)
        yield
    finally:
        for cls, home in homes.items():
            cls.__module__ = home
        del sys.modules["elsewhere"], sys.modules["elsewhere.models"]


class Wrapper(nn.Module):
    """A module with all that a state dict leaves out, or names twice."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.again = nn.ModuleList([self.model, nn.Tanh()])
        self.absent: nn.Module | None = None
        self.register_module("nothing", None)
        self.register_buffer("kept", torch.arange(6).reshape(2, 3).T)
        self.register_buffer("passing", torch.zeros(3), persistent=False)
        self.register_buffer("empty", torch.empty(0, 4))
        self.register_parameter("none", None)
        self.frozen = nn.Parameter(torch.randn(3).half(), requires_grad=False)
        self.settings = {"solver": "dopri5", "function": os.path.join, "shape": torch.Size([1, 2])}


def save(content: Any, path: Path, archive: bool = True) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=archive)
    return path


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return found.keys() == expected.keys() and all(
        tensor.dtype == expected[name].dtype and torch.equal(tensor, expected[name]) for name, tensor in found.items()
    )


@LAYOUTS
def test_state_dict(tmp_path: Path, archive: bool) -> None:
    state = BetaTCVAE(32).state_dict() | {"step": torch.tensor(3), "flags": torch.tensor([True, False])}
    assert same(read_checkpoint(save(state, tmp_path / "model.pt", archive)), state)


@LAYOUTS
@pytest.mark.parametrize("model", [FFJORD(3, (4, 4), 2), BNAF(2, width=8, n_layers=2)], ids=["ffjord", "bnaf"])
def test_module_whose_classes_are_gone(tmp_path: Path, archive: bool, model: nn.Module) -> None:
    torch.manual_seed(0)
    wrapper = Wrapper(model)
    with foreign(Wrapper, *{type(part) for part in model.modules() if type(part).__module__.startswith("third_party")}):
        save(wrapper, tmp_path / "model.pt", archive)
    assert same(read_checkpoint(tmp_path / "model.pt"), wrapper.state_dict())


@LAYOUTS
def test_views_of_one_storage_are_tensors_of_their_own(tmp_path: Path, archive: bool) -> None:
    numbers = torch.arange(12.0)
    state = {"all": numbers, "part": numbers[4:8], "turned": numbers.reshape(3, 4).T, "one": numbers[5]}
    found = read_checkpoint(save(state, tmp_path / "model.pt", archive))
    assert same(found, state)
    found["all"].zero_()
    assert same(found, state | {"all": torch.zeros(12)}), "what is done to one is not done to another"


class Evil:
    """Pickled as a call of its own choice."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


@LAYOUTS
@pytest.mark.parametrize("place", ["beside", "tensor", "parameter", "module", "top"])
def test_hostile_calls_are_not_made(tmp_path: Path, archive: bool, place: str) -> None:
    victim = tmp_path / "victim"
    content: Any = nn.Sequential(nn.Linear(1, 1))
    for evil in (Evil(os.system, f"touch {victim}"), Evil(eval, f"open({str(victim)!r}, 'w')")):
        if place == "beside":
            content.__dict__["evil"] = evil
        elif place == "module":
            content._modules["evil"] = evil
        elif place == "parameter":
            content._parameters["evil"] = evil
        else:
            content = {"evil": evil} if place == "tensor" else evil
        path = save(content, tmp_path / "model.pt", archive)
        if place == "beside":  # where no state dict looks
            assert read_checkpoint(path).keys() == {"0.weight", "0.bias"}
        else:
            with pytest.raises(BadInput):
                read_checkpoint(path)
        assert not victim.exists()


def test_the_same_file_runs_in_pythons_own_reader(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    torch.load(save(Evil(eval, f"open({str(victim)!r}, 'w')"), tmp_path / "model.pt"), weights_only=False).close()
    assert victim.exists()


ODD = {
    "no arguments": (),
    "no storage": (1, 0, (1,), (1,)),
    "storage of another kind": ("weights", 0, (1,), (1,)),
    "longer than its storage": ("storage", 0, (7,), (1,)),
    "larger than its storage": ("storage", 0, (1 << 29, 4), (0, 1)),
    "behind its storage": ("storage", 4, (1,), (1,)),
    "before its storage": ("storage", -1, (1,), (1,)),
    "backwards": ("storage", 3, (2,), (-1,)),
    "negative shape": ("storage", 0, (-1,), (1,)),
    "strides of another length": ("storage", 0, (2, 2), (1,)),
    "shape in words": ("storage", 0, ("2",), (1,)),
    "shape of truth": ("storage", 0, (True,), (1,)),
    "immense offset": ("storage", 1 << 70, (1,), (1,)),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_arguments_of_an_allowed_function(tmp_path: Path, name: str) -> None:
    storage = torch.arange(4.0).storage()
    arguments = tuple(storage if argument == "storage" else argument for argument in ODD[name])
    with pytest.raises(BadInput, match=r"weight of the checkpoint '.*model\.pt'"):
        read_checkpoint(save({"weight": Evil(torch._utils._rebuild_tensor_v2, *arguments)}, tmp_path / "model.pt"))


def test_modules_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "MAX_MODULES", 200)
    module = nn.Sequential(nn.Linear(1, 1))
    module._modules["itself"] = module
    with pytest.raises(BadInput, match="within itself"):
        read_checkpoint(save(module, tmp_path / "model.pt"))
    del module._modules["itself"]  # or nothing could ever print it
    tower = nn.Sequential()
    for _ in range(40):
        tower = nn.Sequential(tower, tower)  # 2^40 of them
    with pytest.raises(BadInput, match="more than 200 modules"):
        read_checkpoint(save(tower, tmp_path / "model.pt"))


@pytest.mark.parametrize("content", [[1, 2], 3, "words", {}, {"epoch": 3}, nn.Tanh(), np.arange(3)])
@LAYOUTS
def test_what_holds_no_tensors(tmp_path: Path, archive: bool, content: Any) -> None:
    with pytest.raises(BadInput):
        read_checkpoint(save(content, tmp_path / "model.pt", archive))


def small(path: Path, archive: bool) -> bytes:
    return save({"weight": torch.arange(6.0), "bias": torch.ones(2)}, path, archive).read_bytes()


@LAYOUTS
def test_a_file_cut_anywhere_is_said_to_be(tmp_path: Path, archive: bool) -> None:
    path = tmp_path / "model.pt"
    content = small(path, archive)
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(BadInput):
            read_checkpoint(path)


@LAYOUTS
def test_a_damaged_file_is_read_or_refused(tmp_path: Path, archive: bool) -> None:
    """No other error, and no hang, whatever a byte becomes."""
    path = tmp_path / "model.pt"
    content, draw = small(path, archive), np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        for place in draw.integers(len(content), size=draw.integers(1, 4)):
            damaged[place] = draw.integers(256)
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except BadInput:
            refused += 1
        else:
            assert sum(tensor.numel() for tensor in found.values()) <= 8
    assert refused > 100


def repacked(path: Path, change: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive of torch.save with other entries: change maps names and contents to those."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in change(entries).items():
            archive.writestr(name, content)
    return path


def test_zip_bomb(tmp_path: Path) -> None:
    """A compressed entry may be a thousand times its file; torch.save compresses none."""
    path = save({"weight": torch.zeros(1_000_000)}, tmp_path / "model.pt")
    assert read_checkpoint(repacked(path, dict)).keys() == {"weight"}
    repacked(path, dict, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 10_000
    with pytest.raises(BadInput, match="not one that torch"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: {name: c for name, c in entries.items() if "/data/" not in name},
        lambda entries: {name: c[:-1] if "/data/" in name else c for name, c in entries.items()},
        lambda entries: entries | {"second/data.pkl": b"N."},
        lambda entries: {name: c for name, c in entries.items() if not name.endswith("data.pkl")},
        lambda entries: {name: b"big" if name.endswith("byteorder") else c for name, c in entries.items()},
    ],
    ids=["no storage", "short storage", "two pickles", "no pickle", "other byte order"],
)
def test_archive_that_contradicts_itself(tmp_path: Path, change: Any) -> None:
    with pytest.raises(BadInput):
        read_checkpoint(repacked(save({"weight": torch.arange(3.0)}, tmp_path / "model.pt"), change))


def test_stream_that_promises_more_than_it_has(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    content = small(path, archive=False)
    lengths = [content.rfind(struct.pack("<q", n)) for n in (2, 6)]
    assert all(place > 0 for place in lengths)
    for place in lengths:
        path.write_bytes(content[:place] + struct.pack("<q", 1 << 60) + content[place + 8 :])
        with pytest.raises(BadInput, match="length"):
            read_checkpoint(path)


def test_size_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save({"weight": torch.zeros(3)}, tmp_path / "model.pt")
    monkeypatch.setattr(checkpoints, "MAX_BYTES", 100)
    with pytest.raises(BadInput, match="at most 100"):
        read_checkpoint(path)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    buffer = io.BytesIO()
    np.savez(buffer, x=np.zeros(3))
    for content in (b"<!DOCTYPE html>", buffer.getvalue(), b"\x93NUMPY", b"\x80\x02N.\x80\x02N.\x80\x02N."):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=r"model\.pt"):
            read_checkpoint(path)
