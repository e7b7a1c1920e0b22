"""Reports for people: tables, reasons and one closing line."""

import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console

from pipelines.engine.report import DONE, FAILED, NAMED, Report, by_reason, listed
from pipelines.push.plan import SHOWN, Plan, describe
from sources.insightly.errors import plural
from sources.insightly.rows.json_text import objects_of

from .tables import COLUMNS, STYLES, age, entities_table, escape, marts_table, runs_table, styled

MANY = 20
"""A table of more entities than this shows only those with a change."""
UNREADABLE = "this key or plan cannot read them (403, 404); run insightly entities for the reasons"
"""Replaces the reasons of skipped entities in a report of many entities."""
LOST = "available before, and refused now (403, 404); their rows stay as they are"
"""Replaces the reasons of many lost entities."""
WIDE = 100
"""The width of a line, in characters, from which a table has all its columns."""
ACTIONS = {
    "create": ("+", "to create"),
    "update": ("~", "to update"),
    "delete": ("-", "to delete"),
    "missing": ("?", "missing"),
    "none": ("=", "unchanged"),
}
"""What a push does with a row -> its sign and words."""
SIGNS = {"+": "green", "~": "yellow", "-": "red", "?": "yellow", "=": "dim"}
RETRIED = {
    "burst": "too many requests a second",
    "unexplained": "too many requests",
    "server_error": "a failed or missing response",
    "malformed": "an invalid response",
}
"""Why a call was made again -> its words."""
UNLIMITED = 200
"""Characters a line if the output is not a terminal: wide enough for every table."""


def console_for(stream: TextIO) -> Console:
    """A console on a stream. A terminal gets lines that end between words; a file or program gets each text whole.

    If it is not a terminal, it is wide enough for every table.
    """
    console = Console(file=stream, emoji=False)
    if console.is_terminal:
        return console
    width = None if os.environ.get("COLUMNS") else UNLIMITED
    return Console(file=stream, width=width, emoji=False, soft_wrap=True)


def show(report: Report, account: str | None = None) -> None:
    """Prints a report as tables and one closing line.

    Args:
        report: of any command. A report of several accounts prints its totals only, because the report of each
            account has been printed before.
        account: the account's name, printed above, if the command runs for several accounts.
    """
    console = console_for(sys.stdout)
    if account is not None:
        console.rule(f"[bold]{account}[/]", align="left")
    if report.command == "dashboard":
        console.print(f"wrote [green]{escape(report.facts['export'])}[/]")
        return
    marts = report.facts.get("marts", {})
    if any("sql" in mart for mart in marts.values()):
        _show_statements(console, marts)
        return
    if "instances" in report.facts:
        console.rule(f"[bold]{plural(len(report.facts['instances']), 'account')}[/]", align="left")
    elif report.command == "entities" and report.facts:
        _show_entities(console, report)
    else:
        if report.command == "push":
            _show_push(console, report)
        _show_runs(console, report)
        if marts:
            _show_marts(console, marts)
        if "dbt" in report.facts:
            _show_package(console, report.facts["dbt"])
        if report.command == "check" and report.facts:
            _show_account(console, report)
        if report.command == "init" and report.facts:
            files = " and ".join(report.facts["files"])
            console.print(f"wrote {escape(files)}; next: insightly sync")
        if report.command == "status" and report.facts:
            _show_status(console, report)
    _show_closing_line(console, report)


