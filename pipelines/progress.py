"""How far a run is: one live line on a terminal, plain log lines elsewhere."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sources.insightly.session import Session

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
                logger.info(line(session))

        yield log


def line(session: Session) -> str:
    """Entity under way, rows, calls, calls left today, time left where it can be told."""
    rows = sum(outcome.rows for outcome in session.outcomes.values())
    begun = [name for name, outcome in session.outcomes.items() if outcome.open and outcome.rows]
    parts = [f"{begun[-1] if begun else 'reading'}: {rows:,} rows", f"{session.budget.calls:,} calls"]
    if session.budget.remaining is not None:
        parts.append(f"{session.budget.remaining:,} left today")
    if (seconds := time_left(session)) is not None:
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
