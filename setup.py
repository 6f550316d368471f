"""How a wheel is laid out: everything below `gpot/`. `pyproject.toml` says the rest.

In the repository `third_party/`, `configs/` and `pretrained/` stand beside `gpot/`; in a wheel they are
`gpot/_third_party/`, `gpot/configs/` and `gpot/pretrained/`, so that nothing else of ours lies in a site-packages.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel

ROOT = Path(__file__).resolve().parent
MOVED = {
    "third_party": "_third_party",
    "configs": "configs",
    "pretrained": "pretrained",
}  # in the repository -> in gpot/
IMPORT = re.compile(r"^(\s*(?:from|import)) third_party\b", re.MULTILINE)


class BuildPackage(build_py):
    """Copies what stands beside `gpot/` into it, and renames the imports of `third_party` in the copies."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        package = Path(self.build_lib) / "gpot"
        for here, there in MOVED.items():
            shutil.rmtree(package / there, ignore_errors=True)
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(ROOT / here, package / there, ignore=ignored)
        for path in package.rglob("*.py"):
            source = path.read_text(encoding="utf-8")
            renamed = IMPORT.sub(r"\1 gpot._third_party", source)
            if renamed != source:
                path.write_text(renamed, encoding="utf-8")


class EditableWheel(editable_wheel):
    """An editable installation reads the repository as it is, with its `third_party`."""

    def run(self) -> None:
        self.distribution.packages += find_packages(str(ROOT), include=["third_party*"])
        super().run()


setup(cmdclass={"build_py": BuildPackage, "editable_wheel": EditableWheel})
