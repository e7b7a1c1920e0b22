"""How far a run is: one live line on a terminal, plain log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sources.insightly.context import SyncContext

logger = logging.getLogger("insightly")

LOG_EVERY_SECONDS = 10.0
Watch = Callable[[SyncContext], None]


@contextmanager
def watching(mode: str) -> Iterator[Watch | None]:
    """What to call with the session whenever there is progress.

    Args:
        mode: `auto` (a live line if stderr is a terminal, else log lines), `log` or `off`.
    """
    if mode == "off":
        yield None
    elif mode == "auto" and sys.stderr.isatty():
        from rich.console import Console

        with Console(stderr=True).status("starting") as status:
            yield lambda context: status.update(line(context))
    else:
        logger.setLevel(logging.INFO)
        last = [time.monotonic()]

        def log(context: SyncContext) -> None:
            if time.monotonic() - last[0] >= LOG_EVERY_SECONDS:
                last[0] = time.monotonic()
                logger.info(line(context), extra={"event": "progress", **facts(context)})

        yield log


def facts(context: SyncContext) -> dict[str, Any]:
    """Account, entity under way, rows, calls, calls left today, seconds to go; None where it cannot be told."""
    begun = [name for name, result in context.results.items() if result.open and result.rows]
    return {
        "instance": context.settings.instance,
        "entity": begun[-1] if begun else None,
        "rows": sum(result.rows for result in context.results.values()),
        "calls": context.budget.calls,
        "calls_left_today": context.budget.remaining,
        "seconds_to_go": time_left(context),
    }


def line(context: SyncContext) -> str:
    """The same for people."""
    told = facts(context)
    account = f"{told['instance']}, " if told["instance"] else ""
    parts = [f"{account}{told['entity'] or 'reading'}: {told['rows']:,} rows", f"{told['calls']:,} calls"]
    if told["calls_left_today"] is not None:
        parts.append(f"{told['calls_left_today']:,} left today")
    if (seconds := told["seconds_to_go"]) is not None:
        parts.append(f"about {seconds // 60:.0f}:{seconds % 60:02.0f} to go")
    return ", ".join(parts)


def time_left(context: SyncContext) -> float | None:
    """Seconds that the rows still to come take at the rate of those that came; None before there is a rate."""
    results = context.results.values()
    rows = sum(result.rows for result in results)
    to_come = sum(max((result.total or 0) - result.rows, 0) for result in results if result.open)
    elapsed = time.monotonic() - context.began
    if not rows or not to_come:
        return None
    return elapsed / rows * to_come
