"""Reproduce a table of the paper, from data to the written page; makes whatever is missing.

    python scripts/report.py experiment=table1 budget=quick

Writes outputs/report/table1.md, .tex, .csv and .json.
"""

from gpot.commands.report import main

if __name__ == "__main__":
    main()
