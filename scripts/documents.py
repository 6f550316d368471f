"""Write README.md, docs/*.md and pretrained/README.md again from their templates and from what was measured.

    python scripts/documents.py            # copy the results below outputs/ into docs/numbers, and write the documents
    python scripts/documents.py --render   # write the documents from docs/numbers as it is
    python scripts/documents.py --check    # say which documents differ from that, and end with status 1 if any does

Results are what `make reproduce` (also with MODELS=authors), `make sweep-summary`, `make bench`, `make bench-libraries`
and `make figures` leave in outputs/report, outputs/bench and outputs/figures. Those of another budget than quick are
left out: documents show what a reader gets. How the released models were trained is in their manifests. The model card,
pretrained/README.md, is one of the documents.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gpot.errors import GpotError
from gpot.items.released import released_models
from gpot.report.documents import documents, stale, templates, typed_numbers
from gpot.training.history import HISTORY

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = ROOT / "docs" / "numbers"
# folder below outputs/ -> what the names of its results start with in docs/numbers
SOURCES = {
    "report": "", "report/authors": "authors_", "report/sweeps": "sweep_", "bench": "bench_", "figures": "",
    "faults": "",
}  # fmt: skip
BUDGET = "quick"


def collect(outputs: Path) -> list[Path]:
    """Copy the results below a folder to docs/numbers. Returns the files that were written."""
    paths = []
    for folder, prefix in SOURCES.items():
        for path in sorted((outputs / folder).glob("*.json")):
            result = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(result, dict) and result.get("budget", BUDGET) != BUDGET:
                print(f"left out, budget {result['budget']}: {path}")
                continue
            paths.append(_write(f"{prefix}{path.stem}", result))
    return paths


def released_vaes(pretrained: Path) -> dict[str, Any]:
    """Dataset -> how its released VAE was trained: settings, steps, seconds, and the reconstruction of validation
    images (nats) at equal distances from the first to the last epoch, where its history is there."""
    by_dataset = {}
    for path in sorted((pretrained / "vae").glob("*/manifest.json")):
        manifest = json.loads(path.read_text(encoding="utf-8"))
        settings = {key: manifest["config"][key] for key in ("vae", "optimizer")}
        history = path.parent / HISTORY
        rows = json.loads(history.read_text(encoding="utf-8")) if history.is_file() else []
        by_dataset[manifest["config"]["dataset"]["name"]] = {
            **settings, "steps": manifest["metrics"].get("steps"), "duration": manifest["duration"],
            "reconstruction": [row["val/reconstruction"] for row in rows],
        }  # fmt: skip
    return by_dataset


def _write(name: str, result: Any) -> Path:
    target = NUMBERS / f"{name}.json"
    target.write_text(json.dumps(result, indent=1, allow_nan=False, sort_keys=True) + "\n", encoding="utf-8")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="use docs/numbers as it is")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 for what differs or was typed")
    parser.add_argument("--outputs", type=Path, default=ROOT / "outputs", help="of the commands (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        if arguments.check:
            differing = stale(ROOT)
            for path in differing:
                print(f"{path.relative_to(ROOT)} is not what its template and docs/numbers say. Run: make numbers")
            typed = {path: typed_numbers(path.read_text(encoding="utf-8")) for path in templates(ROOT)}
            for path, found in typed.items():
                for number in found:
                    print(f"{path.relative_to(ROOT)} has a number that nothing has measured: {number}")
            sys.exit(1 if differing or any(typed.values()) else 0)
        NUMBERS.mkdir(parents=True, exist_ok=True)
        if not arguments.render:
            models = {"models": released_models(ROOT / "pretrained")}
            vaes = released_vaes(ROOT / "pretrained")
            for path in [*collect(arguments.outputs), _write("released_vae", vaes), _write("released", models)]:
                print(path.relative_to(ROOT))
        for path, text in documents(ROOT).items():
            path.write_text(text, encoding="utf-8")
            print(path.relative_to(ROOT))
    except GpotError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
