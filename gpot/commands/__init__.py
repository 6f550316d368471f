"""The console command `gpot`: `gpot train-gp gp=ridge ...` is `python scripts/train_gp.py gp=ridge ...`.

Each command is a module of this package with a function `main`, which reads the command line as a script does.
`gpot monge` needs the library alone; the others need `gpot[experiments]`.
"""

from __future__ import annotations

import difflib
import sys
from importlib import import_module
from importlib.util import find_spec

# Command -> its line in the help
COMMANDS = {
    "monge": "turn a trained flow into a Monge map: gpot monge flow.py:load points.csv",
    "train-vae": "train the VAE of a dataset and encode its images",
    "train-flow": "train a normalizing flow",
    "train-gp": "train the Gaussian-preserving flow of a frozen flow",
    "evaluate": "measure a frozen flow with its GP flow; -m sweeps",
    "report": "reproduce a table or figure: gpot report experiment=table1",
    "page": "build the report page from what has been reproduced",
    "summary": "say what was reproduced, how close, in how long",
    "search": "search for hyper-parameters",
    "sweep-summary": "summarize sweeps",
    "wandb-dashboard": "create the W&B workspace and report",
}
_HELP = ("-h", "--help", "help")


def usage() -> str:
    lines = [f"  gpot {name:<16} {text}" for name, text in COMMANDS.items()]
    return "\n".join(["usage: gpot COMMAND [OPTIONS]; gpot COMMAND --help says more", "", *lines])


def main() -> None:
    """Run the command that the first argument names, with the others as its command line."""
    name, rest = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("help", [])
    if name in _HELP:
        print(usage())
        return
    if name == "--version":
        from gpot import __version__

        print(__version__)
        return
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        meant = f" Did you mean 'gpot {near[0]}'?" if near else ""
        print(f"gpot has no command '{name}'.{meant}\n\n{usage()}", file=sys.stderr)
        sys.exit(2)
    if name != "monge" and (missing := missing_packages()):
        print(
            f"gpot {name} runs experiments, and these packages are not installed: {', '.join(missing)}. "
            "Type: pip install 'gpot[experiments]'",
            file=sys.stderr,
        )
        sys.exit(1)
    module = import_module(f"gpot.commands.{name.replace('-', '_')}")
    # as if the module were a script: Hydra and argparse read the rest, and a process that starts it anew finds the file
    sys.argv = [str(module.__file__), *rest]
    sys.exit(module.main())


_IMPORTED = {"hydra-core": "hydra", "lightning": "lightning", "omegaconf": "omegaconf", "matplotlib": "matplotlib"}


def missing_packages() -> list[str]:
    """Of the packages that every experiment imports, those that are not there."""
    return [package for package, name in _IMPORTED.items() if find_spec(name) is None]
