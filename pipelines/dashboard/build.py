"""The command `insightly dashboard`: reads the destination and builds the page."""

import os
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.destinations.dataset import Dataset
from pipelines.destinations.locks import WAIT_SECONDS
from pipelines.destinations.pipeline_state import source_state
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from pipelines.views.build import query
from sources.insightly.config.hosts import record_url
from sources.insightly.errors import BadSetting

from .health import read_health
from .page import Page
from .queries import queries
from .sales import sales


def build_page(target: Target, max_age: timedelta, wait: float = WAIT_SECONDS, now: datetime | None = None) -> Page:
    """Builds the page from the destination, without a call to the API.

    Args:
        target: the destination.
        max_age: how old an entity's last complete sync may be before it is stale.
        wait: seconds to wait for a run that is using the destination.
        now: the time of the figures; by default, the clock's.

    Raises:
        NothingSynced: the destination does not exist.
        Busy: a run is using the destination.
        Unreachable: the destination does not answer, or lacks a table.
    """
    target.require_exists()
    with target.reading(wait) as pipeline, Dataset(pipeline) as dataset:
        now = now or datetime.now(UTC)
        health = read_health(pipeline, dataset, max_age, now)
        if health is None:
            return Page(str(target), now, None)
        figures = sales(query(pipeline, dataset, queries(now.date()), now), now.date())
        host = source_state(pipeline).get("account", {}).get("host", "")
        return Page(str(target), now, health, figures, record_url(host, "Opportunity"))


def export(page: Page, path: Path) -> None:
    """Writes the page as one file that loads nothing else. A new file can be read by its owner only.

    Raises:
        BadSetting: the file cannot be written.
    """
    html = page.html()
    try:
        with open(path, "w", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(html)
    except OSError as error:
        raise BadSetting("--export", str(path), f"cannot be written: {error.strerror}") from None


def report(page: Page, exported: Path | None = None) -> Report:
    """The figures of the page, for `--json`."""
    facts = {
        "destination": page.destination,
        "at": page.at,
        "export": None if exported is None else str(exported),
        "health": None if page.health is None else {"verdict": page.health.verdict, **asdict(page.health)},
        "sales": None if page.sales is None else asdict(page.sales),
    }
    return Report("dashboard", facts=facts)
