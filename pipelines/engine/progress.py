"""Progress of a run: one live line on a terminal, log lines elsewhere."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from sources.insightly.context import SyncContext
from sources.insightly.errors import plural
from sources.insightly.resources.calls_to_go import calls_to_go

from .pace import Pace, TimeLeft

logger = logging.getLogger("insightly")

LOG_EVERY_SECONDS = 10.0
SPINNER_WIDTH = 2
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
        mode: `auto` (a live line if stderr is a terminal that can have one, else log lines), `log` or `off`.
    """
    if mode == "off":
        yield Progress()
    elif mode == "auto" and sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        from rich.console import Console
        from rich.text import Text

        # While the line shows, rich has its own sys.stderr, which prints above the line.
        console, facts_of = Console(stderr=True, emoji=False), _Facts()
        with console.status("starting") as status:

            @contextmanager
            def hidden() -> Iterator[None]:
                status.stop()
                try:
                    yield
                finally:
                    status.start()

            def show(context: SyncContext) -> None:
                status.update(Text(line(facts_of(context), console.width - SPINNER_WIDTH)))

            yield Progress(show, hidden)
    else:
        logger.setLevel(logging.INFO)
        logged_at, facts_of = time.monotonic(), _Facts()

        def log(context: SyncContext) -> None:
            nonlocal logged_at
            facts = facts_of(context)
            if time.monotonic() - logged_at >= LOG_EVERY_SECONDS:
                logged_at = time.monotonic()
                logger.info(line(facts), extra={"event": "progress", **facts})

        yield Progress(log)


@dataclass
class _Facts:
    """Computes what a run is at, each time there is progress."""

    rows: Pace = field(default_factory=Pace)
    time_left: TimeLeft = field(default_factory=TimeLeft)

    def __call__(self, context: SyncContext) -> dict[str, Any]:
        """Account, current entity, rows, calls, calls left today, seconds to go; None if not known."""
        now, results = time.monotonic(), context.results
        rows, names = sum(result.rows for result in results.values()), context.catalog.with_objects(context.chosen)
        ended = sum(name in results and not results[name].open for name in names)
        self.rows.update(now, rows)
        seconds = self.time_left.update(now, context.chunk.calls_done, calls_to_go(context))
        return {
            "instance": context.settings.instance,
            "entity": context.current,
            "entities_done": ended,
            "entities_total": len(names),
            "rows": rows,
            "rows_per_second": None if self.rows.rate is None else round(self.rows.rate),
            "calls": context.budget.calls,
            "calls_left_today": context.budget.remaining,
            "seconds_to_go": None if seconds is None else round(seconds),
        }


def line(facts: dict[str, Any], width: int | None = None) -> str:
    """The facts in words; what matters least is left out of a line that is wider than `width`."""
    account = f"{facts['instance']}, " if facts["instance"] else ""
    total = facts["entities_total"]
    number = f" ({min(facts['entities_done'] + 1, total)} of {total})" if total > 1 else ""
    parts = {
        "entity": f"{account}{facts['entity'] or 'reading'}{number}: {plural(facts['rows'], 'row')}",
        "rate": "" if facts["rows_per_second"] is None else f"{facts['rows_per_second']:,}/s",
        "calls": plural(facts["calls"], "call"),
        "quota": "" if facts["calls_left_today"] is None else f"{facts['calls_left_today']:,} left today",
        "time": "" if facts["seconds_to_go"] is None else f"{_duration(facts['seconds_to_go'])} to go",
    }
    for least in ("", "quota", "calls", "rate"):
        parts.pop(least, None)
        text = ", ".join(filter(None, parts.values()))
        if width is None or len(text) <= width:
            break
    return text if width is None else text[:width]


def _duration(seconds: int) -> str:
    """About how long: in minutes, or in steps of five seconds if it is less than two."""
    if seconds < 120:
        return f"about {max(5 * round(seconds / 5), 5)} s"
    minutes = round(seconds / 60)
    return f"about {minutes} min" if minutes < 120 else f"about {minutes // 60} h {minutes % 60} min"
