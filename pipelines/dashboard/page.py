"""Health and sales -> one HTML page without a script, and without a font or image from elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pipelines.engine.report import by_reason
from sources.insightly.errors import plural

from . import charts
from .charts import Bar, Chart, days, number, percent, share
from .health import DAYS, Freshness, Health
from .queries import ACTIVITY, CLOSED, IDLE, LISTS, MONTHLY, OVERDUE, OWNERS, PERIODS, SOON, STAGES, WEEKS, periods
from .sales import Currency, Sales, Won

FOLDER = Path(__file__).parent
VERDICTS = {"fresh": "✓ Every table is up to date.", "stale": "! Not up to date:", "failed": "✗ The last sync failed:"}
SUBJECTS = {
    **dict.fromkeys((STAGES, MONTHLY, PERIODS, LISTS, OWNERS), "Deals"),
    OVERDUE: "Overdue tasks",
    ACTIVITY: "Activity",
}
"""What a query is about, for the reason why it cannot be run."""
FIRST = 4
"""The currencies that are shown at once; the others unfold."""


@dataclass(frozen=True)
class Change:
    """What became more or less, in words; `good` is None if it is neither good nor bad."""

    text: str
    good: bool | None


@dataclass(frozen=True)
class Note:
    """A line below a figure, after what has changed."""

    text: str
    change: Change | None = None


@dataclass(frozen=True)
class Tile:
    """One figure: its name, its notes, and the id of the list that it counts."""

    name: str
    figure: str
    notes: Sequence[Note] = ()
    list: str | None = None


@dataclass(frozen=True)
class Page:
    """The contents of the page; `health` and `sales` are None if nothing was ever synced.

    `deal_url` is the URL of a deal in Insightly up to its id, None if it is not known.
    """

    destination: str
    at: datetime
    health: Health | None
    sales: Sales | None = None
    deal_url: str | None = None

    def html(self, busy: bool = False) -> str:
        """Renders the page.

        Args:
            busy: whether a run is using the destination, so that the page shows the time before it.
        """
        health, sales = self.health, self.sales
        return _template().render(
            account=(health and health.account) or "Insightly",
            age=lambda timestamp: age(timestamp, self.at),
            at=self.at,
            busy=busy,
            calls=_calls(health) if health else None,
            currency_tiles=lambda currency: _currency_tiles(currency, self.at.date()),
            day=lambda day: _day(day, self.at.date()),
            deal_url=self.deal_url,
            deletions=_deletions(health) if health else None,
            destination=self.destination,
            health=health,
            health_tiles=_health_tiles(health) if health else (),
            missing=_missing(sales) if sales else {},
            sales=sales,
            shared=_shared_reasons(health) if health else {},
            tiles=_tiles(sales) if sales else (),
        )


def age(timestamp: datetime, at: datetime) -> str:
    """The time from a timestamp to `at`: `3 days ago`, `5 hours ago`, `12 min ago`, `just now`."""
    minutes = int((at - timestamp).total_seconds()) // 60
    if minutes < 1:
        return "just now"
    if minutes < 120:
        return f"{minutes} min ago"
    return f"{minutes // 60} hours ago" if minutes < 48 * 60 else f"{minutes // 1440} days ago"


def change(now: float, before: float) -> Change | None:
    """The growth in per cent; None from nothing.

    >>> change(150, 100).text, change(50, 100).text, change(100, 100).text, change(5000, 1).text, change(1, 0)
    ('▲ 50%', '▼ 50%', '= 0%', '▲ over 999%', None)
    """
    if before <= 0:
        return None
    rate = round(100 * (now - before) / before)
    if rate == 0:
        return Change("= 0%", None)
    return Change("▲ over 999%" if rate > 999 else f"▲ {rate}%" if rate > 0 else f"▼ {-rate}%", rate > 0)


def _currency_tiles(currency: Currency, today: date) -> list[Tile]:
    left_out, bounds = currency.open.unweighted, periods(today)
    (last_month, same_day), (last_quarter, same_day_of_quarter) = (
        bounds[f"last {unit} to date"] for unit in ("month", "quarter")
    )
    return [
        Tile("Open pipeline", number(currency.open.value), [Note(plural(currency.open.deals, "deal"))]),
        Tile(
            "Weighted",
            number(currency.open.weighted),
            [
                Note("value × probability"),
                *([Note(f"{plural(left_out, 'deal')} without a probability left out")] * (left_out > 0)),
            ],
        ),
        _won(f"{today:%B}", currency.month, f"{last_month:%B}", same_day),
        _won(_quarter(today), currency.quarter, _quarter(last_quarter), same_day_of_quarter),
    ]


def _won(period: str, won: Won, before: str, same_day: date) -> Tile:
    """Compares with the period before until the same day of it."""
    to_date = f"{number(won.before_to_date.value)} by {same_day.day} {same_day:%B}"
    growth = change(won.now.value, won.before_to_date.value)
    notes = [
        Note(plural(won.now.deals, "deal")),
        Note(to_date if growth is None else f"vs {to_date}", growth),
        Note(f"{before}: {number(won.before.value)}, {plural(won.before.deals, 'deal')}"),
    ]
    if not won.before.deals:
        notes[1:] = [Note(f"none in {before}")]
    return Tile(f"Won in {period}", number(won.now.value), notes)


def _quarter(day: date) -> str:
    return f"Q{(day.month + 2) // 3}"


def _tiles(sales: Sales) -> list[Tile]:
    """The figures that have no currency, without those that cannot be read."""
    closed, before = sales.closed, sales.closed_before
    rate, average = f"{percent(before.rate)} in the {CLOSED} before", f"{days(before.days)} in the {CLOSED} before"
    tiles: dict[str, list[Tile]] = {
        PERIODS: [
            Tile(
                "Win rate",
                percent(closed.rate),
                [
                    Note(f"{number(closed.won)} won, {number(closed.lost)} lost in {CLOSED} days"),
                    Note(rate, _difference(closed.rate, before.rate, 100, "point", more_is_good=True)),
                ],
            ),
            Tile(
                "Days to close",
                days(closed.days),
                [
                    Note(f"average of deals won in {CLOSED} days"),
                    Note(average, _difference(closed.days, before.days, 1, "day", more_is_good=False)),
                ],
            ),
        ],
        LISTS: [
            Tile("Closing soon", number(sales.closing.total), [Note(f"in {SOON} days")], "closing"),
            Tile("Past their date", number(sales.late.total), [Note("still open")], "late"),
            Tile("No activity", number(sales.idle.total), [Note(f"for {IDLE} days")], "idle"),
        ],
        OVERDUE: [
            Tile("Overdue tasks", number(sum(each.tasks for each in sales.overdue)), [Note("of all owners")], "tasks")
        ],
    }
    return [tile for query, of in tiles.items() if query not in sales.missing for tile in of]


def _difference(now: float | None, before: float | None, scale: int, unit: str, more_is_good: bool) -> Change | None:
    if now is None or before is None:
        return None
    more = round(scale * now) - round(scale * before)
    if more == 0:
        return Change("=", None)
    return Change(f"{'▲' if more > 0 else '▼'} {plural(abs(more), unit)},", (more > 0) == more_is_good)


def _missing(sales: Sales) -> dict[str, str]:
    """The reasons why something is not shown, each once, with what it is."""
    reasons = by_reason((SUBJECTS[query], reason) for query, reason in sales.missing.items())
    return {reason: ", ".join(dict.fromkeys(subjects)) for reason, subjects in reasons.items()}


def _health_tiles(health: Health) -> list[Tile]:
    today = health.calls[-1][1]
    left = "unknown" if health.calls_left is None else number(health.calls_left)
    fresh = sum(each.state == "ok" and not each.stale for each in health.entities)
    skipped = sum(each.state == "skipped" and each.synced is None for each in health.entities)
    return [
        Tile("live records", number(sum(each.live for each in health.entities))),
        Tile(
            "entities up to date",
            f"{fresh} of {len(health.entities) - skipped}",
            [Note(f"{skipped} not readable with this key")] if skipped else (),
        ),
        Tile("calls left today", left, [Note(f"after the last run; {number(today)} used today")]),
        Tile("deletions found", number(sum(each.found for each in health.deletions)), [Note(f"in {DAYS} days")]),
        Tile("failures", number(len(health.failures)), [Note(f"in {DAYS} days")]),
        Tile("new columns", number(len(health.changes)), [Note(f"in {DAYS} days")]),
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
    return Chart(f"Deleted in the last {DAYS} days", ["entity", "found", "restored"], rows)


def _state(each: Freshness) -> str:
    return "stale" if each.stale and each.state in ("ok", "skipped") else each.state


def _minute(timestamp: datetime) -> str:
    utc = timestamp.astimezone(UTC)
    return f"{utc:%A}, {utc.day} {utc:%B %Y, %H:%M} UTC"


def _day(day: date, today: date) -> str:
    return f"{day.day} {day:%b}" if day.year == today.year else f"{day.day} {day:%b %Y}"


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
    environment.globals |= {
        "charts": charts,
        "closed": CLOSED,
        "days": DAYS,
        "first": FIRST,
        "idle": IDLE,
        "soon": SOON,
        "style": (FOLDER / "page.css").read_text(encoding="utf-8"),
        "verdicts": VERDICTS,
        "weeks": WEEKS,
    }
    environment.filters |= {
        "iso": lambda timestamp: timestamp.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "minute": _minute,
        "month": lambda day: f"{day:%b}",
        "number": number,
        "plural": plural,
        "share": share,
        "state": _state,
    }
    return environment.get_template("page.html.j2")
