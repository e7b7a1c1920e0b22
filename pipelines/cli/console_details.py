"""Tables for single commands: check, entities, marts and push."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipelines.engine.report import Report
from pipelines.push.plan import SHOWN, Plan

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


STYLES = {"made": "green", "skipped": "yellow", "failed": "red"}
Marts = Mapping[str, Mapping[str, Any]]


def show_marts(console: Console, marts: Marts) -> None:
    """Prints the views that were made, and why others were not."""
    table = Table("mart", "state", box=None)
    table.add_column("rows", justify="right")
    table.add_column("view")
    for name, mart in marts.items():
        rows = "" if mart["rows"] is None else f"{mart['rows']:,}"
        table.add_row(name, f"[{STYLES[mart['state']]}]{mart['state']}[/]", rows, escape(mart["view"] or ""))
    console.print(table)
    for name, mart in marts.items():
        if mart["reason"]:
            reason = escape(mart["reason"])
            console.print(f"[{STYLES[mart['state']]}]{name} {mart['state']}[/]: {reason}", soft_wrap=True)
        elif mart["without"]:
            console.print(f"{name}: without {', '.join(mart['without'])}", soft_wrap=True)


def show_statements(console: Console, marts: Marts) -> None:
    """Prints SQL as it can be piped to a client: what a mart answers is a comment."""
    for mart in marts.values():
        told = f"-- {mart['answers']}\n{mart['sql']};\n" if mart["sql"] else f"-- left out: {mart['reason']}\n"
        console.print(told, markup=False, highlight=False, soft_wrap=True)


def show_plan(console: Console, entity: str, plan: Plan) -> None:
    """Prints what a push is about to do."""
    actions = ", ".join(f"{count:,} to {action}" for action, count in plan.actions.items()) or "nothing left to do"
    console.print(f"[bold]{entity}[/]: {plan.rows:,} rows, {actions}", soft_wrap=True)
    if plan.settled:
        console.print(f"  {plan.settled:,} were pushed by an earlier run (push {plan.push_id})")
    if plan.earlier:
        told = "push {push_id} of other rows did {done:,} and has {open:,} left".format(**plan.earlier)
        console.print(f"  [yellow]{told}; what it did is done again where it is among these rows[/]", soft_wrap=True)
    if plan.clears:
        cleared = ", ".join(f"{name} in {count:,} rows" for name, count in plan.clears.items())
        console.print(f"  [yellow]clears[/] {escape(cleared)}", soft_wrap=True)
    if plan.invalid:
        console.print(f"  [red]{plan.invalid:,} are invalid[/]")
    console.print(f"  at most {plan.calls:,} calls, about {plan.seconds:,} s at the rate that is set")


def show_push(console: Console, report: Report) -> None:
    """Prints a push's report: the plan after a dry run, else how many rows came through, and which did not."""
    for name, entity in report.entities.items():
        facts = entity.facts.get("push")
        if facts is None:
            continue
        results = facts.get("results")
        if results is None:
            known = {key: value for key, value in facts.items() if key in Plan.__dataclass_fields__}
            show_plan(console, name, Plan(**known))
        else:
            told = ", ".join(f"{count:,} {word}" for word, count in results.items() if count) or "nothing to do"
            console.print(
                f"[bold]{name}[/]: {told}; {entity.merged:,} records read again, {entity.deleted:,} marked deleted"
            )
        for problem in facts["problems"][:SHOWN]:
            console.print(f"  [red]row {problem['row']}[/] {escape(problem['problem'])}", soft_wrap=True)
        if (more := len(facts["problems"]) - SHOWN) > 0:
            console.print(f"  and {more:,} more, all of them in --json")
