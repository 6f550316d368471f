"""The report page: one HTML file with every table and figure that has been made, printed beside reproduced.

    python scripts/page.py

Reads outputs/report and the artefacts that its results name; writes outputs/report/index.html. Trains nothing.
"""

from gpot.config import Config
from gpot.entry import entry
from gpot.stages.common import open_store
from gpot.stages.page import page_stage


@entry("page")
def main(config: Config) -> None:
    print(page_stage(config, open_store(config)))


if __name__ == "__main__":
    main()
