"""Reports for people on a terminal."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.engine.report import DONE, EntityReport, Report

from .console_details import show_account, show_entities, show_marts, show_push, show_statements

LEFT = {"watermark", "verdict"}
MOST_ROWS = 20
"""Rows from which on a table tells only of the entities in which something happened."""
NAMED = 6
"""Of the others, so many are named."""
REFUSED = "this key or plan may not read them (403, 404); insightly entities tells of each"
ROOMY, UNBROKEN = 100, 200
"""Characters in a line from which on a table has all its columns, and of one that no terminal breaks."""
SPARED = {"seconds", "watermark"}
"""What a sync tells on wide terminals alone."""
STYLES = {"ok": "green", "skipped": "yellow", "partial": "yellow", "failed": "red"}


def show(report: Report, account: str | None = None) -> None:
    """Prints a report as tables and one closing line, below the name of its account if it is one of several.

    Of a report of several accounts it prints the totals: each account's is printed as it comes.
    """
    console = _console()
    if account is not None:
        console.rule(f"[bold]{account}[/]", align="left")
    if "instances" in report.facts:
        console.rule(f"[bold]{len(report.facts['instances'])} accounts[/]", align="left")
        _close(console, report)
        return
    if report.command == "entities" and report.facts:
        show_entities(console, report)
        _close(console, report)
        return
    if report.command == "dashboard":
        console.print(f"[green]{escape(report.facts['export'])}[/] is written", soft_wrap=True)
        return
    if report.command == "push":
        show_push(console, report)
    marts = report.facts.get("marts", {})
    if any("sql" in mart for mart in marts.values()):
        show_statements(console, marts)
        return
    if report.entities and report.command in COLUMNS:
        table = _plan(report) if "plan" in report.facts else _runs(report, console.width < ROOMY)
        if table.row_count:
            console.print(table)
    if quiet := _quiet(report):
        console.print(_some(quiet, len(report.entities)), soft_wrap=True)
    for (state, reason), names in _reasons(report).items():
        console.print(f"[{STYLES[state]}]{', '.join(names)} {state}[/]: {escape(reason)}", soft_wrap=True)
    for name, entity in report.entities.items():
        for example in entity.facts.get("examples", ()):
            console.print(f"[red]{name}[/]: {escape(example)}", soft_wrap=True)
        for change in entity.schema_changes:
            console.print(f"[cyan]{name}[/]: {escape(change)}", soft_wrap=True)
    if marts:
        show_marts(console, marts)
    if report.command == "check" and report.facts:
        show_account(console, report)
    if report.command == "status" and report.facts:
        console.print(f"{escape(report.facts['destination'])}: account {escape(report.facts['account'] or 'unknown')}")
    _close(console, report)


def _close(console: Console, report: Report) -> None:
    if "plan" in report.facts:
        cost = report.facts["plan"]
        least = "" if report.status == DONE else "at least "
        console.print(
            f"a {report.command} would send {least}{cost['calls']:,} calls and take at least {cost['seconds']:,} s"
        )
    if (views := report.facts.get("all_accounts")) is not None:
        made = views["note"] or f"{views['views']:,} views over {', '.join(views['accounts'])}"
        console.print(f"{views['dataset']}: {escape(made)}", soft_wrap=True)
    left = "" if report.calls_left_today is None else f", {report.calls_left_today:,} left today"
    done = "" if report.status == DONE else f": {escape(report.reason or '')}"
    console.print(f"{report.status}{done} — {report.calls:,} calls{left}, {report.seconds:.1f} s", soft_wrap=True)


def _folds(report: Report) -> bool:
    return len(report.entities) > MOST_ROWS and report.command in ("sync", "sweep")


def _quiet(report: Report) -> list[str]:
    """The entities that a long table leaves out, for nothing became of them."""
    if not _folds(report) or "plan" in report.facts:
        return []
    told = report.entities.items()
    return [name for name, e in told if e.state == "ok" and not (e.merged or e.deleted or e.schema_changes)]


def _some(quiet: list[str], all_: int) -> str:
    """One line of those in which nothing happened; --json tells of each."""
    if len(quiet) == all_:
        return f"nothing new in any of {all_} entities"
    named, rest = quiet[:NAMED], len(quiet) - NAMED
    return f"nothing new in {', '.join(named)}" + (f" and {rest} more" if rest > 0 else "")


def _reasons(report: Report) -> dict[tuple[str, str], list[str]]:
    """Why entities did not go as they should, each reason once: a plan may lack many."""
    reasons = dict[tuple[str, str], list[str]]()
    for name, entity in report.entities.items():
        if entity.state in ("skipped", "failed", "partial") and entity.reason:
            many = len(report.entities) > MOST_ROWS and report.command in ("sync", "status")
            refused = entity.state == "skipped" and many
            reasons.setdefault((entity.state, REFUSED if refused else entity.reason), []).append(name)
    return reasons


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
        "synced": lambda entity: _age(entity.facts["last_complete_sync"]) + (" !" if entity.facts["stale"] else ""),
        "swept": lambda entity: _age(entity.facts["last_sweep"]),
        "verified": lambda entity: _age(entity.facts["last_verify"]),
        "watermark": lambda entity: (entity.watermark or "")[:16].replace("T", " "),
    },
}
"""What a command tells of each entity."""


def _console() -> Console:
    """The terminal, or lines long enough for any table where the output goes elsewhere."""
    console = Console()
    return console if console.is_terminal or os.environ.get("COLUMNS") else Console(width=UNBROKEN)


def _table() -> Table:
    table = Table(box=None)
    table.add_column("entity", overflow="fold")
    table.add_column("state")
    return table


def _runs(report: Report, narrow: bool) -> Table:
    spared = SPARED if narrow and report.command == "sync" else set()
    cells = {name: cell for name, cell in COLUMNS[report.command].items() if name not in spared}
    table = _table()
    for heading in cells:
        table.add_column(heading, justify="left" if heading in LEFT else "right")
    left_out = {*_quiet(report), *_reasons(report).get(("skipped", REFUSED), ())}
    for name, entity in report.entities.items():
        if name in left_out:
            continue
        state = f"[{STYLES[entity.state]}]{entity.state}[/]"
        table.add_row(name, state, *(cell(entity) for cell in cells.values()))
    return table


def _verdict(entity: EntityReport) -> str:
    if entity.facts["differences"]:
        return "[red]differs[/]"
    if entity.state != "ok":
        return ""
    return "[green]proved[/]" if entity.facts.get("proved") else "no difference"


def _age(moment: str | None) -> str:
    """How long ago that was, as short as it can be said: `3d 4h`, `2h 5m`, `12m`, `45s`."""
    if moment is None:
        return "never"
    seconds = int((datetime.now(UTC) - datetime.fromisoformat(moment)).total_seconds())
    if seconds < 60:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3_600, seconds // 86_400
    if hours < 1:
        return f"{minutes}m"
    return f"{hours}h {minutes % 60}m" if days < 1 else f"{days}d {hours % 24}h"


def _plan(report: Report) -> Table:
    table = _table()
    for heading in ("records", "pages", "calls"):
        table.add_column(heading, justify="right")
    for name, entity in report.entities.items():
        total = entity.facts.get("total")
        table.add_row(
            name,
            f"[{STYLES[entity.state]}]{entity.state}[/]",
            "" if total is None else f"{total:,}",
            f"{entity.facts['pages']:,}",
            f"{entity.calls:,}",
        )
    return table
