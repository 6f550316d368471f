"""Paths and values as people type them: home folders, empty values, blanks, accents, equal signs."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from gpot.config import compose
from gpot.config.quoting import quoted
from gpot.entry import ends_well, explain
from gpot.errors import BadConfig

VALUES = [
    "~/points.npy",
    "my points.npy",
    "été.npy",
    "a=b.npy",
    "a,b.npy",
    "[a].npy",
    "{a}.npy",
    'a"b.npy',
    "a'b.npy",
    "(a)",
]


@pytest.mark.parametrize("value", VALUES)
def test_what_is_said_to_type_is_read_as_one_value(value: str) -> None:
    typed = shlex.split(quoted(f"dataset.path={value}"))  # what a shell makes of it
    assert len(typed) == 1
    (override,) = OverridesParser.create().parse_overrides(typed)
    assert override.value() == value


def test_an_option_that_cannot_be_read_says_how_to_quote_it() -> None:
    with pytest.raises(OverrideParseException) as caught:
        compose("train_flow", ["dataset=array", "dataset.path=~/a.npy"])
    assert explain(caught.value).endswith("""If it is one value, type 'dataset.path="~/a.npy"'.""")


def test_home_folders_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "my été=1.npy", np.random.default_rng(0).normal(size=(200, 3)))
    config = compose("train_flow", ["dataset=array", 'dataset.path="~/my été=1.npy"', 'paths.data="~/data"'])
    assert config.dataset.path == str(tmp_path / "my été=1.npy") and config.dataset.dim == 3  # type: ignore[union-attr]
    assert config.paths.data == str(tmp_path / "data")


def test_an_empty_path_is_refused_and_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("paths.artifacts", "paths.data", "flow.weights", "vae.weights"):
        with pytest.raises(BadConfig, match=rf"{name} was to be a path, and is empty. Type {name}=PATH"):
            compose("train_flow", [f"{name}=''"])
    for value, folder in (("", "outputs/data"), ("  ", "outputs/data"), ("/elsewhere", "/elsewhere")):
        monkeypatch.setenv("GPOT_DATA", value)
        assert compose("train_flow", []).paths.data == folder
    monkeypatch.delenv("GPOT_DATA")
    assert compose("train_flow", []).paths.data == "outputs/data"


def test_an_empty_folder_of_released_models_is_not_the_current_one() -> None:
    for empty in ("", "''", "'  '"):
        with pytest.raises(BadConfig, match=r"is empty\. Type pretrained=null to train from nothing"):
            compose("train_flow", [f"pretrained={empty}"])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["gp.n_steps"], "The option gp.n_steps has no value. Type gp.n_steps=VALUE."),
        (["~gp"], "The group gp has no option. Type gp=OPTION, one of deep_ridge, mlp, ridge, "),
        (
            ["dataset=array", "dataset.path=none.npy"],
            "BadConfig: 'none.npy' was to hold points (n, d), and there is no such file. Check the path.\n"
            "On the command line: dataset.path=...",
        ),
    ],
)
def test_what_is_missing_is_said_without_the_words_of_the_parser(overrides: list[str], said: str) -> None:
    with pytest.raises((BadConfig, HydraException, OmegaConfBaseException)) as caught:
        compose("train_gp", overrides)
    text = explain(caught.value)
    assert text.startswith(said) and "full_key" not in text


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("gp=3", "The group gp has no option '3'. Type gp=OPTION, one of deep_ridge, mlp, ridge, "),
        ("dataset=null", "two_moons"),
        ("=3", "'=3', which names none. Type NAME=VALUE."),
        ("+=", "'+=', which names none. Type NAME=VALUE."),
    ],
)
def test_what_is_no_option_of_a_group_is_said(
    typed: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["train_gp.py", typed])
    assert not ends_well(lambda: bool(compose("train_gp", [typed])))
    assert said in (text := capsys.readouterr().err) and text.count("\n") == 1
