"""The question before a push."""

import sys
from collections.abc import Callable

from rich.console import Console

from pipelines.push.plan import Plan
from sources.insightly.errors import BadSetting

from .console import show_plan


def confirmation(entity: str, op: str, yes: bool) -> Callable[[Plan], bool]:
    """Returns the function that decides, from its plan, whether a push continues.

    On a terminal it shows the plan and asks. Without a terminal, creates and updates continue, and deletes need `yes`.

    Raises:
        BadSetting: a delete without a terminal and without `yes`.
    """
    if yes:
        return lambda _: True
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        if op == "delete":
            fix = "there is no terminal to ask on; add --yes to delete, or --dry-run to see the plan"
            raise BadSetting("--yes", "", fix)
        return lambda _: True

    def ask(plan: Plan) -> bool:
        console = Console(stderr=True)
        show_plan(console, entity, plan)
        return console.input("Continue? [y/N] ").strip().lower() in ("y", "yes")

    return ask
