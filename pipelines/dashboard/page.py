"""Health and pictures -> one HTML page that needs nothing but itself: no script, no font, no image from elsewhere."""

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
    "failed": "✗ Some tables could not be brought up to date.",
}


@dataclass(frozen=True)
class Bar:
    """A row of a chart: what it is of, what is written beside it, and how long its bar is."""

    name: str
    cells: Sequence[str]
    size: float


@dataclass(frozen=True)
class Chart:
    """A table whose last column draws a bar a row; a screen reader reads the table."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Bar]
    note: str | None = None

    @property
    def most(self) -> float:
        return max((row.size for row in self.rows), default=0)


@dataclass(frozen=True)
class Picture:
    """One question about the CRM: its charts, or why there are none."""

    key: str
    title: str
    charts: Sequence[Chart] = ()
    missing: str | None = None


@dataclass(frozen=True)
class Page:
    """What the page tells; `health` None where nothing was ever synced."""

    destination: str
    at: datetime
    health: Health | None
    pictures: Sequence[Picture] = field(default_factory=tuple)

    def html(self, busy: bool = False) -> str:
        """The page.

        Args:
            busy: whether a run is at work now, so that this is how things were before it.
        """
        health = self.health
        return _template().render(
            age=lambda moment: age(moment, self.at),
            account=(health and health.account) or "Insightly",
            at=self.at,
            busy=busy,
            calls=_calls(health) if health else None,
            days=DAYS,
            deletions=_deletions(health) if health else None,
            destination=self.destination,
            health=health,
            pictures=self.pictures,
            style=(FOLDER / "page.css").read_text(encoding="utf-8"),
            tiles=_tiles(health) if health else (),
            verdicts=VERDICTS,
        )


@dataclass(frozen=True)
class Tile:
    """One figure at a glance."""

    name: str
    figure: str
    note: str | None = None


def age(moment: datetime, at: datetime) -> str:
    """How long before `at` that was, as it is said: `3 days ago`, `5 hours ago`, `12 min ago`, `just now`."""
    minutes = int((at - moment).total_seconds()) // 60
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} hours ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def number(value: float) -> str:
    """With thousands apart, and without decimals from a hundred on.

    >>> number(1234567), number(12.345), number(0)
    ('1,234,567', '12.3', '0')
    """
    return f"{value:,.1f}" if isinstance(value, float) and abs(value) < 100 else f"{value:,.0f}"


def share(size: float, most: float) -> float:
    """Per cent of the longest bar."""
    return round(100 * max(size, 0) / most, 1) if most > 0 else 0


def _tiles(health: Health) -> list[Tile]:
    today = health.calls[-1][1]
    left = "unknown" if health.calls_left is None else number(health.calls_left)
    fresh = sum(each.state == "ok" and not each.stale for each in health.entities)
    skipped = sum(each.state == "skipped" for each in health.entities)
    return [
        Tile("records, live", number(sum(each.live for each in health.entities))),
        Tile(
            "entities up to date",
            f"{fresh} of {len(health.entities) - skipped}",
            f"{skipped} not available to this key" if skipped else None,
        ),
        Tile("calls left today", left, f"after the last run; {number(today)} spent today"),
        Tile("found deleted", number(sum(each.found for each in health.deletions)), f"in {DAYS} days"),
        Tile("failures", number(len(health.failures)), f"in {DAYS} days"),
        Tile("new columns", number(len(health.changes)), f"in {DAYS} days"),
    ]


def _calls(health: Health) -> Chart:
    return Chart(
        "Calls a day", ["day, UTC", "calls"], [Bar(day, [number(calls)], calls) for day, calls in health.calls]
    )


def _deletions(health: Health) -> Chart:
    rows = [Bar(each.entity, [number(each.found), number(each.restored)], each.found) for each in health.deletions]
    return Chart("Deleted", ["entity", "found", "came back"], rows)


def _state(each: Freshness) -> str:
    return "stale" if each.stale and each.state == "ok" else each.state


@cache
def _template() -> Template:
    # Names of people and companies are written by anybody: everything is escaped.
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "iso": lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "minute": lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "number": number,
        "share": share,
        "state": _state,
    }
    return environment.get_template("page.html.j2")