def show_plan(console: Console, entity: str, plan: Plan) -> None:
    """Prints what a push would do."""
    changes = [change for change in plan.changes if change["action"] != "none"]
    for change in changes[:SHOWN]:
        _show_change(console, change)
    if (more := len(changes) - SHOWN) > 0:
        console.print(f"  and {plural(more, 'more row')}; --dry-run --json lists them all")
    if any(change["action"] != "create" for change in plan.changes):
        console.print("  (compared with the tables, as the last sync left them)")
    updates = (field for change in plan.changes if change["action"] == "update" for field in change["fields"])
    if any("old" not in field and not field.get("masked") for field in updates):
        console.print("  (? is an old value that the tables do not have)")
    counts = Counter(str(change["action"]) for change in plan.changes)
    actions = ", ".join(f"{counts[action]:,} {words}" for action, (_, words) in ACTIONS.items() if counts[action])
    actions = actions or ("nothing to do" if plan.invalid else "nothing left to do")
    console.print(f"[bold]{entity}[/]: {plural(plan.rows, 'row')}, {actions}")
    if plan.already_pushed:
        console.print(f"  {plan.already_pushed:,} already pushed by an earlier run (push {plan.push_id})")
    if plan.earlier:
        unfinished = "push {push_id} of other rows is unfinished: {done:,} done, {open:,} left".format(**plan.earlier)
        console.print(f"  [yellow]{unfinished}; rows that are in both pushes are pushed again[/]")
    if plan.clears:
        cleared = ", ".join(f"{name} in {plural(count, 'row')}" for name, count in plan.clears.items())
        console.print(f"  [yellow]clears[/] {escape(cleared)}")
    if plan.invalid:
        console.print(f"  [red]{plan.invalid:,} invalid[/]")
    if plan.calls:
        console.print(f"  at most {plural(plan.calls, 'call')}, about {plan.seconds:,} s at the configured rate")


