"""Say what was reproduced, how close, in how long: from the results in `paths.report`.

    gpot summary

Writes outputs/report/summary.md.
"""

from pathlib import Path

from rich.console import Console

from gpot.config import Config
from gpot.entry import entry
from gpot.report import summary
from gpot.report.page.results import read_results


@entry("report")
def main(config: Config) -> None:
    folder = Path(config.paths.report)
    payloads = read_results(folder)
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
