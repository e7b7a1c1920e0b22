"""Figures of sales -> tables with bars, and columns by month. Pure logic."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from .sales import Activity, Closed, Currency, Month, OverdueTasks

OWNERS = 12
"""The owners that a chart names."""


@dataclass(frozen=True)
class Bar:
    """A row of a chart: its name, its cells, and the length of its bar."""

    name: str
    cells: Sequence[str]
    size: float


@dataclass(frozen=True)
class Chart:
    """A table with a bar in each row; a screen reader reads the table.

    `scale` is the size of a bar that fills its cell; by default it is the longest one.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Bar]
    note: str | None = None
    scale: float | None = None

    @property
    def most(self) -> float:
        return max((row.size for row in self.rows), default=0) if self.scale is None else self.scale


@dataclass(frozen=True)
class Column:
    """A month: the heights of its two bars, in per cent of the highest month, and what is written above them."""

    month: date
    won: float
    expected: float
    text: str
    state: str


def funnel(currency: Currency) -> list[Chart]:
    """One chart per pipeline, by stage in its order; all of one currency have one scale."""
    most = max((stage.value for stages in currency.pipelines.values() for stage in stages), default=0)
    return [
        Chart(
            pipeline,
            ["stage", "deals", "value", "weighted"],
            [
                Bar(
                    stage.name or "no stage",
                    [number(stage.deals), number(stage.value), number(stage.weighted)],
                    stage.value,
                )
                for stage in stages
            ],
            scale=most,
        )
        for pipeline, stages in currency.pipelines.items()
    ]


def columns(months: Sequence[Month], today: date) -> list[Column]:
    """One column per month: deals won, and on top of them the deals that are expected."""
    most = max((month.won.value + month.expected.value for month in months), default=0)
    this = today.replace(day=1)
    return [
        Column(
            month.month,
            share(month.won.value, most),
            share(month.expected.value, most),
            compact(month.won.value + month.expected.value),
            "now" if month.month == this else "past" if month.month < this else "ahead",
        )
        for month in months
    ]


def owners(currency: Currency) -> Chart:
    """Open deals by owner, and what each has won in this quarter."""
    rows = [
        Bar(each.name, [number(each.deals), number(each.value), number(each.won.value)], each.value)
        for each in currency.owners
    ]
    title = currency.code or "No currency"
    return _longest(title, ["owner", "deals", "open", "won this quarter"], rows)


def overdue(tasks: Iterable[OverdueTasks]) -> Chart:
    """Overdue tasks by owner."""
    rows = [Bar(each.owner, [number(each.tasks), f"{number(each.days)} days"], each.tasks) for each in tasks]
    return _longest("By owner", ["owner", "tasks", "oldest"], rows)


def pipelines(closed: Mapping[str, Closed]) -> Chart:
    """Win rate and days by pipeline."""
    rows = [
        Bar(name, [number(each.won), number(each.lost), percent(each.rate), days(each.days)], each.rate or 0)
        for name, each in closed.items()
    ]
    return Chart("By pipeline", ["pipeline", "won", "lost", "win rate", "days to close"], rows, scale=1)


def activity(title: str, heading: str, rows: Iterable[Activity]) -> Chart:
    """Tasks, events and notes by week or owner."""
    bars = [Bar(each.name, [number(each.tasks), number(each.events), number(each.notes)], each.total) for each in rows]
    return _longest(title, [heading, "tasks", "events", "notes"], bars)


def number(value: float) -> str:
    """Formats a number with separators for thousands.

    >>> number(1234567), number(0)
    ('1,234,567', '0')
    """
    return f"{value:,.0f}"


def compact(value: float) -> str:
    """Formats a number in at most four characters, for a label.

    >>> [compact(value) for value in (0, 950, 1_240, 12_600, 999_600, 1_500_000, 2e9, 3e12)]
    ['', '950', '1.2k', '13k', '1M', '1.5M', '2B', '3T']
    """
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size * 0.9995:
            scaled = value / size
            return f"{scaled:.1f}".removesuffix(".0") + unit if scaled < 9.95 else f"{scaled:.0f}{unit}"
    return f"{value:.0f}" if value else ""


def percent(rate: float | None) -> str:
    """Formats a rate.

    >>> percent(0.416), percent(None)
    ('42%', '–')
    """
    return "–" if rate is None else f"{100 * rate:.0f}%"


def days(value: float | None) -> str:
    """Formats an average of days; `–` without one."""
    return "–" if value is None else f"{value:,.0f}"


def share(size: float, most: float) -> float:
    """The length of a bar in per cent of the longest one."""
    return round(100 * max(size, 0) / most, 1) if most > 0 else 0


def _longest(title: str, headings: Sequence[str], rows: Sequence[Bar]) -> Chart:
    more = f"the first {OWNERS} of {len(rows)}" if len(rows) > OWNERS else None
    return Chart(title, headings, rows[:OWNERS], more)
