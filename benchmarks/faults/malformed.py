"""Commands that are wrong in one place: an option, a file of points, a file of weights. Each ends in a sentence, before
anything is trained or written."""

from __future__ import annotations

import io
import random
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from benchmarks.faults.command import TINY, call, fresh, report
from benchmarks.faults.count import Count, Scale
from gpot.config import compose

Case = tuple[str, list[str], Callable[[Path], object] | None]  # in words, overrides, what writes its files

_SIZES = (
    "dataset.n_points", "flow.epochs", "flow.batch_size", "flow.width", "flow.n_layers", "flow.n_blocks", "gp.n_train",
    "gp.n_validation", "gp.n_steps", "gp.batch_size", "gp.epochs", "gp.epochs_penalized", "gp.family.width",
    "evaluate.n_prior", "evaluate.n_data", "evaluate.n_exact", "evaluate.certificate_batch",
    "evaluate.certificate_batches", "evaluate.optimum_repeats", "bounds.n_train", "bounds.batch_size",
)  # fmt: skip
_RATES = ("optimizer.flow.lr", "optimizer.gp.lr", "optimizer.vae.lr", "flow.tolerance", "gp.logdet_tolerance")
_WEIGHTS = ("penalty.weight", "optimizer.gp.weight_decay", "optimizer.flow.weight_decay", "optimizer.gp.gradient_clip")
_CHOICES = (
    "gp.chart", "gp.rotation", "gp.method", "gp.source", "penalty.kind", "penalty.time", "optimizer.gp.schedule",
    "upstream", "flow.inverse", "report.item", "evaluate.regressor", "logger.kind", "device.strategy",
)  # fmt: skip
_GROUPS = ("dataset", "flow", "gp", "penalty", "optimizer", "device", "logger", "budget", "experiment", "models")
_SEEDS = ("seed", "gp.seed")
_NOT_NUMBERS = ("many", "[1,2]", "{a: 1}", "true_", "1e", "0x1G", "''", "1,5x", "ñ", "1 2")


def _word(draw: random.Random) -> str:
    return "".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(3, 9))) + "q"


def _misspelt(draw: random.Random) -> Case:
    name = draw.choice(_SIZES + _RATES + _WEIGHTS + _CHOICES)
    at = draw.randrange(name.rindex(".") + 1 if "." in name else 0, len(name))
    changed = draw.choice([name[:at] + name[at] * 2 + name[at:], name[:at] + "q" + name[at + 1 :]])
    return "a misspelt option", [f"{draw.choice(['', '+'])}{changed}=1"], None


def _no_number(draw: random.Random) -> Case:
    return "no number", [f"{draw.choice(_SIZES + _RATES + _SEEDS)}={draw.choice(_NOT_NUMBERS)}"], None


def _out_of_range(draw: random.Random) -> Case:
    kind = draw.randrange(4)
    if kind == 0:
        return "a size below 1", [f"{draw.choice(_SIZES)}={-draw.randrange(10 ** draw.randrange(1, 12))}"], None
    if kind == 1:
        return (
            "a seed",
            [f"{draw.choice(_SEEDS)}={draw.choice([-draw.randrange(1, 2**33), 2**32 + draw.randrange(2**40)])}"],
            None,
        )
    if kind == 2:
        value = draw.choice(["0", "-1e-3", "nan", ".inf", "-.inf", ".nan", "1e400"])
        return "a rate", [f"{draw.choice(_RATES)}={value}"], None
    return "a weight", [f"{draw.choice(_WEIGHTS)}={draw.choice(['-1', 'nan', '.nan', '-.inf', '.inf'])}"], None


def _no_choice(draw: random.Random) -> Case:
    return "no choice", [f"{draw.choice(_CHOICES + _GROUPS)}={_word(draw)}"], None


def _no_grammar(draw: random.Random) -> Case:
    text = draw.choice([
        "gp.hidden=[50,50", "=3", "gp", "seed=1=", "dataset={", "gp.n_steps=)", "a b=1", "seed==", "+", "~",
        "gp..n_steps=3",
        "paths.report='x", "dataset.path=a=b", "dataset.path=my points.npy", "dataset.path=(points).npy", "@", "seed:1",
        "~gp.n_steps", "~flow", "gp.n_steps=${nothing}", "gp.n_steps=${gp.n_steps}", "seed=???", "dataset=[a,b]",
    ])  # fmt: skip
    return "no grammar", [text], None


