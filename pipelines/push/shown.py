"""A push for people on a terminal: the plan before, and what became of the rows."""

from rich.console import Console
from rich.markup import escape

from pipelines.report import Report

from .plan import SHOWN, Plan


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
