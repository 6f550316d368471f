"""Imports run one way: maths <- gp; third_party <- flows; then training, report <- stages <- scripts."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

LEAVES = {
    "gpot.notation",
    "gpot.constants",
    "gpot.errors",
    "gpot.jsonable",
    "gpot.lazy",
    "gpot.leftovers",
    "gpot.memory",
    "gpot.places",
}
BASE = {*LEAVES, "gpot.progress", "gpot.maths", "gpot.flows", "third_party"}

# What each part may import of the project, itself aside. A part that is not here is an error: give it a line.
MAY_IMPORT = {
    "gpot.notation": set(),
    "gpot.constants": {"gpot.notation"},
    "gpot.errors": set(),
    "gpot.jsonable": {"gpot.errors"},
    "gpot.lazy": set(),
    "gpot.leftovers": set(),
    "gpot.memory": set(),
    "gpot.places": set(),
    "gpot.progress": LEAVES,
    "gpot.store": LEAVES,
    "gpot.maths": LEAVES,
    "third_party": set(),
    "gpot.flows": {*LEAVES, "gpot.progress", "gpot.maths", "third_party"},
    "gpot.gp": {*LEAVES, "gpot.progress", "gpot.maths", "gpot.flows"},
    "gpot.evaluation": {*BASE, "gpot.gp"},
    "gpot.library": {*BASE, "gpot.gp", "gpot.evaluation", "gpot.plots", "gpot.data"},
    "gpot.between": {*BASE, "gpot.gp", "gpot.evaluation"},  # maps between two flows
    "gpot.uses": {*BASE, "gpot.gp", "gpot.between"},
    # choices of what is configured
    "gpot.config": {*BASE, "gpot.gp", "gpot.evaluation", "gpot.paper", "gpot.data", "gpot.store"},
    "gpot.data": {*BASE, "gpot.store"},
    "gpot.paper": {"gpot.errors"},
    "gpot.plots": {*LEAVES, "gpot.paper"},  # arrays to figures
    "gpot.tracking": {*LEAVES, "gpot.config", "gpot.paper", "gpot.store"},
    "gpot.report": {*BASE, "gpot.paper", "gpot.plots"},
}
MAY_IMPORT["gpot.training"] = {*MAY_IMPORT["gpot.config"], "gpot.config", "gpot.plots", "gpot.tracking"}
MAY_IMPORT["gpot.stages"] = set(MAY_IMPORT) - {"gpot.library", "gpot.between", "gpot.uses", "gpot.report"}
MAY_IMPORT["gpot.items"] = {*MAY_IMPORT["gpot.stages"], "gpot.report", "gpot.stages"}  # of the paper, from results
MAY_IMPORT["gpot"] = set(MAY_IMPORT)  # the public names, in gpot/__init__.py
MAY_IMPORT["gpot.sweeps"] = set(MAY_IMPORT)
# of the commands
MAY_IMPORT["gpot.entry"] = {"gpot.config", "gpot.errors", "gpot.memory", "gpot.places", "gpot.sweeps"}
MAY_IMPORT["gpot.commands"] = set(MAY_IMPORT)  # the console command, and what the scripts run
MAY_IMPORT["benchmarks"] = set(MAY_IMPORT)
MAY_IMPORT["scripts"] = set(MAY_IMPORT)

PURE = {"torch", "numpy"}  # all that gpot.maths may import from outside, with the standard library
FILES = sorted(path for top in ("gpot", "third_party", "scripts", "benchmarks") for path in (ROOT / top).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The part a module belongs to: `gpot.maths.charts` -> `gpot.maths`, `third_party.bnaf.model` -> `third_party`."""
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "gpot" else names[0]


def imported_modules(source: str, module: str, is_package: bool) -> set[str]:
    """Every module that a source imports, at any depth of its code; `from gpot import maths` counts as `gpot.maths`."""
    found: set[str] = set()
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            if origin == "gpot":
                is_part = [
                    (ROOT / "gpot" / a.name).is_dir() or (ROOT / "gpot" / f"{a.name}.py").is_file() for a in node.names
                ]
                found |= {f"gpot.{a.name}" if p else "gpot" for a, p in zip(node.names, is_part, strict=True)}
            else:
                found.add(origin)
    return found


def violations(source: str, module: str, is_package: bool = False) -> list[str]:
    part = part_of(module)
    if part not in MAY_IMPORT:
        return [f"{part} has no line in MAY_IMPORT"]
    wrong = []
    for name in sorted(imported_modules(source, module, is_package)):
        target = part_of(name)
        ours = target.split(".")[0] in ("gpot", "third_party", "scripts", "benchmarks", "tests")
        if ours and target != part and target not in MAY_IMPORT[part]:
            wrong.append(f"{module} imports {name}")
        if part == "gpot.maths" and not ours and name.split(".")[0] not in PURE | sys.stdlib_module_names:
            wrong.append(f"{module} imports {name}")
    return wrong


@pytest.mark.parametrize("path", FILES, ids=module_name)
def test_imports_run_one_way(path: Path):
    assert violations(path.read_text(encoding="utf-8"), module_name(path), path.name == "__init__.py") == []


def test_the_rule_itself_has_no_cycle():
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        free = [part for part, allowed in MAY_IMPORT.items() if part not in order and allowed - {part} <= set(order)]
        assert free, f"these allow one another in a circle: {set(MAY_IMPORT) - set(order)}"
        order += free
    assert order.index("gpot.maths") < order.index("gpot.gp") < order.index("gpot.stages") < order.index("scripts")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("gpot.maths.charts", "import lightning"),
        ("gpot.maths.charts", "def f():\n    from scipy import special"),
        ("gpot.maths.charts", "from gpot.gp.flow import x"),
        ("gpot.maths.charts", "from gpot import gp"),
        ("gpot.maths.charts", "from ..gp import flow"),
        ("gpot.maths", "from .. import gp"),
        ("gpot.gp.flow", "import gpot.training.gp"),
        ("gpot.gp.flow", "import third_party.bnaf"),
        ("gpot.flows.bnaf", "from gpot.gp import x"),
        ("gpot.training.gp", "from gpot.stages import gp"),
        ("gpot.evaluation.cost", "from gpot.stages.gp import x"),
        ("gpot.report.tables", "from gpot.stages import gp"),
        ("gpot.report.page.build", "from gpot.items import rows"),
        ("gpot.stages.gp", "from gpot.items import rows"),
        ("gpot.stages.gp", "import scripts.train_gp"),
        ("gpot.data.toy", "from tests.conftest import x"),
        ("third_party.bnaf.model", "from gpot.errors import BadInput"),
        ("third_party.bnaf.model", "import gpot"),
        ("gpot.unheard_of.x", ""),
    ],
)
def test_the_rule_finds(module: str, source: str):
    assert len(violations(source, module, is_package=module.count(".") == 1)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "gpot.maths.charts",
            "import math\nimport torch.special\nfrom gpot.errors import BadInput\nfrom .euler import x",
        ),
        ("gpot.gp.monge", "from gpot.flows.base import Flow\nfrom gpot.maths import charts"),
        ("gpot.stages.gp", "from gpot import maths\nfrom gpot.training.gp import x\nimport third_party.btcvae"),
    ],
)
def test_the_rule_allows(module: str, source: str):
    assert violations(source, module) == []
