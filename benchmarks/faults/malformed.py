"""Commands that are wrong in one place: an option, a file of points, a file of weights, drawn by hypothesis. Each ends
in a sentence, before anything is trained or written."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from omegaconf import DictConfig
from safetensors.torch import load_file, save

from benchmarks.faults.command import TINY, call, fresh, report
from benchmarks.faults.count import Kind, Result, Scale
from gpot.config import compose, schema
from gpot.config.compose import to_config
from gpot.places import CONFIGS

_SIZES = (
    "dataset.n_points", "flow.epochs", "flow.batch_size", "flow.width", "flow.n_layers", "flow.n_blocks", "gp.n_train",
    "gp.n_validation", "gp.n_steps", "gp.batch_size", "gp.epochs", "gp.epochs_penalized", "gp.family.width",
    "evaluate.n_prior", "evaluate.n_data", "evaluate.n_exact", "evaluate.certificate_batch",
    "evaluate.certificate_batches", "evaluate.optimum_repeats", "bounds.n_train", "bounds.batch_size",
)  # fmt: skip
_RATES = (
    "optimizer.flow.lr", "optimizer.gp.lr", "optimizer.vae.lr", "bounds.lr", "flow.tolerance", "gp.logdet_tolerance",
)  # fmt: skip
_WEIGHTS = ("penalty.weight", "optimizer.gp.weight_decay", "optimizer.flow.weight_decay", "optimizer.gp.gradient_clip")
_CHOICES = (
    "gp.chart", "gp.rotation", "gp.method", "gp.source", "penalty.kind", "penalty.time", "optimizer.gp.schedule",
    "upstream", "flow.inverse", "report.item", "evaluate.regressor", "logger.kind", "device.strategy",
)  # fmt: skip
_GROUPS = ("dataset", "flow", "gp", "penalty", "optimizer", "device", "logger", "budget", "experiment", "models")
_SEEDS = ("seed", "gp.seed")
_NO_GRAMMAR = (
    "gp.hidden=[50,50", "=3", "gp", "seed=1=", "dataset={", "gp.n_steps=)", "a b=1", "seed==", "+", "~",
    "gp..n_steps=3", "paths.report='x", "dataset.path=a=b", "dataset.path=my points.npy", "dataset.path=(points).npy",
    "@", "seed:1", "~gp.n_steps", "~flow", "gp.n_steps=${nothing}", "gp.n_steps=${gp.n_steps}", "seed=???",
    "dataset=[a,b]",
)  # fmt: skip
_NOT_TOGETHER = (
    ["gp=twist"], ["gp.batch_size=300"], ["gp.n_steps=9", "gp.max_steps=8"], ["evaluate.certificate_batch=65"],
    ["penalty.kind=none", "penalty.weight=1"], ["flow.inverse=none", "gp.source=prior"], ["report.seeds=[1,1]"],
    ["dataset.n_points=N"], ["report.item=table1"], ["report.item=fig5"], ["device.accelerator=gup"],
    ["device.devices=2"], ["device=ddp", "gp.batch_size=127"], ["evaluate.optimum_sizes=[601N]", "report.item=fig4"],
    ["evaluate.optimum_repeats=0"], ["pretrained=nowhereN"], ["dataset=array"], ["dataset=latents"],
    ["flow.weights=nowhereN.safetensors"], ["flow=ffjord", "flow.tolerance=1e-12"],
    ["report.item=fig4", "dataset=array", "dataset.path=three.npy"],
    ["report.item=fig1", "dataset=array", "dataset.path=three.npy"],
)  # fmt: skip
_NUMBERS_IN_WORDS = ("nan", "inf", "null", "true", "false")  # of Hydra's grammar
_LETTERS = "abcdefghijklmnopqrstuvwxyzåñé"
_words = st.text(_LETTERS, min_size=3, max_size=9).map(lambda word: f"{word}q")


@dataclass(frozen=True)
class Case:
    """What is wrong, in words; the overrides; the files that they name (None: a folder); whether the sentence is to be
    on a file."""

    words: str
    overrides: list[str]
    files: Mapping[str, bytes | None] = field(default_factory=dict, repr=False)
    on_file: bool = False


Draw = st.DrawFn


@st.composite
def _misspelt(draw: Draw) -> Case:
    name = draw(st.sampled_from(_SIZES + _RATES + _WEIGHTS + _CHOICES))
    at = draw(st.integers(name.rfind(".") + 1, len(name) - 1))
    changed = draw(st.sampled_from([name[:at] + name[at] * 2 + name[at:], name[:at] + "q" + name[at + 1 :]]))
    return Case("a misspelt option", [f"{draw(st.sampled_from(['', '+', '++']))}{changed}=1"])


@st.composite
def _no_number(draw: Draw) -> Case:
    words = st.text(_LETTERS, min_size=1, max_size=6).filter(lambda word: word not in _NUMBERS_IN_WORDS)
    value = draw(st.sampled_from(["[1,2]", "{a: 1}", "true_", "1e", "0x1G", "''", "1,5x", "1 2"]) | words)
    return Case("no number", [f"{draw(st.sampled_from(_SIZES + _RATES + _SEEDS))}={value}"])


@st.composite
def _out_of_range(draw: Draw) -> Case:
    wrong_floats = st.floats(max_value=-1e-300) | st.sampled_from([float("nan"), float("inf")])
    name, value = draw(
        st.tuples(st.sampled_from(_SIZES), st.integers(max_value=0))
        | st.tuples(st.sampled_from(_SEEDS), st.integers(max_value=-1) | st.integers(min_value=2**32))
        | st.tuples(st.sampled_from(_RATES), wrong_floats | st.just(0.0))
        | st.tuples(st.sampled_from(_WEIGHTS), wrong_floats)
    )
    return Case("a number out of range", [f"{name}={value}"])


@st.composite
def _no_choice(draw: Draw) -> Case:
    return Case("no choice", [f"{draw(st.sampled_from(_CHOICES + _GROUPS))}={draw(_words)}"])


@st.composite
def _no_grammar(draw: Draw) -> Case:
    symbols = st.text("=[]{}()@~+'\"$,: \\", min_size=1, max_size=8)
    return Case("no grammar", [draw(st.sampled_from(_NO_GRAMMAR) | symbols)])


@st.composite
def _not_together(draw: Draw) -> Case:
    number = str(draw(st.integers(2, 129)))
    three = _npy(np.random.default_rng(0).normal(size=(600, 3)))
    overrides = [each.replace("N", number) for each in draw(st.sampled_from(_NOT_TOGETHER))]
    return Case("what does not go together", overrides, {"three.npy": three})


def _npy(array: NDArray[Any], pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def _npz(**arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _with(array: NDArray[Any], draw: Draw, value: float) -> NDArray[Any]:
    array = array.copy()
    array[draw(st.integers(0, len(array) - 1)), draw(st.integers(0, array.shape[1] - 1))] = value
    return array


def _cut(data: bytes, draw: Draw) -> bytes:
    return data[: draw(st.integers(0, len(data) - 1))]


_BAD_POINTS: dict[str, Callable[[NDArray[Any], Draw], bytes]] = {
    "cut": lambda a, draw: _cut(_npy(a), draw),
    "cut npz": lambda a, draw: _cut(_npz(x=a), draw),
    "a NaN": lambda a, draw: _npy(_with(a, draw, draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e39])))),
    "a fill value": lambda a, draw: _npy(_with(a.astype(np.float32), draw, 9.97e36)),
    "no multiple of the width": lambda a, draw: _npy(np.random.default_rng(0).normal(size=(600, 3))),
    "one column": lambda a, draw: _npy(a[:, :1]),
    "one dimension": lambda a, draw: _npy(a[:, 0]),
    "three dimensions": lambda a, draw: _npy(a[:, :, None]),
    "no row": lambda a, draw: _npy(a[:0]),
    "few rows": lambda a, draw: _npy(a[: draw(st.integers(1, 39))]),
    "a constant column": lambda a, draw: _npy(np.column_stack([a[:, 0], np.full(len(a), draw(st.floats(-9, 9)))])),
    "words": lambda a, draw: _npy(a.astype(str)),
    "objects": lambda a, draw: _npy(a.astype(object), pickled=True),
    "complex": lambda a, draw: _npy(a.astype(complex)),
    "booleans": lambda a, draw: _npy(a > 0),
    "digits that are lost": lambda a, draw: _npy((a + 1e9).astype(np.float32)),
    "no array": lambda a, draw: draw(st.binary(max_size=5000)),
    "text": lambda a, draw: "\n".join(",".join(map(str, row)) for row in a).encode(),
    "no such name": lambda a, draw: _npz(a=a, b=a),
    "empty npz": lambda a, draw: _npz(),
    "transposed": lambda a, draw: _npy(a.T),
}


@st.composite
def _points(draw: Draw) -> Case:
    shape = draw(st.integers(600, 899)), draw(st.sampled_from([2, 4, 8]))
    good = np.random.default_rng(draw(st.integers(0, 2**32))).normal(size=shape)
    name = draw(st.sampled_from(list(_BAD_POINTS)))
    data = _BAD_POINTS[name](good, draw)
    file = f"points.{'npz' if data[:2] == b'PK' and draw(st.booleans()) else 'npy'}"
    return Case(f"points: {name}", ["dataset=array", f"dataset.path={file}"], {file: data}, on_file=True)


_BAD_WEIGHTS = ("cut", "NaN", "infinite", "missing", "extra", "shape", "integers", "pickle", "noise", "empty", "folder")


@st.composite
def _weights(draw: Draw, good: Mapping[str, torch.Tensor]) -> Case:
    tensors = {name: tensor.clone() for name, tensor in good.items()}
    name, kind = draw(st.sampled_from(sorted(tensors))), draw(st.sampled_from(_BAD_WEIGHTS))
    if kind in ("NaN", "infinite"):
        flat = tensors[name].view(-1)
        value = float("nan") if kind == "NaN" else draw(st.sampled_from([float("inf"), -float("inf")]))
        flat[draw(st.integers(0, len(flat) - 1))] = value
    elif kind == "missing":
        del tensors[name]
    elif kind == "extra":
        tensors[draw(_words)] = torch.zeros(2)
    elif kind == "shape":
        tensors[name] = torch.cat([tensors[name], tensors[name]])
    elif kind == "integers":
        tensors[name] = tensors[name].to(torch.int64)
    data: bytes | None = save(tensors)
    if kind == "cut":
        data = _cut(save(tensors), draw)
    elif kind == "pickle":
        buffer = io.BytesIO()
        torch.save(tensors, buffer)
        data = buffer.getvalue()
    elif kind in ("noise", "empty", "folder"):
        data = {"noise": draw(st.binary(min_size=1, max_size=4000)), "empty": b"", "folder": None}[kind]
    file = "weights.safetensors"
    return Case(f"weights: {kind}", [f"flow.weights={file}"], {file: data}, on_file=True)


def drawn(strategy: st.SearchStrategy[Case], n: int, chance: int) -> list[Case]:
    """n cases, the same for the same seed."""
    found: list[Case] = []

    @seed(chance)
    @settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found[:n]


def malformed(scale: Scale) -> Iterator[Kind]:
    """Half of them configs, a quarter points, a quarter weights."""
    trained = next((scale.folder / "reference/outputs/artifacts/flow").glob("[!.]*/weights.safetensors"))
    options = st.one_of(_misspelt(), _no_number(), _out_of_range(), _no_choice(), _no_grammar(), _not_together())
    n = scale.malformed
    parts: dict[str, tuple[int, st.SearchStrategy[Case]]] = {
        "malformed option": (n - 2 * (n // 4), options), "malformed points": (n // 4, _points()),
        "malformed weights": (n // 4, _weights(load_file(trained))),
    }  # fmt: skip
    for name, (number, strategy) in parts.items():
        cases = drawn(strategy, number, scale.seed)

        def fault(number: int, cases: list[Case] = cases) -> Result | None:
            if number >= len(cases):
                return None
            case = cases[number]
            return f"{case.words}: {' '.join(case.overrides)}", _refused(scale.folder / "malformed", case)

        what = "a sentence, an exit status that is not 0, no traceback, nothing trained or written"
        yield Kind(name, what, number, None, fault)


_NAMED = ("dataset", "points", "weights", "flow.width")  # of which a sentence on a file has one


def _compose_and_report(overrides: list[str]) -> bool:
    sys.argv = ["scripts/report.py", *overrides]  # of which the entry speaks
    return report(compose("report", overrides))


@cache
def _tree(overrides: tuple[str, ...]) -> DictConfig:
    """What Hydra makes of overrides, which depends on no file; composed once for all of the cases with the same."""
    schema.register()
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(CONFIGS), version_base="1.3"):
        return hydra.compose(config_name="report", overrides=list(overrides))


def _report_of(tree: DictConfig, overrides: list[str]) -> bool:
    return report(to_config(tree, "report", overrides))


def _refused(folder: Path, case: Case) -> str | None:
    fresh(folder)
    for name, data in case.files.items():
        (folder / name).mkdir() if data is None else (folder / name).write_bytes(data)
    before = sorted(folder.rglob("*"))
    changed = {override.partition("=")[0] for override in case.overrides}
    base = [o for o in (*TINY, "report.item=table2") if o.partition("=")[0] not in changed]
    base = [o for o in base if not (o.partition(".")[0] in changed and "." in o.partition("=")[0])]
    overrides = [*base, *case.overrides]
    if case.on_file:
        command = partial(_report_of, _tree(tuple(overrides)), overrides)
    else:
        command = partial(_compose_and_report, overrides)
    ended = call(folder, command)
    written = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path not in before]
    shutil.rmtree(folder)
    named = not case.on_file or any(word in ended.text for word in _NAMED)
    if ended.status != 1 or "Traceback" in ended.text or not ended.text.strip() or not named:
        return f"exit status {ended.status}: {ended.text[-1200:]}"
    return f"written: {written[:4]}; {ended.text[-600:]}" if written else None
