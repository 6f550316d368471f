"""The store: keys that depend on content only, artefacts that are whole or absent, errors that say what to type."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gpot.errors import ArtifactCorrupt, ArtifactMissing, BadInput
from gpot.store import Artifact, Store, content_key, file_sha256, save_array
from tests.conftest import ROOT

CONFIG = {"dim": 2, "hidden": [15, 15], "lr": 1e-3, "chart": "cube", "bias": True, "scale": None}
INPUTS = {"flow": "0123456789abcdef"}


class Chart(str, Enum):
    cube = "cube"


class Level(Enum):
    high = 3


def given(config: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    manifest = {
        "version": 1,
        "config": config or CONFIG,
        "inputs": INPUTS,
        "data_hash": None,
        "seed": 0,
        "device": "cpu",
    }
    return manifest | changes


def key_of(manifest: dict[str, Any], stage: str = "gp") -> str:
    return content_key(stage, *(manifest[name] for name in ("version", "config", "inputs", "data_hash")))


def write_values(folder: Path) -> dict[str, Any]:
    save_file({"w": torch.arange(3.0, dtype=torch.float64)}, folder / "model.safetensors")
    (folder / "samples").mkdir()
    np.save(folder / "samples" / "x.npy", np.arange(6.0).reshape(3, 2))
    return {"cost": np.float32(0.5), "gap": torch.tensor(0.25), "steps": 8, "worst": float("nan")}


def make(store: Store, manifest: dict[str, Any] | None = None, build: Any = write_values) -> Artifact:
    manifest = manifest or given()
    return store.make("gp", key_of(manifest), build, manifest)


# ---- keys


def test_key_is_a_literal_that_never_changes():
    # sha256 of {"config":{"lr":0.001,"n":5},"data_hash":null,"inputs":{},"stage":"flow","version":1}
    assert content_key("flow", 1, {"lr": 1e-3, "n": 5}, {}, None) == "8febff0d34a06c8a"


def test_key_ignores_order_and_spelling():
    key = key_of(given())
    assert key_of(given(dict(reversed(CONFIG.items())))) == key
    assert key_of(given(CONFIG | {"lr": 0.001, "dim": 2.0, "hidden": (15.0, 15), "chart": Chart.cube})) == key
    assert key_of(given({"a": Level.high})) == key_of(given({"a": 3}))
    assert key_of(given({"a": -0.0})) == key_of(given({"a": 0}))


def test_key_changes_with_every_value():
    changed = [given(CONFIG | {name: "other"}) for name in CONFIG]
    changed += [given({k: v for k, v in CONFIG.items() if k != "scale"}), given(CONFIG | {"bias": 1})]
    changed += [given(CONFIG | {"hidden": [15, 16]}), given(CONFIG | {"lr": 0.0010000000000000002})]
    changed += [given(version=2), given(data_hash="0"), given(inputs={}), given(inputs={"vae": INPUTS["flow"]})]
    keys = [key_of(manifest) for manifest in [given(), *changed]] + [key_of(given(), "flow")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("value", "found"),
    [(torch.ones(2), "Tensor"), (Path("x"), "Path"), ({1: 2}, "dict"), ({1, 2}, "set"), (float("nan"), "nan")],
)
def test_key_refuses_what_json_cannot_say(value: Any, found: str):
    with pytest.raises(BadInput, match=rf"config\.net\[1\] must be .* found .*{found}"):
        content_key("gp", 1, {"net": [0, value]}, {}, None)


def test_file_sha256_of_a_known_file(tmp_path: Path):
    (tmp_path / "abc").write_bytes(b"abc")  # the example of FIPS 180-2
    assert file_sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


# ---- make, find, require


def test_make_then_find(tmp_path: Path):
    store = Store(tmp_path / "artifacts")
    assert store.find("gp", key_of(given())) is None
    made = make(store)
    found = Store(tmp_path / "artifacts").find("gp", made.key)
    assert found == made and found.manifest == made.manifest
    assert found.folder == tmp_path / "artifacts" / "gp" / made.key
    assert torch.equal(found.tensors("model.safetensors")["w"], torch.arange(3.0, dtype=torch.float64))
    assert np.array_equal(found.array("samples/x.npy"), np.arange(6.0).reshape(3, 2))
    with pytest.raises(BadInput, match=r"'other\.npy'.* it has: model\.safetensors, samples/x\.npy"):
        found.file("other.npy")


def test_array_refuses_pickle(tmp_path: Path):
    def build(folder: Path) -> dict[str, Any]:
        np.save(folder / "x.npy", np.array([{}], dtype=object), allow_pickle=True)
        return {}

    with pytest.raises(ValueError, match="allow_pickle"):
        make(Store(tmp_path / "artifacts"), build=build).array("x.npy")


def test_make_builds_once(tmp_path: Path):
    store, builds = Store(tmp_path / "artifacts"), []

    def build(folder: Path) -> dict[str, Any]:
        builds.append(folder)
        return {}

    assert make(store, build=build) == make(store, build=build) == make(Store(store.root), build=build)
    assert len(builds) == 1


def test_manifest_records_everything_and_no_place(tmp_path: Path):
    artifact = make(Store(tmp_path / "artifacts"), given(CONFIG | {"chart": Chart.cube}, note="first"))
    manifest = json.loads((artifact.folder / "manifest.json").read_text())
    assert manifest == artifact.manifest
    assert {name: manifest[name] for name in given()} == given() and manifest["note"] == "first"
    assert (manifest["stage"], manifest["key"]) == ("gp", artifact.key)
    assert manifest["metrics"] == {"cost": 0.5, "gap": 0.25, "steps": 8, "worst": "nan"}
    assert set(manifest["versions"]) == {"python", "torch", "lightning", "numpy", "gpot"}
    assert manifest["versions"]["torch"].startswith(torch.__version__.split("+")[0])
    assert manifest["duration"] >= 0 and manifest["started"].endswith("+00:00") and "commit" in manifest
    path = artifact.folder / "samples" / "x.npy"
    assert manifest["files"]["samples/x.npy"] == {"sha256": file_sha256(path), "bytes": path.stat().st_size}
    assert str(tmp_path) not in json.dumps(manifest) and str(ROOT) not in json.dumps(manifest)


def test_pretrained_is_found_and_not_made_again(tmp_path: Path):
    made = make(Store(tmp_path / "pretrained"))
    store = Store(tmp_path / "artifacts", tmp_path / "pretrained")
    found = store.find("gp", made.key)
    assert found is not None and found.folder == made.folder
    assert make(store, build=lambda folder: pytest.fail("was built again")) == made


def test_require_says_what_to_type(tmp_path: Path):
    store, key = Store(tmp_path / "artifacts", tmp_path / "pretrained"), key_of(given(), "flow")
    command = "python scripts/train_flow.py dataset=two_moons flow=bnaf"
    with pytest.raises(ArtifactMissing) as caught:
        store.require("flow", key, "stage gp needs a trained 'bnaf' on 'two_moons'", command)
    assert str(caught.value) == (
        f"stage gp needs a trained 'bnaf' on 'two_moons' (key {key}), and none is in {tmp_path / 'artifacts' / 'flow'}"
        f" or {tmp_path / 'pretrained' / 'flow'}. Run: {command}"
    )
    store.make("flow", key, write_values, given())
    assert store.require("flow", key, "", "").key == key


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        (given(seed=1, files={}), "to be left out: files"),
        ({"version": 1}, "missing: config, inputs, data_hash, seed, device"),
        (given(CONFIG | {"root": str(Path.cwd())}), r"manifest\.config\.root must not be a path"),
        (given(CONFIG | {"dim": 3}), "must follow from its manifest"),
    ],
)
def test_make_refuses_a_manifest_before_building(tmp_path: Path, manifest: dict[str, Any], message: str):
    with pytest.raises(BadInput, match=message):
        Store(tmp_path).make("gp", key_of(given()), lambda folder: pytest.fail("was built"), manifest)


def test_names_cannot_leave_the_store(tmp_path: Path):
    with pytest.raises(BadInput, match="lower case"):
        Store(tmp_path).find("../gp", key_of(given()))
    with pytest.raises(BadInput, match="16 hexadecimal digits"):
        Store(tmp_path).work("gp", "..")


# ---- corruption


@pytest.mark.parametrize("damage", ["changed", "removed", "manifest", "config"])
def test_corrupt_artefact_is_named_with_both_hashes(tmp_path: Path, damage: str):
    artifact = make(Store(tmp_path / "artifacts"))
    path, record = artifact.folder / "samples" / "x.npy", artifact.folder / "manifest.json"
    good, actual = file_sha256(path), "no such file"
    if damage == "changed":
        path.write_bytes(path.read_bytes()[:-1] + b"\x01")  # same length
        actual = file_sha256(path)
    elif damage == "removed":
        path.unlink()
    elif damage == "manifest":
        record.write_text(record.read_text()[:-20])
    else:
        record.write_text(record.read_text().replace('"dim": 2', '"dim": 3'))
    with pytest.raises(ArtifactCorrupt) as caught:
        Store(tmp_path / "artifacts").find("gp", artifact.key)
    assert f"rm -r {artifact.folder}" in str(caught.value)
    if damage in ("changed", "removed"):
        assert f"x.npy should have sha256 {good}; found: {actual}" in str(caught.value)
        with pytest.raises(ArtifactCorrupt):
            artifact.verify()


def test_no_bit_of_a_manifest_may_change(tmp_path: Path):
    artifact = make(Store(tmp_path / "artifacts"))
    for name in ("manifest.json", "manifest.sha256"):
        path = artifact.folder / name
        content = path.read_bytes()
        damages = [content[:length] for length in range(0, len(content), 97)] + [content + b" "]
        for bit in range(0, 8 * len(content), 41):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            damages.append(bytes(changed))
        for damage in damages:
            path.write_bytes(damage)
            with pytest.raises(ArtifactCorrupt, match="Run: rm -r"):
                Store(tmp_path / "artifacts").find("gp", artifact.key)
        path.write_bytes(content)
    (artifact.folder / "manifest.sha256").unlink()  # as artefacts are that were made before it was written
    assert Store(tmp_path / "artifacts").find("gp", artifact.key) == artifact


# ---- failed, killed and concurrent builds

CHILD = """
import sys, time
from pathlib import Path
from gpot.store import Store, content_key

