"""The report page: one HTML file with every table and figure that has been made, printed beside reproduced.

    gpot page

Reads outputs/report alone, and writes outputs/report/index.html there.
"""

from pathlib import Path

from gpot.config import Config
from gpot.entry import entry
from gpot.report.page.build import write_page


@entry("page")
def main(config: Config) -> None:
    print(write_page(Path(config.paths.report)))


if __name__ == "__main__":
    main()
