"""Health and charts -> one HTML page without a script, and without a font or image from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from .health import DAYS, Freshness, Health

FOLDER = Path(__file__).parent
VERDICTS = {
    "fresh": "✓ Every table is up to date.",
    "stale": "! Some tables are stale.",
    "failed": "✗ Some tables could not be updated.",
}


@dataclass(frozen=True)
class Bar:
    """A row of a chart: its name, its cells, and the length of its bar."""

    name: str
    cells: Sequence[str]
    size: float


@dataclass(frozen=True)
class Chart:
    """A table with a bar in each row; a screen reader reads the table."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Bar]
    note: str | None = None

    @property
    def most(self) -> float:
        return max((row.size for row in self.rows), default=0)


@dataclass(frozen=True)
class ChartGroup:
    """The charts about one subject, or the reason why there are none."""

    key: str
    title: str
    charts: Sequence[Chart] = ()
    missing: str | None = None


@dataclass(frozen=True)
class Page:
    """The contents of the page; `health` is None if nothing was ever synced."""

    destination: str
    at: datetime
    health: Health | None
    charts: Sequence[ChartGroup] = field(default_factory=tuple)

    def html(self, busy: bool = False) -> str:
        """Renders the page.

        Args:
            busy: whether a run is using the destination, so that the page shows the time before it.
        """
        health = self.health
        return _template().render(
            age=lambda timestamp: age(timestamp, self.at),
            account=(health and health.account) or "Insightly",
            at=self.at,
            busy=busy,
            calls=_calls(health) if health else None,
            days=DAYS,
            deletions=_deletions(health) if health else None,
            destination=self.destination,
            health=health,
            groups=self.charts,
            shared=_shared_reasons(health) if health else {},
            style=(FOLDER / "page.css").read_text(encoding="utf-8"),
            tiles=_tiles(health) if health else (),
            verdicts=VERDICTS,
        )


@dataclass(frozen=True)
class Tile:
    """One figure of the overview."""

    name: str
    figure: str
    note: str | None = None


def age(timestamp: datetime, at: datetime) -> str:
    """The time from a timestamp to `at`: `3 days ago`, `5 hours ago`, `12 min ago`, `just now`."""
    minutes = int((at - timestamp).total_seconds()) // 60
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} hours ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def number(value: float) -> str:
    """Formats a number with separators for thousands, and one decimal below a hundred.

    >>> number(1234567), number(12.345), number(0)
    ('1,234,567', '12.3', '0')
    """
    return f"{value:,.1f}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"


def share(size: float, most: float) -> float:
    """The length of a bar in per cent of the longest one."""
    return round(100 * max(size, 0) / most, 1) if most > 0 else 0


def _tiles(health: Health) -> list[Tile]:
    today = health.calls[-1][1]
    left = "unknown" if health.calls_left is None else number(health.calls_left)
    fresh = sum(each.state == "ok" and not each.stale for each in health.entities)
    skipped = sum(each.state == "skipped" and each.synced is None for each in health.entities)
    return [
        Tile("live records", number(sum(each.live for each in health.entities))),
        Tile(
            "entities up to date",
            f"{fresh} of {len(health.entities) - skipped}",
            f"{skipped} not readable with this key" if skipped else None,
        ),
        Tile("calls left today", left, f"after the last run; {number(today)} used today"),
        Tile("deletions found", number(sum(each.found for each in health.deletions)), f"in {DAYS} days"),
        Tile("failures", number(len(health.failures)), f"in {DAYS} days"),
        Tile("new columns", number(len(health.changes)), f"in {DAYS} days"),
    ]


def _shared_reasons(health: Health) -> dict[str, str]:
    """The reasons of several entities that are not among the failures already."""
    failures = [event.text for event in health.failures]
    return {
        reason: names
        for reason, names in health.shared_reasons.items()
        if not any(f": {reason}" in text for text in failures)
    }


def _calls(health: Health) -> Chart:
    return Chart(
        "Calls per day", ["day, UTC", "calls"], [Bar(day, [number(calls)], calls) for day, calls in health.calls]
    )


def _deletions(health: Health) -> Chart:
    rows = [Bar(each.entity, [number(each.found), number(each.restored)], each.found) for each in health.deletions]
    return Chart("Deleted", ["entity", "found", "restored"], rows)


def _state(each: Freshness) -> str:
    return "stale" if each.stale and each.state in ("ok", "skipped") else each.state


@cache
def _template() -> Template:
    # Anybody can write the names of people and companies: everything is escaped.
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "iso": lambda timestamp: timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "minute": lambda timestamp: timestamp.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "number": number,
        "share": share,
        "state": _state,
    }
    return environment.get_template("page.html.j2")