base = Path(sys.argv[1])
manifest = {"version": 1, "config": {"dim": 2}, "inputs": {}, "data_hash": None, "seed": 0, "device": "cpu"}
key = content_key("gp", 1, {"dim": 2}, {}, None)
store = Store(base / "artifacts")

def build(folder):
    (folder / "half").write_text("x")
    (store.work("gp", key) / "last.ckpt").write_text("step 1")
    with open(base / "builds", "a") as log:
        log.write("build\\n")
    print("building", flush=True)
    while not (base / "go").exists():
        time.sleep(0.02)
    return {}

print("asking", flush=True)
print(store.make("gp", key, build, manifest).key, flush=True)
"""


def child(base: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", CHILD, str(base)], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def reads(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_failed_build_leaves_nothing_but_its_checkpoints(tmp_path: Path):
    store, key = Store(tmp_path / "artifacts"), key_of(given())

    def build(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("x")
        (store.work("gp", key) / "last.ckpt").write_text("step 1")
        raise RuntimeError("diverged")

    with pytest.raises(RuntimeError, match="diverged"):
        make(store, build=build)
    assert [path for path in (tmp_path / "artifacts" / "gp").iterdir() if path.is_dir()] == []
    assert (tmp_path / "work" / "gp" / key / "last.ckpt").read_text() == "step 1"
    make(store)
    assert not (tmp_path / "work" / "gp" / key).exists()


def test_checkpoints_that_a_kill_left_beside_a_finished_artefact_go(tmp_path: Path):
    own, released = Store(tmp_path / "artifacts"), Store(tmp_path / "artifacts", tmp_path / "pretrained")
    artifact = make(own)
    (own.work("gp", artifact.key) / "last.ckpt").write_text("step 9")  # as a kill after the renaming leaves it
    own.forget_work(artifact)
    assert not (tmp_path / "work" / "gp" / artifact.key).exists()
    given_away = make(Store(tmp_path / "pretrained"))
    (own.work("gp", given_away.key) / "last.ckpt").write_text("step 9")  # of a training of the user's own
    released.forget_work(given_away)
    assert (tmp_path / "work" / "gp" / given_away.key / "last.ckpt").exists()


def test_an_array_is_written_whole_or_not_at_all(tmp_path: Path):
    array = np.arange(100.0).reshape(20, 5)
    save_array(tmp_path / "a.npy", array)
    assert np.array_equal(np.load(tmp_path / "a.npy"), array)
    if not (full := Path("/dev/full")).exists():
        pytest.skip("this system has no /dev/full")
    with pytest.raises(OSError, match="No space left"):
        save_array(full, array)


def test_build_may_not_write_the_manifest(tmp_path: Path):
    with pytest.raises(BadInput, match=r"manifest\.json"):
        make(Store(tmp_path), build=lambda folder: {"n": (folder / "manifest.json").write_text("{}")})


def test_killed_build_looks_unfinished_and_is_resumed(tmp_path: Path):
    process = child(tmp_path)
    try:
        assert (reads(process), reads(process)) == ("asking", "building")
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    store, manifest = Store(tmp_path / "artifacts"), given({"dim": 2}, inputs={})
    key = key_of(manifest)
    assert len(list((tmp_path / "artifacts" / "gp").glob(".*.tmp-*"))) == 1  # what the killed one left
    assert store.find("gp", key) is None

    def resume(folder: Path) -> dict[str, Any]:
        return {"resumed": (store.work("gp", key) / "last.ckpt").read_text()}

    artifact = make(store, manifest, resume)
    assert artifact.manifest["metrics"] == {"resumed": "step 1"} and artifact.manifest["files"] == {}
    assert [path for path in artifact.folder.parent.iterdir() if path.is_dir()] == [artifact.folder]


def test_two_processes_build_once(tmp_path: Path):
    first = child(tmp_path)
    second = None
    try:
        assert (reads(first), reads(first)) == ("asking", "building")
        second = child(tmp_path)
        assert reads(second) == "asking"
        time.sleep(0.3)  # time enough to start a build, if the lock did not hold
        assert second.poll() is None
        assert (tmp_path / "builds").read_text() == "build\n"
        (tmp_path / "go").touch()
        keys = {reads(first), reads(second)}
        assert keys == {key_of(given({"dim": 2}, inputs={}))}
        assert (first.wait(20), second.wait(20)) == (0, 0)
        assert (tmp_path / "builds").read_text() == "build\n"
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.communicate()
