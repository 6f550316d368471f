"""Where files that are not code lie, and what a user types: beside `gpot/` in a checkout, within it in a wheel."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSTALLED = (PACKAGE / "configs").is_dir()  # from a wheel; `setup.py` lays it out
CONFIGS = (PACKAGE if INSTALLED else PACKAGE.parent) / "configs"
RELEASED = "pretrained"  # the default of the option `pretrained`


def released(folder: str | None) -> Path | None:
    """The folder of released artefacts that the option `pretrained` names; None for none.

    The default is the one that came with a wheel, where none of that name is in the current folder.
    """
    if folder is None:
        return None
    carried = PACKAGE / RELEASED
    return carried if folder == RELEASED and not Path(folder).is_dir() and carried.is_dir() else Path(folder)


def typed(script: str) -> str:
    """What starts a script: `python scripts/train_gp.py` in a checkout, `gpot train-gp` where a wheel is installed."""
    return f"gpot {script.replace('_', '-')}" if INSTALLED else f"python scripts/{script}.py"
