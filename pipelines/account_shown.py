"""What a key reaches, for people on a terminal: the account, and the table of entities."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .report import Report

READABLE = {True: "[green]yes[/]", False: "[yellow]no[/]", None: ""}


def show_entities(console: Console, report: Report) -> None:
    """Prints the table of entities, and which of them this key may read."""
    table = Table(box=None)
    for heading in ("entity", "path", "key", "reads changes", "can", "preset", "readable"):
        table.add_column(heading, overflow="fold")
    for name, facts in report.facts["table"].items():
        table.add_row(
            name,
            facts["path"],
            ", ".join(facts["key"]),
            "yes" if facts["cursor"] else "",
            "".join(ability[0].upper() for ability in facts["can"]),
            next(iter(facts["presets"]), "by name" if facts["loadable"] else ""),
            READABLE[report.entities[name].facts["readable"]],
        )
    console.print(table)
    told = dict[str, list[str]]()
    for name, entity in report.entities.items():
        if entity.reason:
            told.setdefault(entity.reason, []).append(name)
    for reason, names in told.items():
        which = ", ".join(names) if len(names) < len(report.entities) else "readable"
        console.print(f"{which}: {escape(reason)}", soft_wrap=True)
    console.print("can: S search, G get by id, C create, U update, D delete; --json tells child tables and cursors too")


def show_account(console: Console, report: Report) -> None:
    """Prints whose account it is, who reads it, and what may be read."""
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
