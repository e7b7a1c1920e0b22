"""How far a run is: one live line on a terminal, plain log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sources.insightly.context import Session

logger = logging.getLogger("insightly")

LOG_EVERY_SECONDS = 10.0
Watch = Callable[[Session], None]


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
            yield lambda session: status.update(line(session))
    else:
        logger.setLevel(logging.INFO)
        last = [time.monotonic()]

        def log(session: Session) -> None:
            if time.monotonic() - last[0] >= LOG_EVERY_SECONDS:
                last[0] = time.monotonic()
                logger.info(line(session), extra={"event": "progress", **facts(session)})

        yield log


def facts(session: Session) -> dict[str, Any]:
    """Account, entity under way, rows, calls, calls left today, seconds to go; None where it cannot be told."""
    begun = [name for name, outcome in session.outcomes.items() if outcome.open and outcome.rows]
    return {
        "instance": session.settings.instance,
        "entity": begun[-1] if begun else None,
        "rows": sum(outcome.rows for outcome in session.outcomes.values()),
        "calls": session.budget.calls,
        "calls_left_today": session.budget.remaining,
        "seconds_to_go": time_left(session),
    }


def line(session: Session) -> str:
    """The same for people."""
    told = facts(session)
    account = f"{told['instance']}, " if told["instance"] else ""
    parts = [f"{account}{told['entity'] or 'reading'}: {told['rows']:,} rows", f"{told['calls']:,} calls"]
    if told["calls_left_today"] is not None:
        parts.append(f"{told['calls_left_today']:,} left today")
    if (seconds := told["seconds_to_go"]) is not None:
        parts.append(f"about {seconds // 60:.0f}:{seconds % 60:02.0f} to go")
    return ", ".join(parts)


def time_left(session: Session) -> float | None:
    """Seconds that the rows still to come take at the rate of those that came; None before there is a rate."""
    outcomes = session.outcomes.values()
    rows = sum(outcome.rows for outcome in outcomes)
    to_come = sum(max((outcome.total or 0) - outcome.rows, 0) for outcome in outcomes if outcome.open)
    elapsed = time.monotonic() - session.began
    if not rows or not to_come:
        return None
    return elapsed / rows * to_come