def _show_change(console: Console, change: Mapping[str, Any]) -> None:
    """Prints what happens to one row: a line for it, and a line for each field."""
    sign, _ = ACTIONS[change["action"]]
    record = " ".join(str(part) for part in (change["record_id"], change["name"]) if part is not None)
    note = f" ({change['note']})" if change["note"] else ""
    text = f"{change['place']}: {change['action']} {_shortened(record, console.width // 2)}".rstrip() + note
    console.print(f"  [{SIGNS[sign]}]{sign}[/] {escape(text)}", highlight=False)
    width = max((len(field["field"]) for field in change["fields"]), default=0)
    for field in change["fields"]:
        values = [_shown(field.get(side), (console.width - width - 12) // 2) for side in ("old", "new")]
        text = values[1] if change["action"] == "create" and field.get("old") is None else " -> ".join(values)
        text = text if "old" in field else f"? -> {values[1]}"
        text = "(masked by hash or drop)" if field.get("masked") else text
        console.print(f"      {escape(field['field'].ljust(width))}  {escape(text)}", highlight=False)


def _shown(value: Any, limit: int) -> str:
    if value is None:
        return "(none)"
    return _shortened(value if isinstance(value, str) else json.dumps(value, default=str), limit)


def _shortened(text: str, limit: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= limit else f"{line[: max(limit, 10) - 3]}..."


def _show_runs(console: Console, report: Report) -> None:
    """Prints the table of a sync, sweep, verify or status, and what else to know of its entities."""
    unchanged, reasons = _unchanged(report), _reasons(report)
    if report.entities and (report.command in COLUMNS or "plan" in report.facts):
        unreadable = reasons.get(("skipped", UNREADABLE), []) if "plan" not in report.facts else []
        table = runs_table(report, console.width < WIDE, {*unchanged, *unreadable, *_untouched(report, reasons)})
        if table.row_count:
            console.print(table, soft_wrap=False)
    if len(unchanged) == len(report.entities) > 0:
        console.print(f"nothing new in any of {plural(len(unchanged), 'entity', 'entities')}")
    elif unchanged:
        console.print(f"nothing new in {listed(unchanged, len(report.entities))}")
    cause = _cause(report, reasons)
    for (state, reason), names in reasons.items():
        if (state, reason) != cause:
            who = listed(names, len(report.entities))
            console.print(f"[{STYLES[state]}]{who} {state}[/]: {escape(reason)}")
    for name, entity in report.entities.items():
        for example in entity.facts.get("examples", ()):
            console.print(f"[red]{name}[/]: {escape(example)}")
        for change in entity.schema_changes:
            console.print(f"[cyan]{name}[/]: {escape(change)}")


def _unchanged(report: Report) -> list[str]:
    """The entities that a long table leaves out, because nothing changed in them; `--json` has all."""
    if len(report.entities) <= MANY or report.command not in ("sync", "sweep") or "plan" in report.facts:
        return []
    entities = report.entities.items()
    return [name for name, e in entities if e.state == "ok" and not (e.merged or e.deleted or e.schema_changes)]


def _reasons(report: Report) -> dict[tuple[str, str], list[str]]:
    """State and reason -> the entities that are skipped, partial or failed for it."""
    reasons = dict[tuple[str, str], list[str]]()
    many = len(report.entities) > MANY and report.command in ("sync", "status")
    for name, entity in report.entities.items():
        if entity.state in ("skipped", "failed", "partial") and entity.reason:
            general = LOST if entity.lost else UNREADABLE
            reason = general if many and entity.state == "skipped" else entity.reason
            reasons.setdefault((entity.state, reason), []).append(name)
    return reasons


def _untouched(report: Report, reasons: Mapping[tuple[str, str], Sequence[str]]) -> list[str]:
    """The entities that one cause kept from being read: one line for all of them says more than a row for each."""
    if "plan" in report.facts or report.command == "status":
        return []
    many = [name for names in reasons.values() if len(names) > NAMED for name in names]
    entities = ((name, report.entities[name]) for name in many)
    return [name for name, each in entities if not (each.rows or each.merged or each.deleted)]


def _cause(report: Report, reasons: Mapping[tuple[str, str], Sequence[str]]) -> tuple[str, str] | None:
    """State and reason of the entities whose reason is that of the whole run, which its last line says."""
    for (state, reason), names in reasons.items():
        if report.reason in (reason, f"{listed(names, len(report.entities))}: {reason}"):
            return state, reason
    return None


def _reason(report: Report) -> str:
    """The reason of the whole run, with the entities that have it; not what the lines above it say already."""
    reasons, total = _reasons(report), len(report.entities)
    if (cause := _cause(report, reasons)) is not None:
        return f"{listed(reasons[cause], total)}: {cause[1]}"
    above = [f"{listed(names, total)}: {reason}" for (state, reason), names in reasons.items() if state == "failed"]
    if report.status == FAILED and len(above) > 1 and report.reason == "; ".join(above):
        return f"{len(above)} reasons, see above"
    return report.reason or ""


def _show_entities(console: Console, report: Report) -> None:
    console.print(entities_table(report, console.width < WIDE), soft_wrap=False)
    for reason, names in by_reason((name, entity.reason) for name, entity in report.entities.items()).items():
        which = ", ".join(names) if len(names) < len(report.entities) else "readable"
        console.print(f"{which}: {escape(reason)}")
    console.print("can: S search, G get by id, C create, U update, D delete; --json adds child tables and cursors")


def _show_account(console: Console, report: Report) -> None:
    account, user = report.facts["account"] or {}, report.facts["user"] or {}
    console.print(f"address   {report.facts['url']}")
    name, subdomain = account.get("INSTANCE_NAME", "not readable"), account.get("INSTANCE_SUBDOMAIN", "")
    console.print(
        f"account   {escape(f'{name} ({subdomain})')}, plan {escape(str(account.get('PLAN_NAME', 'unknown')))}"
    )
    name = f"{user.get('FIRST_NAME') or ''} {user.get('LAST_NAME') or ''}".strip() or "not readable"
    address, id_ = user.get("EMAIL_ADDRESS") or "", user.get("USER_ID") or "unknown"
    admin = ", administrator" if user.get("ADMINISTRATOR") else ""
    console.print(f"user      {escape(f'{name} <{address}>')}, id {escape(str(id_))}{admin}")
    rows = objects_of((report.facts["permissions"] or {}).get("OBJECT_PERMISSIONS"))
    hidden = sorted(str(row.get("OBJECT_TYPE")) for row in rows if not row.get("CAN_READ"))
    but = f", not {escape(', '.join(hidden))}" if hidden else ""
    console.print(f"can read  {len(rows) - len(hidden)} of {len(rows)} object types{but}")


def _show_status(console: Console, report: Report) -> None:
    """Prints the account, and the last failure in a line."""
    name = escape(report.facts["account"] or "unknown")
    console.print(f"{escape(report.facts['destination'])}: account {name}")
    if (failure := report.facts["last_failure"]) is None:
        return
    reason = (failure["reason"] or "unknown").splitlines()[0]
    if ("failed", failure["reason"]) in _reasons(report):
        reason = "see above"
    since = "" if failure["open"] else ", done since"
    what = f"{failure['command']} of {listed(failure['entities'], 0)}, {age(failure['at'])} ago{since}"
    console.print(f"last failure: {what}: {escape(reason)}")


def _show_marts(console: Console, marts: Mapping[str, Mapping[str, Any]]) -> None:
    narrow = console.width < WIDE
    console.print(marts_table(marts, narrow), soft_wrap=False)
    if narrow and (datasets := {mart["view"].rpartition(".")[0] for mart in marts.values() if mart["view"]}):
        console.print(f"views are in {escape(', '.join(sorted(datasets)))}, named like their marts")
    for name, mart in marts.items():
        if mart["reason"]:
            console.print(f"{name} {styled(mart['state'])}: {escape(mart['reason'])}")
        elif mart["without"]:
            console.print(f"{name}: without {', '.join(mart['without'])} (never loaded)")


def _show_package(console: Console, package: Mapping[str, Any]) -> None:
    """Prints what happened to the files of a dbt package, and what to type next."""
    folder, written, removed = escape(package["folder"]), len(package["written"]), len(package["removed"])
    counts = f"{written:,} files written, {removed:,} removed, {package['unchanged']:,} unchanged"
    console.print(f"{folder}: {counts}", soft_wrap=True)
    console.print(f"next: dbt build --project-dir {folder} --profile NAME", soft_wrap=True)


def _show_statements(console: Console, marts: Mapping[str, Mapping[str, Any]]) -> None:
    """Prints SQL that a client can run; the questions and the reasons are comments."""
    for mart in marts.values():
        sql = f"-- {mart['answers']}\n{mart['sql']};\n" if mart["sql"] else f"-- left out: {mart['reason']}\n"
        console.print(sql, markup=False, highlight=False, soft_wrap=True)


def _show_push(console: Console, report: Report) -> None:
    """Prints the plan after a dry run, else the results; and the rows with a problem."""
    for name, entity in report.entities.items():
        push = entity.facts.get("push")
        if push is None:
            continue
        if (results := push.get("results")) is None:
            show_plan(console, name, Plan(**push))
        elif (at := push["already_done_at"]) is not None:
            console.print(f"[bold]{name}[/]: already done at {at}, nothing sent; add --again to push these rows again")
        else:
            counts = ", ".join(f"{count:,} {result}" for result, count in results.items() if count) or "nothing to do"
            loaded = sum(each.merged for each in report.entities.values())  # tags are loaded with their records
            console.print(
                f"[bold]{name}[/]: {counts}; {plural(loaded, 'row')} loaded, {entity.deleted:,} marked deleted"
            )
        problems = describe(push["problems"])
        if len(problems) == 1 and problems[0] in (report.reason or ""):
            problems = []
        for problem in problems[:SHOWN]:
            console.print(f"  {escape(problem)}", style="red")
        if (more := len(problems) - SHOWN) > 0:
            console.print(f"  and {more:,} more; --json lists them all")


def _show_closing_line(console: Console, report: Report) -> None:
    if (plan := report.facts.get("plan")) is not None:
        least = "" if report.status == DONE else "at least "
        console.print(f"Estimate: {least}{plural(plan['calls'], 'call')}, about {plan['seconds']:,} s")
    if (views := report.facts.get("all_accounts")) is not None:
        text = views["note"] or f"{plural(views['views'], 'view')} over {', '.join(views['accounts'])}"
        console.print(f"{views['dataset']}: {escape(text)}")
    if report.retries:
        retries = [
            f"{plural(count, 'retry', 'retries')} after {RETRIED[kind]}" for kind, count in report.retries.items()
        ]
        pace = [f"slowed down to {report.slowed_to:g} requests a second"] if report.slowed_to else []
        console.print(", ".join([*retries, *pace]))
    left = "" if report.calls_left_today is None else f", {report.calls_left_today:,} left today"
    reason = "" if report.status == DONE else f": {escape(_reason(report))}"
    console.print(f"{report.status}{reason} — {plural(report.calls, 'call')}{left}, {report.seconds:.1f} s")
