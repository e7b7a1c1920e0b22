"""Progress of a run: one live line on a terminal, log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from sources.insightly.context import SyncContext

logger = logging.getLogger("insightly")

LOG_EVERY_SECONDS = 10.0
Watch = Callable[[SyncContext], None]


@dataclass(frozen=True)
class Progress:
    """How a run shows its progress.

    Attributes:
        watch: to be called with the context whenever there is progress; None if nothing is shown.
        hidden: in the block of a `with` statement there is no live line, which would overwrite a question.
    """

    watch: Watch | None = None
    hidden: Callable[[], AbstractContextManager[None]] = nullcontext


@contextmanager
def show_progress(mode: str) -> Iterator[Progress]:
    """Shows the progress of a run in the block of a `with` statement.

    Args:
        mode: `auto` (a live line if stderr is a terminal, else log lines), `log` or `off`.
    """
    if mode == "off":
        yield Progress()
    elif mode == "auto" and sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True, emoji=False).status("starting") as status:

            @contextmanager
            def hidden() -> Iterator[None]:
                status.stop()
                try:
                    yield
                finally:
                    status.start()

            yield Progress(lambda context: status.update(_line(_facts(context))), hidden)
    else:
        logger.setLevel(logging.INFO)
        logged_at = time.monotonic()

        def log(context: SyncContext) -> None:
            nonlocal logged_at
            if time.monotonic() - logged_at >= LOG_EVERY_SECONDS:
                logged_at = time.monotonic()
                facts = _facts(context)
                logger.info(_line(facts), extra={"event": "progress", **facts})

        yield Progress(log)


def _facts(context: SyncContext) -> dict[str, Any]:
    """Account, current entity, rows, calls, calls left today, seconds to go; None if not known."""
    current = [name for name, result in context.results.items() if result.open and result.rows]
    return {
        "instance": context.settings.instance,
        "entity": current[-1] if current else None,
        "rows": sum(result.rows for result in context.results.values()),
        "calls": context.budget.calls,
        "calls_left_today": context.budget.remaining,
        "seconds_to_go": _seconds_to_go(context),
    }


def _line(facts: dict[str, Any]) -> str:
    account = f"{facts['instance']}, " if facts["instance"] else ""
    parts = [f"{account}{facts['entity'] or 'reading'}: {facts['rows']:,} rows", f"{facts['calls']:,} calls"]
    if facts["calls_left_today"] is not None:
        parts.append(f"{facts['calls_left_today']:,} left today")
    if (seconds := facts["seconds_to_go"]) is not None:
        parts.append(f"about {seconds // 60:.0f}:{seconds % 60:02.0f} to go")
    return ", ".join(parts)


def _seconds_to_go(context: SyncContext) -> float | None:
    """Seconds for the remaining rows at the average rate so far; None before the first rows."""
    results = context.results
    rows = sum(result.rows for result in results.values())
    open_ = {name: result.rows for name, result in results.items() if result.open}
    remaining = sum(max(context.rows_expected(name) - read, 0) for name, read in open_.items())
    if not rows or not remaining:
        return None
    return (time.monotonic() - context.started) / rows * remaining
