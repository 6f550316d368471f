"""What a function needs stands in its signature: a group of the config, not the whole of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

AT_MOST = 25  # the stages, what loads their results, and those that compose, check and report a config


def takes_the_config(source: str) -> Iterator[str]:
    """Names of the functions with an argument that is a whole `Config`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            annotations = [ast.unparse(a.annotation).replace("schema.", "") for a in arguments if a.annotation]
            if {"Config", "Config | None", "Optional[Config]"} & set(annotations):
                yield node.name


def test_few_functions_take_the_whole_config() -> None:
    # a command is what Hydra hands its config to
    files = sorted(path for path in (ROOT / "gpot").rglob("*.py") if path.parent.name != "commands")
    names = [f"{path.stem}.{name}" for path in files for name in takes_the_config(path.read_text(encoding="utf-8"))]
    assert "gp.gp_stage" in names, "the count sees them"
    assert len(names) <= AT_MOST, (
        f"{len(names)} functions take the whole config, {AT_MOST} are allowed: {', '.join(names)}. Take the groups "
        "that the function reads (config.gp, config.evaluate), or read bench.config in what builds a stage"
    )


def test_the_count_sees_arguments_of_any_kind() -> None:
    source = "def f(config: Config): ...\ndef g(*, c: schema.Config | None): ...\ndef h(gp: GpConfig, x: int): ..."
    assert list(takes_the_config(source)) == ["f", "g"]


def test_stages_are_wired_in_one_place() -> None:
    """Who wants a result asks `gpot.stages.pipeline` for it; codes of single rows are made where they are read."""
    wired = {"pipeline.py": None, "points.py": {"codes_stage"}}
    for path in sorted([*(ROOT / "gpot").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gpot.stages."):
                makers = {alias.name for alias in node.names if alias.name.endswith("_stage")}
                allowed = wired.get(path.name, set()) if path.parent.name == "stages" else set()
                assert allowed is None or makers <= allowed, f"{path}: take {makers} from Pipeline(config)"


@pytest.mark.parametrize("folder", ["gpot", "third_party"])
def test_no_module_is_longer_than_300_lines(folder: str) -> None:
    long = [str(p) for p in (ROOT / folder).rglob("*.py") if len(p.read_text(encoding="utf-8").splitlines()) > 300]
    assert long == [], "a module has one subject: make two of it"