def _together(draw: random.Random) -> Case:
    small = draw.randrange(2, 130)
    cases = [
        ["gp=twist"], ["gp.batch_size=300"], ["gp.n_steps=9", "gp.max_steps=8"], ["evaluate.certificate_batch=65"],
        ["penalty.kind=none", "penalty.weight=1"], ["flow.inverse=none", "gp.source=prior"],
        ["report.seeds=[1,1]"],
        [f"dataset.n_points={small}"], ["report.item=table1"], ["report.item=fig5"], ["device.accelerator=gup"],
        ["device.devices=2"], ["device=ddp", "gp.batch_size=127"], 
        [f"evaluate.optimum_sizes=[{601 + small}]", "report.item=fig4"],
        ["evaluate.optimum_repeats=0"], [f"pretrained=nowhere{small}"],
        ["dataset=array"], ["dataset=latents"], [f"flow.weights=nowhere{small}.safetensors"], 
        ["flow=ffjord", "flow.tolerance=1e-12"],
        ["report.item=fig4", "dataset=array", "dataset.path=three.npy"],
        ["report.item=fig1", "dataset=array", "dataset.path=three.npy"],
    ]  # fmt: skip
    return "what does not go together", draw.choice(cases), _three


def _three(folder: Path) -> None:
    np.save(folder / "three.npy", np.random.default_rng(0).normal(size=(600, 3)))


def _points(draw: random.Random) -> Case:
    good = np.random.default_rng(draw.randrange(2**32)).normal(size=(draw.randrange(600, 900), draw.choice([2, 4, 8])))
    name = draw.choice(list(_BAD_POINTS))
    data = _BAD_POINTS[name](good, draw)
    suffix = "npz" if data[:2] == b"PK" and draw.random() < 0.8 else "npy"
    file = f"points.{suffix}"
    return (
        f"points: {name}",
        ["dataset=array", f"dataset.path={file}"],
        lambda folder: (folder / file).write_bytes(data),
    )


def _npy(array: NDArray[Any], pickled: bool = False) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=pickled)
    return buffer.getvalue()


