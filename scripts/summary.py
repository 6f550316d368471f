"""Say what was reproduced, how close, in how long: from the results in `paths.report`.

    python scripts/summary.py

Writes outputs/report/summary.md.
"""

import json
from pathlib import Path

from rich.console import Console

from gpot.config import Config
from gpot.entry import entry
from gpot.report import summary


@entry("report")
def main(config: Config) -> None:
    folder = Path(config.paths.report)
    found = {item: folder / f"{item}.json" for item in summary.ORDER}
    payloads = {item: json.loads(path.read_text()) for item, path in found.items() if path.is_file()}
    disk = sum(path.stat().st_size for path in Path(config.paths.artifacts).rglob("*") if path.is_file())
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.md").write_text(summary.markdown(payloads, disk))
    console = Console()
    console = Console(width=max(console.width, 150))
    console.print(summary.terminal(payloads))
    console.print(summary.closing(payloads, disk))
    print(folder / "summary.md")


if __name__ == "__main__":
    main()
