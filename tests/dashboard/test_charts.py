"""The CRM charts, drawn from rows of marts."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipelines.dashboard.charts import ACTIVITY, DEALS, activities, crm_charts, funnel, won
from pipelines.dashboard.page import Chart

TODAY = date(2026, 3, 18)  # a Wednesday


def deal(**facts: Any) -> dict[str, Any]:
    row = {"pipeline_name": "Sales", "stage_name": "Offer", "stage_order": 2, "deal_state": "OPEN", "currency": "EUR"}
    return {**row, "close_month": date(2026, 3, 1), "deals": 1, "total_value": Decimal("10.5"), **facts}


def rows(chart: Chart) -> list[tuple[str, ...]]:
    return [(row.name, *row.cells) for row in chart.rows]


def test_funnel_adds_months_but_not_currencies_or_pipelines() -> None:
    charts = funnel(
        [
            deal(),
            deal(close_month=date(2026, 5, 1), deals=2, total_value=Decimal(100)),
            deal(stage_name="First talk", stage_order=1),
            deal(stage_name=None, stage_order=None, total_value=None),
            deal(currency="USD"),
            deal(pipeline_name=None, currency=None),
            deal(deal_state="WON", deals=50),
            deal(deal_state=None, deals=50),
        ]
    )
    assert [chart.title for chart in charts] == ["No pipeline, no currency", "Sales, EUR", "Sales, USD"]
    assert rows(charts[1]) == [("First talk", "1", "10"), ("Offer", "3", "110"), ("no stage", "1", "0")]


def test_won_deals_are_shown_by_currency_and_month() -> None:
    (euros, dollars) = won(
        [
            deal(deal_state="WON", deals=3, total_value=Decimal(1234567)),
            deal(deal_state="WON", close_month=date(2025, 4, 1), currency="USD"),
            deal(deal_state="WON", close_month=date(2025, 3, 1), deals=7),
            deal(deal_state="WON", close_month=None, deals=7),
            deal(deal_state="LOST", deals=7),
        ],
        TODAY,
    )
    assert (euros.title, dollars.title) == ("EUR", "USD")
    assert [row.name for row in euros.rows] == [f"2025-{month:02}" for month in range(4, 13)] + [
        f"2026-{month:02}" for month in range(1, 4)
    ]
    assert rows(euros)[-1] == ("2026-03", "3", "1,234,567")
    assert sum(row.size for row in euros.rows) == 1234567
    assert rows(dollars)[0] == ("2025-04", "1", "10")


def test_activity_is_shown_by_week_and_by_owner() -> None:
    def activity(
        week: date, owner: int | None, name: str | None, tasks: int, events: int, notes: int
    ) -> dict[str, Any]:
        counts = {"tasks_completed": tasks, "events": events, "notes": notes}
        return {"week_begins": week, "owner_user_id": owner, "owner_name": name, **counts}

    this, before = date(2026, 3, 16), date(2026, 1, 26)
    weeks, owners = activities(
        [
            activity(this, 1, "Ada", 1, 2, 3),
            activity(before, 1, "Ada", 4, 0, 0),
            activity(this, 2, None, 9, 9, 9),
            activity(this, None, None, 0, 0, 1),
            activity(before - timedelta(weeks=1), 1, "Ada", 100, 0, 0),
        ],
        TODAY,
    )
    assert rows(weeks)[0] == ("2026-01-26", "4", "0", "0")
    assert rows(weeks)[-1] == ("2026-03-16", "10", "11", "13")
    assert rows(owners) == [("user 2", "9", "9", "9"), ("Ada", "5", "2", "3"), ("no owner", "0", "0", "1")]
    assert activities([], TODAY) == []


def test_missing_charts_give_a_reason_and_others_are_drawn() -> None:
    drawn = crm_charts({DEALS: [deal()], ACTIVITY: "needs tasks, which was never loaded"}, TODAY)
    assert [(each.key, bool(each.charts)) for each in drawn] == [("funnel", True), ("won", False), ("activity", False)]
    assert "never loaded" in (drawn[2].missing or "")
    assert drawn[1].missing == "No data."


@given(st.dates(date(1980, 1, 1), date(2100, 1, 1)))
def test_won_deals_have_twelve_months_ending_with_this_one(today: date) -> None:
    (chart,) = won([deal(deal_state="WON", close_month=today.replace(day=1))], today)
    assert len(chart.rows) == 12
    assert [row.name for row in chart.rows] == sorted({row.name for row in chart.rows})
    assert chart.rows[-1].name == f"{today:%Y-%m}"
    assert chart.rows[-1].size > 0
