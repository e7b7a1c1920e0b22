"""Rows of marts -> the CRM charts. Pure logic."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from .page import Bar, Chart, ChartGroup, number

Row = Mapping[str, Any]
MONTHS, WEEKS, OWNERS = 12, 8, 15
"""The months and weeks that the charts show, and the owners that they name."""
MARTS = DEALS, ACTIVITY = "pipeline_by_stage_and_month", "activity_by_owner_and_week"


def crm_charts(marts: Mapping[str, Sequence[Row] | str], today: date) -> list[ChartGroup]:
    """Draws the funnel, the deals won by month, and the activity.

    Args:
        marts: the rows of each of `MARTS`, or the reason why it cannot be queried.
        today: in UTC.
    """
    deals, activity = marts[DEALS], marts[ACTIVITY]
    return [
        _group("funnel", "Open deals by stage", deals, funnel),
        _group("won", f"Won in the last {MONTHS} months", deals, lambda rows: won(rows, today)),
        _group("activity", f"Activity of the last {WEEKS} weeks", activity, lambda rows: activities(rows, today)),
    ]


def funnel(rows: Iterable[Row]) -> list[Chart]:
    """One chart per pipeline and currency: deals and their value by stage, in the pipeline's order."""
    stages: dict[tuple[str, str], dict[tuple[int, str], list[float]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for row in rows:
        if row["deal_state"] == "OPEN":
            chart = stages[row["pipeline_name"] or "No pipeline", row["currency"] or "no currency"]
            stage = chart[_stage_order(row), row["stage_name"] or "no stage"]
            stage[0] += row["deals"]
            stage[1] += float(row["total_value"] or 0)
    return [
        Chart(
            f"{pipeline}, {currency}",
            ["stage", "deals", "value"],
            [Bar(name, [number(deals), f"{value:,.0f}"], value) for (_, name), (deals, value) in sorted(of.items())],
        )
        for (pipeline, currency), of in sorted(stages.items())
    ]


def won(rows: Iterable[Row], today: date) -> list[Chart]:
    """One chart per currency: deals won and their value by month, ending with this month."""
    months = [_month(today, back) for back in range(MONTHS - 1, -1, -1)]
    by_currency: dict[str, dict[date, list[float]]] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
    for row in rows:
        if row["deal_state"] == "WON" and row["close_month"] in months:
            month = by_currency[row["currency"] or "no currency"][row["close_month"]]
            month[0] += row["deals"]
            month[1] += float(row["total_value"] or 0)
    return [
        Chart(
            currency,
            ["month", "deals", "value"],
            [Bar(f"{month:%Y-%m}", [number(of[month][0]), f"{of[month][1]:,.0f}"], of[month][1]) for month in months],
        )
        for currency, of in sorted(by_currency.items())
    ]


def activities(rows: Iterable[Row], today: date) -> list[Chart]:
    """Activities by week, and by owner, the most active first."""
    monday = today - timedelta(days=today.weekday())
    weeks = [monday - timedelta(weeks=back) for back in range(WEEKS - 1, -1, -1)]
    by_week: dict[date, list[int]] = defaultdict(lambda: [0, 0, 0])
    by_owner: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for row in rows:
        if row["week_begins"] in weeks:
            owner = row["owner_name"] or (f"user {row['owner_user_id']}" if row["owner_user_id"] else "no owner")
            for at, kind in enumerate(("tasks_completed", "events", "notes")):
                by_week[row["week_begins"]][at] += row[kind]
                by_owner[owner][at] += row[kind]
    if not by_owner:
        return []
    most = sorted(by_owner.items(), key=lambda each: (-sum(each[1]), each[0]))
    more = f"the {OWNERS} most active of {len(most)}" if len(most) > OWNERS else None
    return [
        Chart(
            "By week", ["week from", "tasks", "events", "notes"], [_counts(f"{w:%Y-%m-%d}", by_week[w]) for w in weeks]
        ),
        Chart("By owner", ["owner", "tasks", "events", "notes"], [_counts(*each) for each in most[:OWNERS]], more),
    ]


def _group(key: str, title: str, rows: Sequence[Row] | str, draw: Callable[[Sequence[Row]], list[Chart]]) -> ChartGroup:
    if isinstance(rows, str):
        return ChartGroup(key, title, missing=f"Not available: {rows}.")
    charts = draw(rows)
    return ChartGroup(key, title, charts, None if charts else "No data.")


def _counts(name: str, counts: Sequence[int]) -> Bar:
    return Bar(name, [number(each) for each in counts], sum(counts))


def _stage_order(row: Row) -> int:
    """The order of the row's stage; deals without a stage come last."""
    return 2**31 if row["stage_order"] is None else int(row["stage_order"])


def _month(today: date, back: int) -> date:
    years, month = divmod(today.year * 12 + today.month - 1 - back, 12)
    return date(years, month + 1, 1)
