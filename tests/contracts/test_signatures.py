"""What a function needs stands in its signature: a group of the config, not the whole of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

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
