"""Rows of the queries -> the figures of sales. Pure logic."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from .queries import ACTIVITY, AHEAD, LISTS, MONTHLY, MONTHS, OVERDUE, OWNERS, PERIODS, STAGES, WEEKS, month

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sum:
    """Some deals of one currency, and their value."""

    deals: int = 0
    value: float = 0


@dataclass(frozen=True)
class Open(Sum):
    """Open deals; `weighted` is value × probability, without the `unweighted` deals that have no probability."""

    weighted: float = 0
    unweighted: int = 0


@dataclass(frozen=True)
class Won:
    """Deals won in a period, in all of the one before, and in the one before until the same day of it."""

    now: Sum
    before: Sum
    before_to_date: Sum


@dataclass(frozen=True)
class Closed:
    """Deals of all currencies that were closed in a period.

    `rate` is won / (won + lost), and `days` the average from the creation of a deal to the day on which it was won.
    """

    won: int
    lost: int
    rate: float | None
    days: float | None


@dataclass(frozen=True)
class Stage(Open):
    """The open deals of a stage."""

    name: str | None = None


@dataclass(frozen=True)
class Month:
    """Deals won in a month, and what its open deals are worth, weighted, by their forecast dates."""

    month: date
    won: Sum
    expected: Sum


@dataclass(frozen=True)
class Owner(Open):
    """The open deals of a user, and those won in this quarter."""

    name: str = ""
    won: Sum = Sum()


@dataclass(frozen=True)
class Currency:
    """All about the deals of one currency; `code` is None for deals without one."""

    code: str | None
    open: Open
    month: Won
    quarter: Won
    pipelines: Mapping[str, Sequence[Stage]]
    months: Sequence[Month]
    owners: Sequence[Owner]


@dataclass(frozen=True)
class Deal:
    """An open deal of a list. The days are until the forecast date, and since the last activity."""

    id: int
    name: str | None
    organisation: str | None
    stage: str | None
    owner: str
    currency: str | None
    value: float | None
    closes: date | None
    days_left: int | None
    last_activity: date | None
    days_without_activity: int | None


@dataclass(frozen=True)
class DealList:
    """How many deals there are, and the most urgent ones."""

    total: int
    deals: Sequence[Deal]


@dataclass(frozen=True)
class OverdueTasks:
    """The overdue tasks of a user; `days` are those of the oldest."""

    owner: str
    tasks: int
    days: int


@dataclass(frozen=True)
class Activity:
    """Tasks completed, events, and notes: of a week, named by its Monday, or of a user."""

    name: str
    tasks: int = 0
    events: int = 0
    notes: int = 0

    @property
    def total(self) -> int:
        return self.tasks + self.events + self.notes


@dataclass(frozen=True)
class Sales:
    """The figures on the day `today`, in UTC.

    `missing` has the reason for each query that cannot be run; its figures are then empty.
    """

    today: date
    missing: Mapping[str, str] = field(default_factory=dict)
    currencies: Sequence[Currency] = ()
    closed: Closed = Closed(0, 0, None, None)
    closed_before: Closed = Closed(0, 0, None, None)
    pipelines: Mapping[str, Closed] = field(default_factory=dict)
    closing: DealList = DealList(0, ())
    late: DealList = DealList(0, ())
    idle: DealList = DealList(0, ())
    overdue: Sequence[OverdueTasks] = ()
    weeks: Sequence[Activity] = ()
    active: Sequence[Activity] = ()


def sales(answers: Mapping[str, Sequence[Row] | str], today: date) -> Sales:
    """Figures from the answers of the queries: rows, or the reason why there are none."""
    missing = {name: answer for name, answer in answers.items() if isinstance(answer, str)}
    rows = {name: [] if isinstance(answer, str) else answer for name, answer in answers.items()}
    recent = [row for row in rows[PERIODS] if row["period"] == "last days"]
    by_pipeline = _grouped(recent, "pipeline_name")
    return Sales(
        today,
        missing,
        _currencies(rows, today),
        _closed(recent),
        _closed(row for row in rows[PERIODS] if row["period"] == "days before"),
        {name or "no pipeline": _closed(of) for name, of in sorted(by_pipeline.items(), key=_by_name)},
        **{name: _deals(row for row in rows[LISTS] if row["list"] == name) for name in ("closing", "late", "idle")},
        overdue=sorted(
            (OverdueTasks(_owner(row), int(row["tasks"]), int(row["days_overdue"])) for row in rows[OVERDUE]),
            key=lambda each: (-each.tasks, each.owner),
        ),
        weeks=_weeks(rows[ACTIVITY], today),
        active=_active(rows[ACTIVITY]),
    )


def _currencies(rows: Mapping[str, Sequence[Row]], today: date) -> list[Currency]:
    """Each currency with deals that are open or were closed recently, the one with the most open deals first."""
    of = {name: _grouped(rows[name], "currency") for name in (STAGES, MONTHLY, PERIODS, OWNERS)}
    found = [
        Currency(
            code,
            _open(of[STAGES][code]),
            _won(of[PERIODS][code], "month"),
            _won(of[PERIODS][code], "quarter"),
            _pipelines(of[STAGES][code]),
            _months(of[MONTHLY][code], today),
            _owners(of[OWNERS][code]),
        )
        for code in {code: None for each in list(of.values()) for code in each}
    ]
    return sorted(
        found, key=lambda each: (-each.open.deals, -sum(month.won.deals for month in each.months), each.code or "~")
    )


def _open(rows: Iterable[Row]) -> Open:
    rows = list(rows)
    return Open(
        _count(rows, "deals"), _total(rows, "total_value"), _total(rows, "weighted_value"), _count(rows, "unweighted")
    )


def _won(rows: Sequence[Row], unit: str) -> Won:
    def of(period: str) -> Sum:
        inside = [row for row in rows if row["period"] == period]
        return Sum(_count(inside, "won"), _total(inside, "won_value"))

    return Won(of(f"this {unit}"), of(f"last {unit}"), of(f"last {unit} to date"))


def _closed(rows: Iterable[Row]) -> Closed:
    rows = list(rows)
    won, lost, days, with_days = (_count(rows, name) for name in ("won", "lost", "days_to_win", "deals_with_days"))
    return Closed(
        won,
        lost,
        round(won / (won + lost), 4) if won + lost else None,
        round(days / with_days, 1) if with_days else None,
    )


def _pipelines(rows: Iterable[Row]) -> dict[str, list[Stage]]:
    """The stages of each pipeline, in its order; deals without a stage come last."""
    ordered = sorted(
        rows,
        key=lambda row: (
            row["pipeline_name"] is None,
            row["pipeline_name"] or "",
            row["stage_order"] is None,
            row["stage_order"] or 0,
            row["stage_name"] or "",
        ),
    )
    return {
        name or "No pipeline": [Stage(**vars(_open([row])), name=row["stage_name"]) for row in of]
        for name, of in _grouped(ordered, "pipeline_name").items()
    }


def _months(rows: Sequence[Row], today: date) -> list[Month]:
    def of(state: str, value: str, first: date) -> Sum:
        inside = [row for row in rows if row["deal_state"] == state and row["close_month"] == first]
        return Sum(_count(inside, "deals"), _total(inside, value))

    months = [month(today, ahead) for ahead in range(1 - MONTHS, AHEAD + 1)]
    return [Month(each, of("WON", "total_value", each), of("OPEN", "weighted_value", each)) for each in months]


def _owners(rows: Iterable[Row]) -> list[Owner]:
    """The one with the most open value first."""
    found = (
        Owner(
            int(row["deals"]),
            _total([row], "open_value"),
            _total([row], "weighted_value"),
            0,
            _owner(row),
            Sum(int(row["won"]), _total([row], "won_value")),
        )
        for row in rows
    )
    return sorted(found, key=lambda each: (-each.value, -each.won.value, each.name))


def _deals(rows: Iterable[Row]) -> DealList:
    rows = list(rows)
    return DealList(
        int(rows[0]["total"]) if rows else 0,
        [
            Deal(
                int(row["opportunity_id"]),
                row["opportunity_name"],
                row["organisation_name"],
                row["stage_name"],
                _owner(row),
                row["currency"],
                None if row["opportunity_value"] is None else _total([row], "opportunity_value"),
                row["forecast_close_date"],
                row["days_left"],
                row["last_activity_on"],
                row["days_without_activity"],
            )
            for row in rows
        ],
    )


def _weeks(rows: Sequence[Row], today: date) -> list[Activity]:
    of, monday = _grouped(rows, "week_begins"), today - timedelta(days=today.weekday())
    weeks = [monday - timedelta(weeks=back) for back in range(WEEKS - 1, -1, -1)]
    return [_activity(f"{week}", of[week]) for week in weeks] if rows else []


def _active(rows: Iterable[Row]) -> list[Activity]:
    """The most active owner first."""
    by_owner = defaultdict[str, list[Row]](list)
    for row in rows:
        by_owner[_owner(row)].append(row)
    return sorted((_activity(owner, of) for owner, of in by_owner.items()), key=lambda each: (-each.total, each.name))


def _activity(name: str, rows: Sequence[Row]) -> Activity:
    return Activity(name, *(_count(rows, kind) for kind in ("tasks_completed", "events", "notes")))


def _owner(row: Row) -> str:
    return row["owner_name"] or (f"user {row['owner_user_id']}" if row["owner_user_id"] else "no owner")


def _grouped(rows: Iterable[Row], column: str) -> defaultdict[Any, list[Row]]:
    groups = defaultdict[Any, list[Row]](list)
    for row in rows:
        groups[row[column]].append(row)
    return groups


def _by_name(item: tuple[str | None, object]) -> tuple[bool, str]:
    return item[0] is None, item[0] or ""


def _count(rows: Iterable[Row], column: str) -> int:
    return sum(int(row[column] or 0) for row in rows)


def _total(rows: Iterable[Row], column: str) -> float:
    """Exact until the end, and rounded to cents."""
    return round(float(sum(row[column] or 0 for row in rows)), 2)
