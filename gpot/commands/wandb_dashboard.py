"""Create the W&B workspace and report of the project, or bring them up to date.

    gpot wandb-dashboard --dry-run            # writes outputs/wandb/dashboard.json and sends nothing
    gpot wandb-dashboard --entity my-team     # needs an API key (wandb login)
    gpot wandb-dashboard --check              # names in the offline runs against those of the dashboard

Without an API key it is a dry run.
"""

import argparse
import json
import sys
from pathlib import Path

from gpot.errors import BadInput, GpotError
from gpot.places import typed
from gpot.tracking.dashboard.build import specification, upload
from gpot.tracking.dashboard.check import compare
from gpot.tracking.offline_run import read_runs
from gpot.tracking.wandb_logger import default_entity, has_key


def dry_run(entity: str, project: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "dashboard.json"
    text = json.dumps(specification(entity, project), indent=2, ensure_ascii=False)
    file.write_text(text + "\n", encoding="utf-8")
    print(file)


def check(folder: Path) -> int:
    runs = read_runs(folder)
    if not runs:
        raise BadInput(f"no offline run is in {folder}. Type: {typed('train_gp')} logger=wandb logger.mode=offline")
    compared = compare(runs)
    print("\n".join(each.text for each in compared))
    return int(any(each.missing or each.unknown for each in compared))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entity", help="user or team that owns the project; yours if left out")
    parser.add_argument("--project", default="gpot")
    parser.add_argument("--folder", type=Path, default=Path("outputs/wandb"), help="of W&B's offline runs")
    parser.add_argument("--dry-run", action="store_true", help="write the specification as JSON, send nothing")
    parser.add_argument("--check", action="store_true", help="compare the names in the offline runs")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            return check(options.folder)
        if options.dry_run or not has_key():
            if not options.dry_run:
                print("no API key (wandb login): the specification is written, and nothing is sent", file=sys.stderr)
            dry_run(options.entity or "ENTITY", options.project, options.folder)
            return 0
        entity = options.entity or default_entity()
        addresses = upload(entity, options.project, options.folder / "dashboard_addresses.json")
        print(addresses["workspace"], addresses["report"], sep="\n")
        return 0
    except GpotError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
