"""Questions whose answer is yes or no: the one before a push."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager

from rich.console import Console
from rich.text import Text

from pipelines.push.plan import Plan
from sources.insightly.errors import BadSetting

from .console import console_for, show_plan


def agrees(console: Console, question: str) -> bool:
    """Asks a question whose answer is no unless it is yes. Raises EOFError after Ctrl-D."""
    return console.input(Text(f"{question} [y/N] ")).strip().lower() in ("y", "yes")


def confirmation(
    entity: str, op: str, yes: bool, hidden: Callable[[], AbstractContextManager[None]], quiet: bool = False
) -> Callable[[Plan], bool]:
    """Returns the function that decides, from its plan, whether a push continues.

    It shows the plan. On a terminal it asks, whatever the operation. Without a terminal nobody can answer: creates,
    updates and upserts continue, and deletes need `yes`.

    Args:
        entity, op: of the push.
        yes: whether to continue without a question.
        hidden: hides the live line, which would overwrite the question.
        quiet: whether to show nothing where it does not ask.

    Raises:
        BadSetting: a delete without a terminal and without `yes`.
    """
    console = console_for(sys.stderr)
    asks = not yes and sys.stdin.isatty() and sys.stderr.isatty()
    if op == "delete" and not (yes or asks):
        fix = "there is no terminal to ask on; add --yes to delete, or --dry-run to see the plan"
        raise BadSetting("--yes", "", fix)

    def confirm(plan: Plan) -> bool:
        if quiet and not asks:
            return True
        with hidden():
            show_plan(console, entity, plan)
            try:
                return not asks or agrees(console, "Continue?")
            except (EOFError, KeyboardInterrupt) as end:
                console.print()
                if isinstance(end, KeyboardInterrupt):
                    raise
                return False

    return confirm
