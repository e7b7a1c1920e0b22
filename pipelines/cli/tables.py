"""Reports as tables for a terminal."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import markup
from rich.table import Table

from pipelines.engine.report import EntityReport, Report
from sources.insightly.errors import clean

STYLES = {
    **dict.fromkeys(("ok", "created", "written"), "green"),
    **dict.fromkeys(("skipped", "partial"), "yellow"),
    "failed": "red",
}
FRESH = "fresh"
"""Column of `status --max-age`."""
LEFT = {"watermark", "verdict", FRESH}
WIDE_ONLY = {"seconds", "watermark"}
"""Columns of a sync or a status that only a wide terminal shows."""

Cell = Callable[[EntityReport], str]
COLUMNS: Mapping[str, Mapping[str, Cell]] = {
    "sync": {
        "rows": lambda entity: f"{entity.rows:,}",
        "written": lambda entity: f"{entity.merged:,}",
        "deleted": lambda entity: f"{entity.deleted:,}",
        "calls": lambda entity: f"{entity.calls:,}",
        "seconds": lambda entity: f"{entity.seconds:.1f}",
        "watermark": lambda entity: entity.watermark or "",
    },
    "sweep": {
        "ids read": lambda entity: f"{entity.rows:,}",
        "deleted": lambda entity: f"{entity.deleted:,}",
        "read again": lambda entity: f"{entity.merged:,}",
        "calls": lambda entity: f"{entity.calls:,}",
        "seconds": lambda entity: f"{entity.seconds:.1f}",
    },
    "verify": {
        "ids": lambda entity: f"{entity.facts['ids']:,}",
        "compared": lambda entity: f"{entity.facts['compared']:,}",
        "newer": lambda entity: f"{entity.facts['newer']:,}",
        "different": lambda entity: f"{entity.facts['differences']:,}",
        "calls": lambda entity: f"{entity.calls:,}",
        "verdict": lambda entity: _verdict(entity),
    },
    "status": {
        "rows": lambda entity: f"{entity.rows:,}",
        "synced": lambda entity: age(entity.facts["last_complete_sync"]),
        FRESH: lambda entity: _fresh(entity),
        "swept": lambda entity: age(entity.facts["last_sweep"]),
        "verified": lambda entity: age(entity.facts["last_verify"]),
        "watermark": lambda entity: (entity.watermark or "")[:16].replace("T", " "),
    },
}
"""The columns of each command."""
PLAN_COLUMNS: Mapping[str, Cell] = {
    "records": lambda entity: "" if entity.facts.get("total") is None else f"{entity.facts['total']:,}",
    "pages": lambda entity: f"{entity.facts['pages']:,}",
    "calls": lambda entity: f"{entity.calls:,}",
}


def escape(text: str) -> str:
    """Any text as markup that prints as it is, without secrets and control characters."""
    return markup.escape(clean(text))


def table(headings: Iterable[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> Table:
    """Builds a table.

    Args:
        headings: one a column.
        rows: cells as markup.
        right: headings of the columns with numbers.
    """
    built = Table(box=None)
    for heading in headings:
        built.add_column(heading, overflow="fold", justify="right" if heading in right else "left")
    for row in rows:
        built.add_row(*row)
    return built


def styled(state: str) -> str:
    """A state in its color."""
    return f"[{STYLES[state]}]{state}[/]"


def runs_table(report: Report, narrow: bool, hidden: Collection[str] = ()) -> Table:
    """One row per entity: what a sync, sweep, verify or status did or found, or what a plan estimates.

    Args:
        report: of one of the commands in `COLUMNS`.
        narrow: whether to leave out the columns that need a wide terminal.
        hidden: entities to leave out.
    """
    columns = PLAN_COLUMNS if "plan" in report.facts else COLUMNS[report.command]
    left_out = set(WIDE_ONLY) if narrow and report.command in ("sync", "status") else set[str]()
    if report.facts.get("max_age_seconds") is None:
        left_out.add(FRESH)
    columns = {name: cell for name, cell in columns.items() if name not in left_out}
    rows = [
        (name, styled(entity.state), *(cell(entity) for cell in columns.values()))
        for name, entity in report.entities.items()
        if name not in hidden
    ]
    return table(("entity", "state", *columns), rows, right=columns.keys() - LEFT)


def entities_table(report: Report, narrow: bool) -> Table:
    """One row per entity: how it can be loaded, and whether this key can read it; its path and key if not narrow."""
    readable = {True: "[green]yes[/]", False: "[yellow]no[/]", None: ""}
    rows = [
        (
            name,
            *(() if narrow else (entity["path"], ", ".join(entity["key"]))),
            "yes" if entity["cursor"] else "",
            "".join(ability[0].upper() for ability in entity["can"]),
            next(iter(entity["presets"]), "by name" if entity["loadable"] else ""),
            readable[report.entities[name].facts["readable"]],
        )
        for name, entity in report.facts["table"].items()
    ]
    places = () if narrow else ("path", "key")
    return table(("entity", *places, "incremental", "can", "preset", "readable"), rows)


def marts_table(marts: Mapping[str, Mapping[str, Any]], narrow: bool = False) -> Table:
    """One row per mart: its state, and its number of rows and, if not narrow, its view; or its model for dbt."""
    if any("model" in mart for mart in marts.values()):
        models = [(name, styled(mart["state"]), escape(mart["model"] or "")) for name, mart in marts.items()]
        return table(("mart", "state", "model"), models)
    rows = [
        (
            name,
            styled(mart["state"]),
            "" if mart["rows"] is None else f"{mart['rows']:,}",
            *(() if narrow else (escape(mart["view"] or ""),)),
        )
        for name, mart in marts.items()
    ]
    return table(("mart", "state", "rows", *(() if narrow else ("view",))), rows, right=("rows",))


def _verdict(entity: EntityReport) -> str:
    if entity.facts["differences"]:
        return "[red]differs[/]"
    if entity.state != "ok":
        return ""
    return "[green]proved[/]" if entity.facts.get("proved") else "no difference"


def _fresh(entity: EntityReport) -> str:
    if entity.facts["stale"]:
        return "[red]stale[/]"
    return "[green]fresh[/]" if entity.facts["last_complete_sync"] else ""


def age(timestamp: str | None) -> str:
    """The time since an ISO timestamp: `3d 4h`, `2h 5m`, `12m`, `45s`, or `never`."""
    if timestamp is None:
        return "never"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(timestamp)).total_seconds())
    if seconds < 60:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if hours < 1:
        return f"{minutes}m"
    return f"{hours}h {minutes % 60}m" if days < 1 else f"{days}d {hours % 24}h"
