"""The workspace and the report as W&B has them, their specification as JSON, and their upload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

from gpot.tracking import names as logged
from gpot.tracking.dashboard.layout import Part, names_of, parts, settings_of

TITLE = "gpot: normalizing flows made Monge maps"
_COLUMNS = ("stage", "dataset", "flow", "gp", "penalty", "lambda", "seed", "budget")


def workspace(entity: str, project: str) -> ws.Workspace:
    """The workspace: all runs of the project, a section per part."""
    return ws.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        sections=sections(),
        settings=ws.WorkspaceSettings(x_axis=logged.GLOBAL_STEP, max_runs=30),
        runset_settings=ws.RunsetSettings(pinned_columns=[f"config:{name}.value" for name in _COLUMNS]),
    )


def sections() -> list[ws.Section]:
    return [ws.Section(name=part.title, panels=list(part.panels), is_open=True) for part in parts()]


def report(entity: str, project: str) -> wr.Report:
    """The report: the same panels with words, each grid over the runs of its own stages."""
    text = "Made by scripts/wandb_dashboard.py from the names in gpot/tracking/names.py; changes by hand are lost."
    return wr.Report(
        entity=entity,
        project=project,
        title=TITLE,
        description=text,
        width="fluid",
        blocks=blocks(),
    )


def blocks() -> list[Any]:
    content: list[Any] = [wr.TableOfContents()]
    for part in parts():
        content += [wr.H1(part.title), wr.P(part.text), _grid(part)]
    return content


def _grid(part: Part) -> wr.PanelGrid:
    # without entity and project: of the report's own project, which then need not exist to write the specification
    runs = [wr.Runset(name=f"stage {stage}", filters=f"Config('stage') = '{stage}'") for stage in part.stages]
    return wr.PanelGrid(runsets=runs, panels=list(part.panels))


def specification(entity: str, project: str) -> dict[str, Any]:
    """All that is sent to W&B, with numbers in place of W&B's random identities, and the names that it counts on."""
    panels = [panel for part in parts() for panel in part.panels]
    view, page = workspace(entity, project)._to_model(), report(entity, project)._to_model()
    everything = {
        "title": TITLE,
        "entity": entity,
        "project": project,
        "names": sorted(names_of(panels)),
        "settings": sorted(settings_of(panels) | {"stage"}),
        "workspace": json.loads(view.spec.model_dump_json(by_alias=True, exclude_none=True)),
        "report": json.loads(page.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }
    numbered: dict[str, Any] = _numbered(everything, {})
    return numbered


def _numbered(value: Any, numbers: dict[str, str]) -> Any:
    """The same specification gives the same file."""
    if isinstance(value, dict):
        return {
            key: numbers.setdefault(item, f"id{len(numbers)}")
            if key in ("id", "__id__") and isinstance(item, str) and item
            else _numbered(item, numbers)
            for key, item in value.items()
        }
    return [_numbered(item, numbers) for item in value] if isinstance(value, list) else value


def upload(entity: str, project: str, known: Path) -> dict[str, str]:
    """Create workspace and report, or bring those up to date whose addresses are in the file `known`. Returns the
    addresses, and writes them there."""
    before: dict[str, str] = json.loads(known.read_text(encoding="utf-8")) if known.is_file() else {}
    place = f"{entity}/{project}"
    if before.get("place") == place:
        view, page = ws.Workspace.from_url(before["workspace"]), wr.Report.from_url(before["report"])
        view.sections, page.blocks = sections(), blocks()
    else:
        view, page = workspace(entity, project), report(entity, project)
    view.save()
    page.save()
    addresses = {"place": place, "workspace": view.url, "report": page.url}
    known.parent.mkdir(parents=True, exist_ok=True)
    known.write_text(json.dumps(addresses, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    return addresses
