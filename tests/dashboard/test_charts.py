"""The charts, drawn from figures of sales."""

from datetime import date
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.dashboard.charts import OWNERS, Chart, activity, columns, funnel, overdue, owners, pipelines
from pipelines.dashboard.queries import AHEAD, MONTHS, month
from pipelines.dashboard.sales import Activity, Closed, Currency, Month, Open, OverdueTasks, Owner, Stage, Sum, Won

TODAY = date(2026, 3, 18)
NONE = Won(Sum(), Sum(), Sum())


def currency(**facts: object) -> Currency:
    known = {"code": "EUR", "open": Open(), "month": NONE, "quarter": NONE, "pipelines": {}, "months": [], "owners": []}
    return Currency(**{**known, **facts})  # type: ignore[arg-type]


def rows(chart: Chart) -> list[tuple[str, ...]]:
    return [(row.name, *row.cells) for row in chart.rows]


def test_funnel_has_a_chart_per_pipeline_with_one_scale() -> None:
    stages = {
        "Renewals": [Stage(1, 400, 100, name="Due")],
        "Sales": [Stage(2, 10, 5, name="First talk"), Stage(3, 1234567.4, 0, name=None)],
    }
    renewals, sales = funnel(currency(pipelines=stages))
    assert (renewals.title, rows(renewals)) == ("Renewals", [("Due", "1", "400", "100")])
    assert rows(sales) == [("First talk", "2", "10", "5"), ("no stage", "3", "1,234,567", "0")]
    assert renewals.most == sales.most == 1234567.4


def test_columns_stack_what_is_expected_on_what_is_won() -> None:
    months = [
        Month(date(2026, 2, 1), Sum(1, 500), Sum()),
        Month(date(2026, 3, 1), Sum(1, 300), Sum(2, 700)),
        Month(date(2026, 4, 1), Sum(), Sum(1, 250)),
    ]
    drawn = [(each.won, each.expected, each.text, each.state) for each in columns(months, TODAY)]
    assert drawn == [(50, 0, "500", "past"), (30, 70, "1k", "now"), (0, 25, "250", "ahead")]
    assert [each.won for each in columns([Month(date(2026, 3, 1), Sum(), Sum())], TODAY)] == [0]


def test_owners_and_activity_name_the_first_ones() -> None:
    many = [Owner(1, 10.0 * n, 0, 0, f"Ada {n}", Sum(1, 5)) for n in range(OWNERS + 3)]
    chart = owners(currency(code=None, owners=many))
    assert (chart.title, len(chart.rows), chart.note) == ("No currency", OWNERS, f"the first {OWNERS} of {OWNERS + 3}")
    assert rows(chart)[1] == ("Ada 1", "1", "10", "5")
    assert rows(activity("By week", "week", [Activity("2026-03-16", 1, 2, 3)])) == [("2026-03-16", "1", "2", "3")]
    assert rows(overdue([OverdueTasks("Ada", 1200, 3)])) == [("Ada", "1,200", "3 days")]
    assert overdue([OverdueTasks("Ada", 1200, 3)]).note is None


def test_pipelines_without_a_closed_deal_have_no_rate() -> None:
    chart = pipelines({"Renewals": Closed(0, 0, None, None), "Sales": Closed(3, 1, 0.75, 41.6)})
    assert rows(chart) == [("Renewals", "0", "0", "–", "–"), ("Sales", "3", "1", "75%", "42")]
    assert (chart.most, [row.size for row in chart.rows]) == (1, [0, 0.75])


@given(st.dates(date(1980, 1, 1), date(2100, 1, 1)))
def test_months_follow_each_other_around_this_one(today: date) -> None:
    months = [month(today, ahead) for ahead in range(1 - MONTHS, AHEAD + 1)]
    assert months[MONTHS - 1] == today.replace(day=1)
    assert all(28 <= (after - before).days <= 31 and after.day == 1 for before, after in pairwise(months))
