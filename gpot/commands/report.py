"""Reproduce a table of the paper, from data to the written page; makes whatever is missing.

    gpot report experiment=table1 budget=quick

Writes outputs/report/table1.md, .tex, .csv and .json.
"""

from gpot.config import Config
from gpot.entry import entry
from gpot.items.report import report_item
from gpot.stages.stage import open_workshop


@entry("report")
def main(config: Config) -> None:
    for path in report_item(config, open_workshop(config)):
        print(path)


if __name__ == "__main__":
    main()
