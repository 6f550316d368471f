"""What README.md and docs/guide.md tell a reader to type exists, composes and runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import gpot
from gpot.config import CONFIGS, compose
from gpot.data.toy import DENSITIES
from tests.conftest import ROOT

README = (ROOT / "docs" / "templates" / "README.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs" / "templates" / "guide.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("  #")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README + GUIDE, re.DOTALL)
    for line in block.splitlines()
]


def test_there_are_commands() -> None:
    assert sum(command.startswith("make ") for command in COMMANDS) >= 4
    assert sum("scripts/" in command for command in COMMANDS) >= 4


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("make ")])
def test_make_targets_exist(command: str) -> None:
    target, *settings = shlex.split(command)[1:]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:.*##", makefile, re.MULTILINE), target
    for setting in settings:
        assert re.search(rf"^{setting.split('=')[0]} \?=", makefile, re.MULTILINE), setting


@pytest.mark.parametrize("command", [c for c in COMMANDS if "scripts/" in c and ".npy" not in c])
def test_script_commands_compose(command: str) -> None:
    script, *arguments = shlex.split(command)[1:]
    assert (ROOT / script).is_file()
    # of a sweep the first job; a device and files that this machine need not have are left out
    overrides = [a.split(",")[0] for a in arguments if a != "-m" and ".safetensors" not in a]
    compose(script.removeprefix("scripts/").removesuffix(".py"), overrides)


def test_group_options_in_the_table_exist() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([^|]+) \|", GUIDE, re.MULTILINE)
    assert len(rows) >= 7
    for groups, options in rows:
        named = set(re.findall(r"`(\w+)`", options))
        found = {path.stem for group in re.findall(r"`(\w+)`", groups) for path in (CONFIGS / group).glob("*.yaml")}
        assert named == found | (set(DENSITIES) if "`dataset`" in groups else set()), groups


class Whitening(nn.Module):
    """An affine flow, for the example: z = A x."""

    dim = 3

    def __init__(self) -> None:
        super().__init__()
        self.matrix = nn.Parameter(torch.randn(3, 3) + 2 * torch.eye(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return x @ self.matrix.T, torch.linalg.slogdet(self.matrix)[1].expand(len(x))

    def inverse(self, z: Tensor) -> Tensor:
        return torch.linalg.solve(self.matrix, z.T).T


def test_python_example_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    monkeypatch.chdir(tmp_path)
    flow = Whitening()
    small = "gpot.fit(flow, steps=4, n_prior=200, batch=50, progress=False)"
    text = re.sub(r"^flow = \.\.\..*$", "", code.group(1), flags=re.MULTILINE).replace("gpot.fit(flow)  ", small + "  ")
    scope: dict[str, Any] = {"flow": flow, "x": flow.inverse(torch.randn(20, 3)).detach()}
    exec(text, scope)  # the README's own words
    printed = capsys.readouterr().out
    assert "cost after rotation" in printed and "exchange certificate" in printed
    assert scope["z"].shape == (20, 3)
    again = gpot.load("monge", flow)
    torch.testing.assert_close(again.forward(scope["x"])[1], scope["log_det"])
