"""Errors below the command line speak Python; the entry point adds the options."""

from __future__ import annotations

import ast
import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from gpot.config.advice import OPTIONS
from gpot.config.schema import GROUPS, KINDS, Config, FamilyConfig, GpConfig
from gpot.entry import explain
from gpot.errors import BadInput, GpotError, OutsideCube
from gpot.gp.flow import GaussianPreservingFlow
from tests.conftest import ROOT

# Parts that know no config: whoever calls them types arguments
LOWER = (
    "maths", "gp", "flows", "evaluation", "library", "between", "uses", "data", "store", "plots", "paper", "report",
)  # fmt: skip
FILES = sorted(path for part in LOWER for path in (ROOT / "gpot" / part).rglob("*.py"))
OPTION_WORDS = re.compile(
    rf"\b({'|'.join(GROUPS)})=[a-z_]|"  # gp=ridge; in Python a value of text has quotes
    rf"\b({'|'.join([*GROUPS, 'evaluate', 'report', 'bounds'])})(\.\w+)+=|"
    r"\bscripts/\w+\.py|\b(dataset|paths|optimizer|penalty|evaluate)\.\w"
)


def texts(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of what is neither documentation nor code: constants, and the pieces of formatted ones."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.lineno, node.value


def option_words(source: str) -> list[str]:
    return [f"line {line}: {text}" for line, text in texts(source) if OPTION_WORDS.search(text)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT / "gpot")))
def test_the_lower_half_speaks_python(path: Path) -> None:
    if path.name in ("documents.py", "build.py"):
        pytest.skip("it says what to type to make a document or a page")
    assert option_words(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        'raise BadConfig("type gp.chart=gaussian")',
        'raise BadConfig(f"got {n}; take gp=ridge")',
        'x = f"see dataset.path: {p}"',
        'raise BadInput("run scripts/train_vae.py")',
        'x = "optimizer.gp.lr=1e-3"',
    ],
)
def test_the_rule_finds(source: str) -> None:
    assert len(option_words(source)) == 1


@pytest.mark.parametrize(
    "source",
    ["x = 'take chart=\"gaussian\"'", 'x = "type flow.to(x.dtype)"', '"""Of `gp.chart=cube`."""', 'x = f"seed={seed}"'],
)
def test_the_rule_allows(source: str) -> None:
    assert option_words(source) == []


def advised() -> Iterator[tuple[str, str]]:
    """File and argument of each piece of advice in the code."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for keyword in node.keywords if isinstance(node, ast.Call) else []:
                if keyword.arg == "advice":
                    for inner in ast.walk(keyword.value):
                        if isinstance(inner, ast.Dict):
                            yield from ((path.name, key.value) for key in inner.keys if isinstance(key, ast.Constant))


def test_every_argument_that_is_advised_has_an_option() -> None:
    names = {name for _, name in advised()}
    assert len(names) > 10 and names <= set(OPTIONS)
    for option in OPTIONS.values():
        assert exists(option), f"{option} is no option"


def exists(option: str) -> bool:
    """Whether some kind of the groups has the option."""
    first, *rest = option.split(".")
    owners: list[Any] = [GROUPS[first], *KINDS.get(first, {}).values()] if first in GROUPS else [Config]
    for name in rest:
        hints = [get_type_hints(owner) for owner in owners]
        kinds: list[Any] = [hint[name] for hint in hints if name in hint]
        owners = [each for kind in kinds for each in (kind, *get_args(kind)) if dataclasses.is_dataclass(each)]
        if FamilyConfig in owners:
            owners = [kind for kind in KINDS["gp"].values() if kind is not GpConfig]
        if not kinds:
            return False
    return True


def test_the_entry_point_adds_the_option() -> None:
    error = OutsideCube("3 left", advice={"GaussianPreservingFlow.n_steps": 30, "path": ..., "n_images": None})
    typed = "On the command line: gp.n_steps=30, dataset.path=..., dataset.n_images=null"
    assert explain(error) == f"OutsideCube: 3 left\n{typed}"
    wrapped = BadInput("no file")
    wrapped.__cause__ = error
    assert explain(wrapped).splitlines() == ["BadInput: no file", typed]
    assert "command line" not in str(error) and "command line" not in explain(GpotError("plain"))


def test_an_error_of_the_mathematics_reaches_the_user_with_its_option() -> None:
    with pytest.raises(GpotError) as caught:
        GaussianPreservingFlow("ridge", dim=3, n_steps=0)
    assert "n_steps=15" in str(caught.value) and "gp.n_steps" not in str(caught.value)
    assert explain(caught.value).endswith("On the command line: gp.n_steps=15")
