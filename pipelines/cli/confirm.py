"""Whether to go on: asked on a terminal, where there is one."""

import sys
from collections.abc import Callable

from rich.console import Console

from pipelines.push.plan import Plan
from sources.insightly.errors import BadSetting

from .console_details import show_plan


def confirmation(entity: str, op: str, yes: bool) -> Callable[[Plan], bool]:
    """What decides, told the plan, whether a push goes on.

    On a terminal the plan is shown and the question asked. Without one, nobody can be asked: creates and updates were
    asked for by name and go on, deletes need `yes`.

    Raises:
        BadSetting: a delete that nobody can be asked about.
    """
    if yes:
        return lambda _: True
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        if op == "delete":
            raise BadSetting(
                "--yes", "", "there is no terminal to ask on; add it to delete, or --dry-run to look first"
            )
        return lambda _: True

    def ask(plan: Plan) -> bool:
        console = Console(stderr=True)
        show_plan(console, entity, plan)
        return console.input("Go on? [y/N] ").strip().lower() in ("y", "yes")

    return ask
