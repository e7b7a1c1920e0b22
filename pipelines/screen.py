"""Reports for people on a terminal."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .push.shown import show_push
from .report import DONE, EntityReport, Report

LEFT = {"watermark", "verdict"}
STYLES = {"ok": "green", "skipped": "yellow", "partial": "yellow", "failed": "red"}


def show(report: Report, account: str | None = None) -> None:
    """Prints a report as tables and one closing line, below the name of its account if it is one of several.

    Of a report of several accounts it prints the totals: each account's is printed as it comes.
    """
    console = Console()
    if account is not None:
        console.rule(f"[bold]{account}[/]", align="left")
    if "instances" in report.facts:
        console.rule(f"[bold]{len(report.facts['instances'])} accounts[/]", align="left")
        _close(console, report)
        return
    if report.command == "entities":
        _entities(console, report)
        return
    if report.command == "push":
        show_push(console, report)
    if report.entities and report.command in COLUMNS:
        console.print(_plan(report) if "plan" in report.facts else _runs(report))
    for name, entity in report.entities.items():
        if entity.state in ("skipped", "failed", "partial") and entity.reason:
            console.print(f"[{STYLES[entity.state]}]{name} {entity.state}[/]: {escape(entity.reason)}", soft_wrap=True)
        for example in entity.facts.get("examples", ()):
            console.print(f"[red]{name}[/]: {escape(example)}", soft_wrap=True)
        for change in entity.schema_changes:
            console.print(f"[cyan]{name}[/]: {escape(change)}", soft_wrap=True)
    if report.command == "check" and report.facts:
        _check(console, report)
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


def _runs(report: Report) -> Table:
    cells = COLUMNS[report.command]
    table = Table("entity", "state", title=None, box=None)
    for heading in cells:
        table.add_column(heading, justify="left" if heading in LEFT else "right")
    for name, entity in report.entities.items():
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
    table = Table("entity", "state", box=None)
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


def _entities(console: Console, report: Report) -> None:
    table = Table(box=None)
    for heading in ("entity", "path", "key", "reads changes", "can", "loaded"):
        table.add_column(heading, overflow="fold")
    for name, facts in report.facts["table"].items():
        table.add_row(
            name,
            facts["path"],
            ", ".join(facts["key"]),
            "yes" if facts["cursor"] else "",
            "".join(ability[0].upper() for ability in facts["can"]),
            "yes" if facts["loaded"] else "not yet",
        )
    console.print(table)
    console.print("can: S search, G get by id, C create, U update, D delete; --json tells child tables and cursors too")


def _check(console: Console, report: Report) -> None:
    account, user = report.facts["account"] or {}, report.facts["user"] or {}
    console.print(f"address   {report.facts['url']}")
    plan = account.get("PLAN_NAME", "unknown")
    known = f"{account.get('INSTANCE_NAME', 'may not be read')} ({account.get('INSTANCE_SUBDOMAIN', '')}), plan {plan}"
    console.print(f"account   {escape(known)}")
    name = f"{user.get('FIRST_NAME') or ''} {user.get('LAST_NAME') or ''}".strip() or "may not be read"
    admin = ", administrator" if user.get("ADMINISTRATOR") else ""
    known = f"{name} <{user.get('EMAIL_ADDRESS') or ''}>, id {user.get('USER_ID') or 'unknown'}"
    console.print(f"user      {escape(known)}{admin}")
    rows = (report.facts["permissions"] or {}).get("OBJECT_PERMISSIONS") or []
    hidden = sorted(str(row.get("OBJECT_TYPE")) for row in rows if not row.get("CAN_READ"))
    console.print(
        f"may read  {len(rows) - len(hidden)} of {len(rows)} object types"
        + (f", not {', '.join(hidden)}" if hidden else "")
    )