def _npz(**arrays: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _with(array: NDArray[Any], draw: random.Random, value: float) -> NDArray[Any]:
    array = array.copy()
    array[draw.randrange(len(array)), draw.randrange(array.shape[1])] = value
    return array


def _cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


_BAD_POINTS: dict[str, Callable[[NDArray[Any], random.Random], bytes]] = {
    "cut": lambda a, draw: _cut(_npy(a), draw),
    "cut npz": lambda a, draw: _cut(_npz(x=a), draw),
    "a NaN": lambda a, draw: _npy(_with(a, draw, draw.choice([np.nan, np.inf, -np.inf, 1e39]))),
    "a fill value": lambda a, draw: _npy(_with(a.astype(np.float32), draw, 9.97e36)),
    "no multiple of the width": lambda a, draw: _npy(np.random.default_rng(0).normal(size=(600, 3))),
    "one column": lambda a, draw: _npy(a[:, :1]),
    "one dimension": lambda a, draw: _npy(a[:, 0]),
    "three dimensions": lambda a, draw: _npy(a[:, :, None]),
    "no row": lambda a, draw: _npy(a[:0]),
    "few rows": lambda a, draw: _npy(a[: draw.randrange(1, 40)]),
    "a constant column": lambda a, draw: _npy(np.column_stack([a[:, 0], np.full(len(a), draw.gauss(0, 1))])),
    "words": lambda a, draw: _npy(a.astype(str)),
    "objects": lambda a, draw: _npy(a.astype(object), pickled=True),
    "complex": lambda a, draw: _npy(a.astype(complex)),
    "booleans": lambda a, draw: _npy(a > 0),
    "far from zero": lambda a, draw: _npy(a + 1e9),
    "no array": lambda a, draw: draw.randbytes(draw.randrange(0, 5000)),
    "text": lambda a, draw: "\n".join(",".join(map(str, row)) for row in a).encode(),
    "no such name": lambda a, draw: _npz(a=a, b=a),
    "empty npz": lambda a, draw: _npz(),
    "transposed": lambda a, draw: _npy(a.T),
}


def _weights(scale: Scale) -> Callable[[random.Random], Case]:
    trained = next((scale.folder / "reference/outputs/artifacts/flow").glob("[!.]*/weights.safetensors"))
    good = load_file(trained)

    def case(draw: random.Random) -> Case:
        tensors = {name: tensor.clone() for name, tensor in good.items()}
        name = draw.choice(sorted(tensors))
        kind = draw.choice(
            ["cut", "NaN", "infinite", "missing", "extra", "shape", "integers", "pickle", "noise", "empty", "folder"]
        )
        if kind in ("NaN", "infinite"):
            flat = tensors[name].view(-1)
            flat[draw.randrange(len(flat))] = (
                float("nan") if kind == "NaN" else draw.choice([float("inf"), -float("inf")])
            )
        elif kind == "missing":
            del tensors[name]
        elif kind == "extra":
            tensors[_word(draw)] = torch.zeros(2)
        elif kind == "shape":
            tensors[name] = torch.cat([tensors[name], tensors[name]])
        elif kind == "integers":
            tensors[name] = tensors[name].to(torch.int64)
        data = save(tensors)
        if kind == "cut":
            data = data[: draw.randrange(len(data))]
        elif kind == "pickle":
            buffer = io.BytesIO()
            torch.save(tensors, buffer)
            data = buffer.getvalue()
        elif kind in ("noise", "empty"):
            data = b"" if kind == "empty" else draw.randbytes(draw.randrange(1, 4000))
        file = "weights.safetensors"

        def write(folder: Path) -> None:
            (folder / file).mkdir() if kind == "folder" else (folder / file).write_bytes(data)

        return f"weights: {kind}", [f"flow.weights={file}"], write

    return case


def malformed(scale: Scale) -> Iterator[Count]:
    """Half of them configs, a quarter points, a quarter weights."""
    draw = scale.draw("malformed")
    configs = [_misspelt, _no_number, _out_of_range, _no_choice, _no_grammar, _together]
    parts: dict[str, list[Callable[[random.Random], Case]]] = {
        "malformed option": configs, "malformed points": [_points], "malformed weights": [_weights(scale)],
    }  # fmt: skip
    for name, makers in parts.items():
        count = Count(name, "a sentence, an exit status that is not 0, no traceback, nothing trained or written")
        yield count
        number = scale.malformed // 2 if name == "malformed option" else scale.malformed // 4
        for k in scale.within(range(number)):
            words, overrides, write = makers[k % len(makers)](draw)
            count.add(f"{words}: {' '.join(overrides)}", _refused(scale.folder / "malformed", overrides, write))


_NAMED = ("dataset", "points", "weights", "flow.width")  # of which a sentence on a file has one


def _compose_and_report(overrides: list[str]) -> bool:
    return report(compose("report", overrides))


def _refused(folder: Path, overrides: list[str], write: Callable[[Path], object] | None) -> str | None:
    fresh(folder)
    if write is not None:
        write(folder)
    before = sorted(folder.rglob("*"))
    changed = {override.partition("=")[0] for override in overrides}
    base = [o for o in (*TINY, "report.item=table2") if o.partition("=")[0] not in changed]
    base = [o for o in base if not (o.partition(".")[0] in changed and "." in o.partition("=")[0])]
    ended = call(folder, partial(_compose_and_report, [*base, *overrides]))
    written = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*")) if path not in before]
    shutil.rmtree(folder)
    named = write is None or write is _three or any(word in ended.text for word in _NAMED)
    if ended.status != 1 or "Traceback" in ended.text or not ended.text.strip() or not named:
        return f"exit status {ended.status}: {ended.text[-1200:]}"
    return f"written: {written[:4]}; {ended.text[-600:]}" if written else None
