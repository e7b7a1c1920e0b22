"""The command `insightly dashboard`: looks at the destination, and makes the page of what it sees."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.target import WAIT_SECONDS, Target
from pipelines.engine.report import Report
from pipelines.views.build import answers
from sources.insightly.errors import BadSetting

from .charts import MARTS, pictures
from .health import health
from .page import Page


def build_page(target: Target, max_age: timedelta, wait: float = WAIT_SECONDS) -> Page:
    """Looks at the destination; nothing is asked of the API.

    Args:
        target: whose page.
        max_age: how old an entity's last complete sync may be before it is stale.
        wait: seconds to wait for a run that is at work there.

    Raises:
        NothingSynced: there is no such file.
        Busy: a run is at work there.
    """
    target.require_exists()
    with target.lock(wait):
        pipeline, at = target.pipeline(), datetime.now(UTC)
        with Dataset(pipeline) as dataset:
            told = health(pipeline, dataset, max_age, at)
            drawn = pictures(answers(pipeline, dataset, MARTS), at.date()) if told else ()
            return Page(str(target), at, told, drawn)


def export(page: Page, path: Path) -> None:
    """Writes the page as one file that needs nothing but itself.

    Raises:
        BadSetting: it cannot be written.
    """
    try:
        path.write_text(page.html(), encoding="utf-8")
    except OSError as error:
        raise BadSetting("--export", str(path), f"cannot be written: {error.strerror}") from None


def report(page: Page, exported: Path | None = None) -> Report:
    """What the page tells, for programs."""
    shown: Sequence[object] = [asdict(picture) for picture in page.pictures]
    facts = {
        "destination": page.destination,
        "at": page.at,
        "export": None if exported is None else str(exported),
        "health": None if page.health is None else {"verdict": page.health.verdict, **asdict(page.health)},
        "pictures": shown,
    }
    return Report("dashboard", facts=facts)
