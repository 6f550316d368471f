"""Turn a trained flow into a Monge map, without changing its density.

    gpot monge flow.py:load points.csv
    gpot monge flow.py:load                          # from samples of the flow alone
    gpot monge flow.py:load points.parquet --columns alcohol,ash --standardized --out wine_map

`flow.py:load` names a flow, or a function without arguments that returns one, in a Python file or a module: of zuko,
nflows, normflows, Pyro, FrEIA, torchflows, a Module with forward and inverse, or a pair of functions (`gpot.fit`).

Writes the map and its report to the folder `--out`, for `gpot.load(folder, flow)`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from gpot.data.points import Standardization
from gpot.data.tables import READ, Table, read_table
from gpot.errors import BadInput, DataMissing, GpotError, GpotWarning


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GpotWarning)  # the report has them as notes
            return _run(options)
    except GpotError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    import gpot

    out = Path(options.out)
    if out.exists() and not (out / "manifest.json").is_file():
        raise BadInput(f"'{out}' is there and is no saved map; give a folder that is not there yet: --out")
    table = None if options.points is None else read_table(options.points, options.columns)
    standardization = options.standardized and Standardization.of(_needed(table).points)
    flow = named_flow(options.flow)
    fitted = gpot.fit(
        flow, None if table is None else table.points, cost=options.cost, velocity=options.velocity,
        steps=options.steps, seed=options.seed, time_limit=options.time_limit, device=options.device,
        source=options.source, standardized=standardization,
        columns=None if table is None else table.names, progress=not options.quiet,
    )  # fmt: skip
    report = fitted.report()
    folder = fitted.save(out)
    written: dict[str, Any] = {"flow": options.flow, "points": options.points, **report.as_dict()}
    if table is not None:
        written["columns"] = list(table.names)
        if not options.standardized:  # else the report has them
            print(_columns(table))
    (folder / "report.json").write_text(json.dumps(written, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(report)
    print(folder)
    return 0


def named_flow(name: str) -> Any:
    """The flow that `file.py:attribute` or `module:attribute` names; what is a function is called.

    Raises: DataMissing without the file or module; BadInput where the attribute is not there or cannot be called.
    """
    place, _, attribute = name.rpartition(":")
    if not place or not attribute:
        raise BadInput(f"a flow is named as file.py:function or module:function, and got '{name}'")
    module = _module(place)
    if not hasattr(module, attribute):
        known = [each for each in vars(module) if not each.startswith("_")]
        raise BadInput(f"'{place}' has no '{attribute}'; it has {', '.join(known[:20])}")
    found = getattr(module, attribute)
    if not (callable(found) and (isinstance(found, type) or type(found).__name__ == "function")):
        return found
    try:
        return found()
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise  # of its own code
        raise BadInput(f"'{name}' is called without arguments, and that is not possible: {error}") from None


def _module(place: str) -> Any:
    sys.path.insert(0, str(Path.cwd()))  # modules of the user's, beside the points
    if not place.endswith(".py"):
        try:
            return import_module(place)
        except ModuleNotFoundError as error:
            if error.name is not None and place.split(".")[0] != error.name.split(".")[0]:
                raise
            raise DataMissing(f"a flow was to be in the module '{place}', and there is none; a file ends in .py"
                              ) from None  # fmt: skip
    path = Path(place)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise DataMissing(f"a flow was to be in '{place}', and there is no such file. Check the path")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _needed(table: Table | None) -> Table:
    if table is None:
        raise BadInput("--standardized takes means and scales from data; give a file of points")
    return table


def _columns(table: Table) -> str:
    """The columns as they were read, so that a reader sees which are meant: name, mean, standard deviation."""
    width = max(6, *(len(name) for name in table.names))
    rows = zip(table.names, table.points.mean(0), table.points.std(0), strict=True)
    lines = [f"{'column':<{width}}  {'mean':>12}  {'std':>12}"]
    return "\n".join([*lines, *(f"{name:<{width}}  {mean:>12.6g}  {std:>12.6g}" for name, mean, std in rows), ""])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gpot monge", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("flow", help="file.py:name or module:name")
    parser.add_argument("points", nargs="?", help=f"data, a {READ} file; left out: samples of the flow")
    parser.add_argument("--columns", type=lambda text: text.split(","), help="of the file, by name: a,b,c")
    parser.add_argument("--standardized", action="store_true", help="the flow is of standardized columns, the file not")
    parser.add_argument("--out", default="monge", help="folder of the map (default: %(default)s)")
    parser.add_argument("--cost", help="l1, l1.5, l2, ... (default: squared distance)")
    parser.add_argument(
        "--velocity", default="auto", help="auto, ridge, deep_ridge, series, mlp, twist (default: %(default)s)"
    )
    parser.add_argument("--source", default="auto", choices=("auto", "prior", "data"), help="what to train on")
    parser.add_argument("--steps", type=int, help="of the training (default: of the velocity)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time-limit", type=float, help="seconds")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 (default: where the flow is)")
    parser.add_argument("--quiet", action="store_true", help="no progress")
    return parser


if __name__ == "__main__":
    sys.exit(main())
