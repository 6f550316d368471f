"""Summarize sweeps: mean and spread over seeds, and the plot that answers the question; from artefacts alone.

    gpot sweep-summary
    gpot sweep-summary outputs/multirun/lambda

Without a folder, every sweep in outputs/multirun. Writes outputs/report/sweeps/<name>.md, .csv, .json, .png and .pdf.
"""

import argparse
import sys
from pathlib import Path

from gpot.errors import BadInput, GpotError
from gpot.places import typed
from gpot.sweeps.summary import markdown, summarize, write_summary

SWEEPS, REPORT = Path("outputs/multirun"), Path("outputs/report/sweeps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, help=f"of sweeps; default: all in {SWEEPS}")
    parser.add_argument("--out", type=Path, default=REPORT, help="where the summaries go (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        folders = arguments.folders or sorted(path.parent for path in SWEEPS.glob("*/jobs"))
        if not folders:
            raise BadInput(f"no sweep has been run: {SWEEPS} has none. Run: {typed('evaluate')} -m sweep=lambda")
        for folder in folders:
            summary = summarize(folder)
            print(markdown(summary))
            print("\n".join(map(str, write_summary(summary, arguments.out))) + "\n")
    except GpotError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
