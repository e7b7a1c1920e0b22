"""The figures of sales of a small account made by hand, at the borders of months, and what is shown without tables."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
import sqlglot
from sqlglot import exp

from pipelines.commands.sweep import sweep
from pipelines.dashboard.build import build_page, report
from pipelines.dashboard.page import Page, change
from pipelines.dashboard.queries import LISTED, MARTS, QUERIES, periods, queries
from pipelines.dashboard.sales import Closed, Currency, Month, Open, Owner, Sales, Stage, Sum, Won
from pipelines.destinations.dataset import Dataset
from pipelines.sandbox import Contents, Store
from pipelines.views.build import bundled, query
from pipelines.views.dialect import TESTED, ViewWriter
from pipelines.views.marts import Mart, load, plan, tables_of
from pipelines.views.relations import known_tables
from sources.insightly.config.hosts import record_url
from sources.insightly.errors import plural
from tests.support.crm import OPEN, Clock, Crm, PostgresCrm, isolated_crm
from tests.support.expected import normalize

NOW = datetime(2026, 3, 31, 23, 30, tzinfo=UTC)
"""The last half hour of a quarter, whose month before has no such day."""
NONE, JANUARY = Sum(), Sum(1, 1000)


def write(store: Store) -> list[int]:
    """An account with two currencies; returns the ids of the deals that are to be deleted."""

    def deal(name: str, state: str | None, value: Any, currency: str | None = "EUR", **fields: Any) -> int:
        known = {"OPPORTUNITY_NAME": name, "OPPORTUNITY_STATE": state, "OPPORTUNITY_VALUE": value}
        known |= {"BID_CURRENCY": currency, "OWNER_USER_ID": 1, "DATE_CREATED_UTC": "2026-01-01 00:00:00"}
        days = {key: f"{fields[key]} 00:00:00" for key in ("ACTUAL_CLOSE_DATE", "FORECAST_CLOSE_DATE") if key in fields}
        return int(store.create("opportunities", {**known, **fields, **days})["OPPORTUNITY_ID"])

    def won(value: Any, day: str, currency: str = "EUR", state: str = "Won", **fields: Any) -> int:
        return deal("closed", state, value, currency, PIPELINE_ID=1, ACTUAL_CLOSE_DATE=day, **fields)

    store.create("users", {"USER_ID": 1, "FIRST_NAME": "Ada", "LAST_NAME": "Lovelace"})
    store.create("organisations", {"ORGANISATION_ID": 5, "ORGANISATION_NAME": "Analytical Engines"})
    for pipeline, name in ((1, "Sales"), (2, "Renewals")):
        store.create("pipelines", {"PIPELINE_ID": pipeline, "PIPELINE_NAME": name})
    for order, name in enumerate(("Enquiry", "Offer"), start=1):
        store.create(
            "pipeline_stages", {"STAGE_ID": 10 + order, "PIPELINE_ID": 1, "STAGE_NAME": name, "STAGE_ORDER": order}
        )
    store.create("pipeline_stages", {"STAGE_ID": 21, "PIPELINE_ID": 2, "STAGE_NAME": "Due", "STAGE_ORDER": 1})

    offer, busy = {"PIPELINE_ID": 1, "STAGE_ID": 12}, {"NEXT_ACTIVITY_DATE_UTC": "2026-04-02 09:00:00"}
    deal("closes today", "OPEN", 0.1, PROBABILITY=50, FORECAST_CLOSE_DATE="2026-03-31", **offer, **busy)
    deal("in 30 days", "Open", 0.2, FORECAST_CLOSE_DATE="2026-04-30", ORGANISATION_ID=5, **offer, **busy)
    deal("in 31 days", "OPEN", 50, PROBABILITY=10, FORECAST_CLOSE_DATE="2026-05-01", PIPELINE_ID=2, STAGE_ID=21, **busy)
    deal("late", "OPEN", 1000, "USD", PROBABILITY=10, FORECAST_CLOSE_DATE="2026-03-30", RESPONSIBLE_USER_ID=2, **busy)
    deal("never dated", "OPEN", None, None, LAST_ACTIVITY_DATE_UTC="2026-03-01 00:00:00", OWNER_USER_ID=None)
    deal("talked to", "OPEN", 4, "USD", PROBABILITY=0, LAST_ACTIVITY_DATE_UTC="2026-03-01 23:59:59", **busy)
    deal(
        "planned once",
        "OPEN",
        5,
        "USD",
        NEXT_ACTIVITY_DATE_UTC="2026-03-30 23:59:59",
        DATE_CREATED_UTC="2026-02-01 00:00:00",
    )
    deal("new", "OPEN", 6, "USD", DATE_CREATED_UTC="2026-03-02 00:00:00")
    deal("paused", "SUSPENDED", 7, FORECAST_CLOSE_DATE="2026-03-31")
    deal("given up", "ABANDONED", 8, ACTUAL_CLOSE_DATE="2026-03-31")
    deal("of no state", None, 9)
    won(100, "2026-03-31")
    won(10, "2026-03-01", RESPONSIBLE_USER_ID=2)
    won(0.07, "2026-02-28", DATE_CREATED_UTC="2026-02-18 23:59:59")
    won(1000, "2026-01-01")  # 89 days ago, in this quarter
    won(20000, "2025-12-31", DATE_CREATED_UTC="2026-01-05 00:00:00")  # entered after it was won
    won(300000, "2025-10-01")  # 181 days ago
    won(5, "2026-04-01")  # in the future
    won(7, "2025-03-31")  # too long ago for the chart
    won(40, "2026-03-15", "USD")
    won(30, "2026-02-10", "USD", "LOST")
    won(99, "2026-03-31", "EUR", "LOST")
    deal("won on an unknown day", "WON", 77)
    store.create("tasks", {"TITLE": "late", "DUE_DATE": "2026-03-29 00:00:00", "OWNER_USER_ID": 1, "COMPLETED": False})
    store.create("tasks", {"TITLE": "due", "DUE_DATE": "2026-03-31 00:00:00", "OWNER_USER_ID": 1, "COMPLETED": False})
    store.create("tasks", {"TITLE": "of nobody", "DUE_DATE": "2026-03-01 00:00:00", "COMPLETED": False})
    done = {"COMPLETED": True, "COMPLETED_DATE_UTC": "2026-03-29 23:59:59", "OWNER_USER_ID": 1}
    store.create("tasks", {"TITLE": "done on Sunday", "DUE_DATE": "2026-01-01 00:00:00", **done})
    store.create("notes", {"TITLE": "note", "OWNER_USER_ID": 1, "DATE_CREATED_UTC": "2026-03-30 00:00:00"})
    store.create("events", {"TITLE": "event", "OWNER_USER_ID": None, "START_DATE_UTC": "2026-02-09 00:00:00"})
    return [won(1_000_000, "2026-03-31"), deal("deleted", "OPEN", 1_000_000, PROBABILITY=90, **offer)]


@pytest.fixture(scope="module", params=["duckdb", pytest.param("postgres", marks=pytest.mark.sample(0))])
def by_hand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crm]:
    folder, clock = tmp_path_factory.mktemp("sales"), Clock()
    clock.now = NOW
    with (
        pytest.MonkeyPatch.context() as patch,
        isolated_crm(folder, contents=Contents(), switches=OPEN, clock=clock) as crm,
    ):
        if request.param == "postgres":
            server = request.getfixturevalue("postgres")
            crm = PostgresCrm(crm.sandbox, folder, clock, url=server.database(), server=server)
            patch.setenv("DESTINATION__POSTGRES__CREDENTIALS", crm.url)
        deleted = write(crm.sandbox.store)
        crm.sync_done("core")
        for id_ in deleted:
            crm.sandbox.store.delete("opportunities", id_)
        swept = sweep(crm.settings(), crm.target, ["opportunities"], thorough=True)
        assert swept.entities["opportunities"].deleted == 2
        yield crm


def page(crm: Crm, now: datetime = NOW) -> Page:
    # The runs are of the real clock, so nothing is asserted of their age.
    return build_page(crm.target, timedelta(days=1), now=now)


@pytest.fixture(autouse=True)
def reach(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = request.getfixturevalue("by_hand") if "by_hand" in request.fixturenames else None
    if isinstance(crm, PostgresCrm):
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", crm.url)


@pytest.fixture(scope="module")
def figures(by_hand: Crm) -> Sales:
    found = sales_of(page(by_hand))
    assert found.missing == {}
    return found


def sales_of(page: Page) -> Sales:
    assert page.sales is not None
    return page.sales


def currency(figures: Sales, code: str | None) -> Currency:
    return next(each for each in figures.currencies if each.code == code)


def test_open_deals_are_counted_by_currency_pipeline_and_stage(figures: Sales) -> None:
    assert [each.code for each in figures.currencies] == ["USD", "EUR", None]
    euros, dollars, none = (currency(figures, code) for code in ("EUR", "USD", None))
    # A deal without a probability is in the pipeline, but not in its weighted value.
    assert euros.open == Open(3, 50.3, 5.05, 1)
    assert dollars.open == Open(4, 1015, 100, 2)
    assert none.open == Open(1, 0, 0, 0)
    assert euros.pipelines == {
        "Renewals": [Stage(1, 50, 5, 0, "Due")],
        "Sales": [Stage(2, 0.3, 0.05, 1, "Offer")],
    }
    assert list(dollars.pipelines) == ["No pipeline"]


def test_won_is_compared_with_the_period_before_and_its_same_day(figures: Sales) -> None:
    euros, dollars = currency(figures, "EUR"), currency(figures, "USD")
    assert euros.month == Won(Sum(2, 110), Sum(1, 0.07), Sum(1, 0.07))
    # The quarter before ends on the same day, so all of it counts.
    assert euros.quarter == Won(Sum(4, 1110.07), Sum(2, 320000), Sum(2, 320000))
    assert (dollars.month.now, dollars.month.before, dollars.quarter.before) == (Sum(1, 40), NONE, NONE)


@pytest.mark.parametrize(
    ("day", "month", "quarter"),
    [
        ("2026-04-01", (Sum(1, 5), Sum(2, 110), Sum(1, 10)), (Sum(1, 5), Sum(4, 1110.07), Sum(1, 1000))),
        ("2026-02-28", (Sum(1, 0.07), JANUARY, JANUARY), (Sum(4, 1110.07), Sum(2, 320000), Sum(1, 300000))),
        ("2026-01-31", (JANUARY, Sum(1, 20000), Sum(1, 20000)), (Sum(4, 1110.07), Sum(2, 320000), Sum(1, 300000))),
    ],
)
def test_won_on_the_first_and_last_days_of_months(
    by_hand: Crm, day: str, month: tuple[Sum, Sum, Sum], quarter: tuple[Sum, Sum, Sum]
) -> None:
    euros = currency(sales_of(page(by_hand, datetime.fromisoformat(f"{day}T12:00:00+00:00"))), "EUR")
    assert (euros.month, euros.quarter) == (Won(*month), Won(*quarter))


def test_win_rate_and_days_to_close_are_of_ninety_days(figures: Sales) -> None:
    # Won after 89, 59, 10 and 73 days, and 89 days ago after 0; lost: two.
    assert figures.closed == Closed(5, 2, 0.7143, 46.2)
    # Won 90 days ago; the one entered too late has no days. The other was won 181 days ago.
    assert figures.closed_before == Closed(1, 0, 1.0, None)
    assert figures.pipelines == {"Sales": figures.closed}


def test_months_are_those_until_this_one_and_three_ahead(figures: Sales) -> None:
    months = currency(figures, "EUR").months
    assert (months[0].month, months[-1].month, len(months)) == (date(2025, 4, 1), date(2026, 6, 1), 15)
    assert [each for each in months if each.won.deals or each.expected.deals] == [
        Month(date(2025, 10, 1), Sum(1, 300000), NONE),
        Month(date(2025, 12, 1), Sum(1, 20000), NONE),
        Month(date(2026, 1, 1), Sum(1, 1000), NONE),
        Month(date(2026, 2, 1), Sum(1, 0.07), NONE),
        Month(date(2026, 3, 1), Sum(2, 110), Sum(1, 0.05)),
        Month(date(2026, 4, 1), NONE, Sum(1, 0)),
        Month(date(2026, 5, 1), NONE, Sum(1, 5)),
    ]


def test_deals_that_need_something_are_listed(figures: Sales) -> None:
    names = {
        name: (of.total, [(deal.name, deal.days_left, deal.days_without_activity) for deal in of.deals])
        for name, of in (("closing", figures.closing), ("late", figures.late), ("idle", figures.idle))
    }
    assert names == {
        "closing": (2, [("closes today", 0, 89), ("in 30 days", 30, 89)]),
        "late": (1, [("late", -1, 89)]),
        # An activity that was planned for yesterday is planned no longer.
        "idle": (2, [("planned once", None, 58), ("never dated", None, 30)]),
    }
    closing = figures.closing.deals[1]
    assert (closing.organisation, closing.stage, closing.owner) == ("Analytical Engines", "Offer", "Ada Lovelace")
    assert (closing.value, closing.currency, closing.closes) == (0.2, "EUR", date(2026, 4, 30))
    assert (figures.late.deals[0].owner, figures.idle.deals[1].owner) == ("user 2", "no owner")


def test_owners_are_the_responsible_users(figures: Sales) -> None:
    assert currency(figures, "EUR").owners == [
        Owner(3, 50.3, 5.05, 0, "Ada Lovelace", Sum(3, 1100.07)),
        Owner(0, 0, 0, 0, "user 2", Sum(1, 10)),
    ]
    assert [(each.owner, each.tasks, each.days) for each in figures.overdue] == [
        ("Ada Lovelace", 1, 2),
        ("no owner", 1, 30),
    ]


def test_activity_is_of_eight_weeks_from_monday(figures: Sales) -> None:
    assert [(each.name, each.tasks, each.events, each.notes) for each in figures.weeks if each.total] == [
        ("2026-02-09", 0, 1, 0),
        ("2026-03-23", 1, 0, 0),
        ("2026-03-30", 0, 0, 1),
    ]
    assert (figures.weeks[0].name, len(figures.weeks)) == ("2026-02-09", 8)
    assert [each.name for each in figures.active] == ["Ada Lovelace", "no owner"]


def test_page_shows_the_figures_and_links_deals(by_hand: Crm) -> None:
    shown = page(by_hand)
    html = shown.html()
    for text in ("1,110", "71%", "vs 0 by 28 February", "Q4: 320,000, 2 deals", "in UTC", "30 Apr", "none in February"):
        assert text in html, text
    assert "/details/" not in html  # the sandbox has no records that a browser could open
    assert "never dated" in html
    linked = replace(shown, deal_url="https://crm.eu1.insightly.com/details/Opportunity/")
    (deal,) = [each for each in linked.sales.idle.deals if each.name == "never dated"] if linked.sales else []
    assert f'href="https://crm.eu1.insightly.com/details/Opportunity/{deal.id}"' in linked.html()
    assert json.loads(json.dumps(report(shown).to_dict(), default=str))["sales"]["closed"]["won"] == 5


def test_links_are_for_insightlys_own_hosts_alone() -> None:
    assert record_url("https://api.na1.insightly.com/v3.1", "Opportunity") == (
        "https://crm.na1.insightly.com/details/Opportunity/"
    )
    for other in ("", "http://127.0.0.1:8765/v3.1", "https://api.na1.insightly.com.example.com/v3.1", "https://x/v3.1"):
        assert record_url(other, "Opportunity") is None


def test_lists_name_the_most_urgent_deals(tmp_path_factory: pytest.TempPathFactory) -> None:
    with isolated_crm(tmp_path_factory.mktemp("lists"), contents=Contents(), switches=OPEN) as crm:
        for number in range(LISTED + 3):
            late = f"2026-01-{20 - number:02} 00:00:00"
            fields = {"OPPORTUNITY_STATE": "OPEN", "FORECAST_CLOSE_DATE": late}
            crm.sandbox.store.create("opportunities", {"OPPORTUNITY_NAME": f"deal {number}", **fields})
        crm.sync_done("opportunities")
        shown = page(crm)
    late = sales_of(shown).late
    assert (late.total, [deal.name for deal in late.deals]) == (
        LISTED + 3,
        [f"deal {number}" for number in range(LISTED + 2, 2, -1)],
    )
    # One reason for each thing that is missing, once; the deals need no other table.
    assert shown.html().count("cannot be shown") == 2
    assert "<b>Overdue tasks</b> cannot be shown: needs tasks (never loaded)." in shown.html()


def test_page_without_deals_says_why_once(synced_crm: Crm) -> None:
    html = build_page(synced_crm.target, timedelta(days=1)).html()
    assert html.count("needs opportunities (never loaded)") == 1
    assert "Win rate</dt>" not in html


def test_page_without_a_column_says_so_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    with isolated_crm(tmp_path_factory.mktemp("dropped"), contents=Contents(), switches=OPEN) as crm:
        write(crm.sandbox.store)
        crm.sync_done("opportunities", "tasks", drop=["opportunities.bid_currency"])
        html = page(crm).html()
    # Amounts of unknown currencies are not added.
    assert (
        html.count("<b>Deals</b> cannot be shown")
        == html.count("Column &#39;bid_currency&#39; could not be resolved.")
        == 1
    )
    assert "Open pipeline</dt>" not in html
    assert "2 days" in html  # the oldest overdue task


@pytest.mark.parametrize("dialect", TESTED)
def test_queries_are_valid_in_every_dialect(dialect: str) -> None:
    known = known_tables(normalize)
    plans = plan([*load(bundled()), *queries(date(2026, 3, 31))], known, known, QUERIES)
    assert len(plans) == len(QUERIES)
    writer = ViewWriter(dialect, str, lambda name: ["crm", name], lambda name: ["marts", name])
    for each in plans:
        assert each.query is not None, each.reason
        (statement,) = sqlglot.parse(writer.select(each.query), read=dialect)
        assert isinstance(statement, exp.Query)
        assert statement.named_selects == each.query.named_selects


def test_page_of_an_empty_account_has_no_figures(tmp_path_factory: pytest.TempPathFactory) -> None:
    with isolated_crm(tmp_path_factory.mktemp("empty"), contents=Contents(), switches=OPEN) as crm:
        crm.sync_done("core")
        shown = page(crm)
    assert sales_of(shown).currencies == []
    html = shown.html()
    assert "No deal is open, and none was won or lost recently." in html
    assert "To do" not in html


def test_a_mart_has_the_time_of_the_page(by_hand: Crm) -> None:
    sql = "select max(days_overdue) as days from overdue_tasks"
    with by_hand.target.reading() as pipeline, Dataset(pipeline) as dataset:
        for day, days in (("2026-03-31", 30), ("2026-04-01", 31)):
            at = datetime.fromisoformat(f"{day}T00:00:00+00:00")
            assert query(pipeline, dataset, [Mart.parse("late", sql)], at) == {"late": [{"days": days}]}
        missing = query(pipeline, dataset, [Mart.parse("none", "select a from nowhere")], NOW)["none"]
    assert "nowhere" in str(missing)


def test_periods_end_on_the_same_day_or_with_their_month() -> None:
    ends = {day: periods(date.fromisoformat(day)) for day in ("2026-05-31", "2024-03-30", "2026-01-01")}
    to_date = {day: [str(of[f"last {unit} to date"][1]) for unit in ("month", "quarter")] for day, of in ends.items()}
    assert to_date == {
        "2026-05-31": ["2026-04-30", "2026-02-28"],
        "2024-03-30": ["2024-02-29", "2023-12-30"],
        "2026-01-01": ["2025-12-01", "2025-10-01"],
    }
    assert ends["2026-05-31"]["this quarter"] == (date(2026, 4, 1), date(2026, 6, 30))
    assert ends["2026-01-01"]["last quarter"] == (date(2025, 10, 1), date(2025, 12, 31))
    assert ends["2026-01-01"]["last days"] == (date(2025, 10, 4), date(2026, 1, 1))
    assert ends["2026-01-01"]["days before"] == (date(2025, 7, 6), date(2025, 10, 3))


def test_queries_read_the_marts_that_are_named() -> None:
    read = {table.name for each in queries(date(2026, 3, 31)) for table in tables_of(each.query or exp.select())}
    assert read == set(MARTS)
    assert all((bundled() / f"{name}.sql").exists() for name in MARTS)


def test_changes_are_in_words() -> None:
    good = change(120, 100)
    assert good is not None
    assert (good.text, good.good) == ("▲ 20%", True)
    assert change(5, 0) is None
    assert [plural(count, "deal") for count in (0, 1, 2)] == ["0 deals", "1 deal", "2 deals"]
