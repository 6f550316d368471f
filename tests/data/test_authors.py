"""The authors' models, from a server of this machine that has made files of the same layout."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gpot.config import compose
from gpot.data import authors
from gpot.data.authors import AUTHORS, authors_tensors
from gpot.data.checkpoints import read_checkpoint
from gpot.errors import BadConfig, BadInput, DataMissing
from gpot.flows.weights import copy_released
from gpot.stages.flow import load_flow
from gpot.stages.pipeline import Pipeline
from gpot.stages.stage import open_workshop
from gpot.stages.vae import images_of, load_vae
from tests.conftest import shared_path
from tests.data.test_checkpoints import foreign, same, save
from third_party.bnaf import BNAF
from third_party.btcvae import BetaTCVAE
from third_party.ffjord import FFJORD


class Published(nn.Module):
    """FFJORD as it is published, one attribute deep: its state dict has that prefix."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model


def network(name: str) -> nn.Module:
    """Of the architecture of a published model, with fresh weights."""
    if name.startswith("btcvae"):
        return BetaTCVAE(64 if name.endswith("dsprites") else 32)
    return FFJORD(10) if name.startswith("ffjord") else BNAF(2, width=32, n_layers=3)


def publish(name: str, model: nn.Module, path: Path) -> dict[str, Tensor]:
    """Writes a model as the authors did: a VAE's state dict in the old layout, a flow as a whole module."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.startswith("btcvae"):
        save(model.state_dict(), path, archive=False)
        return model.state_dict()
    whole = Published(model) if name.startswith("ffjord") else model
    ours = {type(part) for part in model.modules() if type(part).__module__.startswith("third_party")}
    with foreign(Published, *ours):
        save(whole, path)
    return whole.state_dict()


@dataclass
class Served:
    folder: Path  # of the server
    states: dict[str, dict[str, Tensor]]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """Construction files at the addresses of the published ones, below another host."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    folder, states, entries = tmp_path / "server", {}, {}
    torch.manual_seed(0)
    for name, weights in AUTHORS.items():
        (repository, commit), place = weights.places[0]
        path = folder / repository / commit / place
        states[name] = publish(name, network(name), path)
        entries[name] = replace(weights, sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(authors, "AUTHORS", entries)
    monkeypatch.setattr(
        authors, "_HOSTS", (f"http://127.0.0.1:{http.server_address[1]}/{{repository}}/{{commit}}/{{path}}",)
    )
    yield Served(folder, states)
    http.shutdown()
    http.server_close()
    thread.join()


def test_addresses_name_a_commit_and_a_hash() -> None:
    files = [weights.remote.name for weights in AUTHORS.values()]
    assert len(set(files)) == len(AUTHORS) == len({weights.sha256 for weights in AUTHORS.values()})
    for weights in AUTHORS.values():
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", str(weights.remote.digest))
        assert len(weights.remote.addresses) == len(set(weights.remote.addresses)) >= 2
        for address in weights.remote.addresses:
            assert re.match(r"https://[a-z.]+/.*\b[0-9a-f]{40}/.*\.pt$", address)


@pytest.mark.parametrize("name", AUTHORS)
def test_fetched_once_and_read(served: Served, tmp_path: Path, name: str) -> None:
    assert same(authors_tensors(name, tmp_path / "data"), served.states[name])
    for path in served.folder.rglob("*.pt"):
        path.unlink()
    assert same(authors_tensors(name, tmp_path / "data"), served.states[name]), "the file that is there serves"
    model = network(name)
    copy_released(model, served.states[name], "served")
    assert all(torch.isfinite(tensor).all() for tensor in model.state_dict().values())


def test_another_file_is_refused(served: Served, tmp_path: Path) -> None:
    for path in served.folder.rglob("*.pt"):
        path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(DataMissing, match="another file"):
        authors_tensors("ffjord_dsprites", tmp_path / "data")
    (tmp_path / "data" / AUTHORS["ffjord_dsprites"].file).write_bytes(b"mine")
    with pytest.raises(BadInput, match="sha256"):
        authors_tensors("ffjord_dsprites", tmp_path / "data")


@pytest.mark.parametrize("name", AUTHORS)
def test_without_a_network_the_error_says_what_to_put_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(authors, "_HOSTS", ("http://127.0.0.1:1/{repository}/{commit}/{path}",))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(DataMissing) as caught:
        authors_tensors(name, tmp_path / "data")
    weights, said = authors.AUTHORS[name], str(caught.value)
    for part in (weights.file, weights.what, str(tmp_path / "data"), "folder that has it", *weights.remote.addresses):
        assert part in said


def below(folder: Path) -> list[str]:
    return [f"paths.data={folder / 'data'}", f"paths.artifacts={folder / 'artifacts'}"]


@pytest.mark.parametrize("dataset", ["eight_gaussians", "two_moons"])
def test_flow_of_a_2d_dataset(served: Served, tmp_path: Path, dataset: str) -> None:
    config = compose("train_gp", ["models=authors", f"dataset={dataset}", *below(tmp_path)])
    key = Pipeline(config).flow.key
    assert not (tmp_path / "data").exists(), "no file is needed for a key"
    artifact = open_workshop(config).make(Pipeline(config).flow)
    assert artifact.key == key
    flow = load_flow(config, artifact)
    assert same(flow.flow.model.state_dict(), served.states[f"bnaf_{dataset}"])
    other = compose("train_gp", [f"dataset={dataset}", "flow=bnaf_authors"])
    assert Pipeline(other).flow.key == key, "one by one or all at once"


def test_models_of_dsprites(served: Served, tmp_path: Path) -> None:
    config = compose("train_gp", ["models=authors", *below(tmp_path)])
    vae, flow = (open_workshop(config).make(stage) for stage in (Pipeline(config).vae, Pipeline(config).flow))
    assert same(load_vae(images_of(config), vae).state_dict(), served.states["btcvae_dsprites"])
    flow = load_flow(config, flow)
    assert same({f"model.{k}": v for k, v in flow.flow.model.state_dict().items()}, served.states["ffjord_dsprites"])


def test_vae_of_mnist(served: Served, tmp_path: Path) -> None:
    config = compose("train_vae", ["dataset=mnist", "vae=btcvae_authors_mnist", *below(tmp_path)])
    artifact = open_workshop(config).make(Pipeline(config).vae)
    assert same(load_vae(images_of(config), artifact).state_dict(), served.states["btcvae_mnist"])


def test_a_dataset_without_published_models_keeps_ours() -> None:
    for dataset in ("mnist", "pinwheel"):
        ours, theirs = (compose("train_gp", [f"dataset={dataset}", f"models={m}"]) for m in ("ours", "authors"))
        assert theirs.flow == ours.flow and theirs.vae == ours.vae


def test_an_option_for_another_dataset_says_which_there_are() -> None:
    with pytest.raises(BadConfig, match="bnaf_eight_gaussians, bnaf_two_moons"):
        assert Pipeline(compose("train_gp", ["dataset=pinwheel", "flow=bnaf_authors"])).flow


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("btcvae_dsprites", "disentangling_vae_btcvae_dsprites"),
        ("ffjord_dsprites", "gpflow_dsprites_ffjord"),
        ("bnaf_two_moons", "gpflow_moons_bnaf"),
    ],
)
def test_reference_weights_through_the_published_layout(tmp_path: Path, name: str, reference: str) -> None:
    expected = load_file(shared_path(f"reference/weights/{reference}.safetensors"))
    model = network(name)
    copy_released(model, expected, "the reference")
    state = publish(name, model, tmp_path / "model.pt")
    found = read_checkpoint(tmp_path / "model.pt")
    assert same(found, state)
    counters = {key for key in expected if key.endswith("_num_evals")}  # which no run needs
    assert same(
        {k: v for k, v in found.items() if k not in counters}, {k: expected[k] for k in expected.keys() - counters}
    )


@pytest.mark.parametrize("name", AUTHORS)
def test_published_files(name: str) -> None:
    """The files themselves, where they are at hand; their hash is checked."""
    file = shared_path(f"data/authors/{AUTHORS[name].file}")
    model, tensors = network(name), authors_tensors(name, file.parent)
    copy_released(model, tensors, file)
    references = {"btcvae_dsprites": "disentangling_vae_btcvae_dsprites", "ffjord_dsprites": "gpflow_dsprites_ffjord",
                  "bnaf_two_moons": "gpflow_moons_bnaf"}  # fmt: skip
    if name in references:
        assert same(tensors, load_file(shared_path(f"reference/weights/{references[name]}.safetensors")))
