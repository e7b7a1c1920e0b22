"""The result of each mart, for hand-made records and for a generated account; computed without SQL."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import dlt
import psycopg2
import pyarrow as pa
import pytest

from pipelines.commands.sweep import sweep
from pipelines.engine.runner import opened
from pipelines.sandbox import Fault, Sandbox, Store, evolve
from pipelines.sandbox.store.shapes import LINK_NAMES
from pipelines.views.build import bundled, create_views
from pipelines.views.marts import load, plan
from pipelines.views.relations import known_tables
from sources.insightly import ENTITIES
from sources.insightly.rows.naming import VALID_FROM, VALID_TO
from tests.support.crm import Crm, PostgresCrm, attached, isolated_crm, read
from tests.support.expected import Row, normalize
from tests.support.marts import DESTINATIONS, answer, empty_crm
from tests.support.process import ROOT

TIMESTAMP = pa.timestamp("us", tz="UTC")
HISTORY = pa.schema(
    [
        *((name, pa.int64()) for name in ("opportunity_id", "pipeline_id", "stage_id")),
        ("opportunity_state", pa.string()),
        *((name, TIMESTAMP) for name in ("date_created_utc", VALID_FROM, VALID_TO)),
    ]
)
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)


def at(day: float) -> datetime:
    """A time in January 2026: `8.5` is noon of the 8th."""
    return JANUARY + timedelta(days=day - 1)


def version(
    deal: int,
    created: float,
    state: str | None,
    stage: int | None,
    begins: float,
    ends: float | None,
    pipeline: int = 1,
) -> Row:
    where = (None if (stage, pipeline) == (None, 1) else pipeline, stage)
    values = (deal, *where, state, at(created), at(begins), None if ends is None else at(ends))
    return dict(zip(HISTORY.names, values, strict=True))


VERSIONS = [
    # Older than the history; a version that moves nothing; on at 23:30 of the 8th; won.
    version(1, -30, "OPEN", 11, 1.0, 5.0),
    version(1, -30, "Open", 11, 5.0, 8.9792),
    version(1, -30, "OPEN", 12, 8.9792, 20.02),
    version(1, -30, "WON", 12, 20.02, None),
    # Back, and lost.
    version(2, 3, "OPEN", 12, 3.5, 10.0),
    version(2, 3, "OPEN", 11, 10.0, 12.0),
    version(2, 3, "LOST", 11, 12.0, None),
    # Still there.
    version(3, 2, "OPEN", 11, 2.5, None),
    # Without a pipeline, then in one, then deleted.
    version(4, 2, "OPEN", None, 2.0, 4.0),
    version(4, 2, "OPEN", 11, 4.0, 6.0),
    # Of no state, which is open; paused; open again in the same stage; moved on.
    version(5, 2, None, 11, 2.0, 3.0),
    version(5, 2, "SUSPENDED", 11, 3.0, 7.0),
    version(5, 2, "OPEN", 11, 7.0, 9.0),
    version(5, 2, "OPEN", 13, 9.0, None),
    # Moved on, and still there, whatever else was edited.
    version(6, 2, "OPEN", 11, 2.0, 4.0),
    version(6, 2, "OPEN", 12, 4.0, 6.0),
    version(6, 2, "OPEN", 12, 6.0, None),
    # In pipelines without stages.
    version(7, 2, "OPEN", None, 2.0, 4.0, pipeline=2),
    version(7, 2, "OPEN", None, 4.0, None, pipeline=3),
]


def people_and_lists(store: Store) -> None:
    store.create("users", {"USER_ID": 1, "FIRST_NAME": "Ada", "LAST_NAME": "Lovelace"})
    store.create("users", {"USER_ID": 2, "FIRST_NAME": None, "LAST_NAME": "Hopper"})
    store.create("pipelines", {"PIPELINE_ID": 1, "PIPELINE_NAME": "Sales"})
    for order, name in enumerate(("Enquiry", "Offer", "Contract"), start=1):
        store.create(
            "pipeline_stages",
            {"STAGE_ID": 10 + order, "PIPELINE_ID": 1, "STAGE_NAME": name, "STAGE_ORDER": order},
        )
    store.create("lead_sources", {"LEAD_SOURCE_ID": 7, "LEAD_SOURCE": "Fair"})


def deals(store: Store) -> list[int]:
    def deal(state: str | None, value: Any, currency: str | None = "EUR", **fields: Any) -> int:
        known = {"OPPORTUNITY_NAME": "deal", "OPPORTUNITY_STATE": state, "OPPORTUNITY_VALUE": value}
        made = store.create("opportunities", {**known, "BID_CURRENCY": currency, **fields})
        return int(made["OPPORTUNITY_ID"])

    offer = {"PIPELINE_ID": 1, "STAGE_ID": 12}
    march = {"FORECAST_CLOSE_DATE": "2026-03-31 00:00:00"}
    deal("OPEN", 0.1, PROBABILITY=50, **offer, **march)
    deal("Open", 0.2, PROBABILITY=None, **offer, FORECAST_CLOSE_DATE="2026-03-01 00:00:00")
    deal("OPEN", 1000, "USD", PROBABILITY=10, **offer, **march)
    deal("OPEN", None, None)
    deal("OPEN", 5, PROBABILITY=40, **march)
    deal("WON", 70.25, PROBABILITY=100, **offer, **march, ACTUAL_CLOSE_DATE="2026-02-28 00:00:00")
    deal("WON", 1, **offer, **march)
    deal("LOST", 8, PIPELINE_ID=1, STAGE_ID=11, ACTUAL_CLOSE_DATE="2026-02-01 00:00:00")
    deal("ABANDONED", 9, PIPELINE_ID=1, STAGE_ID=99, ACTUAL_CLOSE_DATE="2025-12-31 00:00:00")
    deal("SUSPENDED", 3, **offer, **march)
    return [deal("OPEN", 1_000_000, **offer, **march)]


def leads(store: Store) -> list[int]:
    def lead(source: int | None, created: str, converted: Any = False, **fields: Any) -> int:
        known = {"LAST_NAME": "lead", "LEAD_SOURCE_ID": source, "CONVERTED": converted, "DATE_CREATED_UTC": created}
        return int(store.create("leads", {**known, **fields})["LEAD_ID"])

    # Half an hour before March, in UTC; converted 2 and 5 days later, by the calendar.
    lead(7, "2026-02-28 23:30:00", True, CONVERTED_DATE_UTC="2026-03-02 00:10:00", CONVERTED_OPPORTUNITY_ID=1)
    lead(7, "2026-02-01 10:00:00", True, CONVERTED_DATE_UTC="2026-02-06 09:00:00")
    lead(7, "2026-02-10 10:00:00")
    lead(7, "2026-03-01 00:00:00", None)
    lead(None, "2026-03-05 10:00:00", True)
    lead(8, "2026-03-05 10:00:00")
    return [lead(7, "2026-02-10 10:00:00", True)]


def work(store: Store) -> tuple[list[int], list[int], list[int]]:
    """Tasks, events and notes; returns the ids of those that are to be deleted."""

    def task(title: str, due: str | None, done: str | None = None, **fields: Any) -> int:
        known = {"TITLE": title, "DUE_DATE": due and f"{due} 00:00:00", "COMPLETED": done is not None}
        return int(store.create("tasks", {**known, "COMPLETED_DATE_UTC": done, **fields})["TASK_ID"])

    def event(owner: int | None, starts: str) -> int:
        known = {"TITLE": "event", "OWNER_USER_ID": owner, "START_DATE_UTC": starts, "END_DATE_UTC": starts}
        return int(store.create("events", known)["EVENT_ID"])

    def note(owner: int | None, created: str) -> int:
        known = {"TITLE": "note", "OWNER_USER_ID": owner, "DATE_CREATED_UTC": created}
        return int(store.create("notes", known)["NOTE_ID"])

    today = datetime.now(UTC).date().isoformat()
    task("late", "2020-01-31", OWNER_USER_ID=2, RESPONSIBLE_USER_ID=1, STATUS="IN PROGRESS", PRIORITY=3)
    task("late, of nobody", "2020-02-29", COMPLETED=None)
    task("late, of somebody unknown", "2020-03-01", OWNER_USER_ID=99)
    task("due today", today, OWNER_USER_ID=1)
    task("due later", "2999-01-01", OWNER_USER_ID=1)
    task("due never", None, OWNER_USER_ID=1)
    # 2026-01-04 is a Sunday, 2026-01-05 a Monday.
    task("done", "2020-01-01", "2026-01-04 23:59:59", OWNER_USER_ID=2, RESPONSIBLE_USER_ID=1)
    task("done on Monday", None, "2026-01-05 00:00:00", OWNER_USER_ID=1)
    task("done some day", None, OWNER_USER_ID=2, COMPLETED=True)
    event(1, "2026-01-05 08:00:00")
    event(None, "2026-01-06 08:00:00")
    note(1, "2026-01-11 23:59:59")
    note(1, "2026-01-12 00:00:00")
    return (
        [task("late, and deleted", "2020-01-01", OWNER_USER_ID=1), task("done", None, "2026-01-05 10:00:00")],
        [event(1, "2026-01-05 09:00:00")],
        [note(1, "2026-01-05 09:00:00")],
    )


TAGGED = ("contacts", "emails", "knowledge_articles", "organisations", "projects", "prospects", "tickets")


def tagged(store: Store) -> int:
    for kind in TAGGED:
        for tags in (["vip", "fair"], ["vip"], []):
            store.create(kind, {"TAGS": [{"TAG_NAME": tag} for tag in tags]})
    gone = store.create("contacts", {"TAGS": [{"TAG_NAME": "vip"}, {"TAG_NAME": "gone"}]})
    return int(gone["CONTACT_ID"])


@pytest.fixture(scope="module", params=DESTINATIONS)
def by_hand(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crm]:
    """A destination with marts over records made by hand, some of them deleted since."""
    with empty_crm(request, tmp_path_factory.mktemp("by_hand")) as crm:
        store = crm.sandbox.store
        people_and_lists(store)
        tasks, events, notes = work(store)
        gone = {"opportunities": deals(store), "leads": leads(store), "tasks": tasks, "events": events, "notes": notes}
        gone["contacts"] = [tagged(store)]
        crm.sync_done("core", *TAGGED)
        for entity, ids in gone.items():
            for id_ in ids:
                store.delete(entity, id_)
        report = sweep(crm.settings(), crm.target, list(gone), thorough=True)
        assert {name: entity.deleted for name, entity in report.entities.items()} == {
            name: len(ids) for name, ids in gone.items()
        }
        keep_history(crm)
        assert create_views(crm.target).exit_code == 0
        yield crm


def keep_history(crm: Crm) -> None:
    rows = pa.Table.from_pylist(VERSIONS, schema=HISTORY)
    with opened("sync", crm.settings(), crm.target) as runner:
        runner.pipeline.run(dlt.resource([rows], name="opportunities_history", write_disposition="append"))


def test_deleted_records_are_not_current(by_hand: Crm) -> None:
    for entity, live in {"opportunities": 10, "leads": 6, "tasks": 9, "events": 2, "notes": 2, "contacts": 3}.items():
        found, deleted = (
            by_hand.read(f"select count(*) as n from insightly.{entity} where {where}")[0]["n"]
            for where in ("true", "_deleted_at is not null")
        )
        assert answer(by_hand, f"current_{entity}", "count(*)") == [(live,)] == [(found - deleted,)]
        assert deleted > 0


def test_pipeline_by_stage_and_month(by_hand: Crm) -> None:
    columns = (
        "pipeline_name, stage_id, stage_name, deal_state, close_month, currency, deals, total_value, weighted_value"
    )
    march, money = date(2026, 3, 1), Decimal
    assert answer(by_hand, "pipeline_by_stage_and_month", columns) == [
        # A deal's value without a probability is in no estimate; floats would make 0.30000000000000004 of the total.
        ("Sales", 11, "Enquiry", "LOST", date(2026, 2, 1), "EUR", 1, money(8), None),
        ("Sales", 12, "Offer", "OPEN", march, "EUR", 2, money("0.3"), money("0.05")),
        ("Sales", 12, "Offer", "OPEN", march, "USD", 1, money(1000), money(100)),
        ("Sales", 12, "Offer", "SUSPENDED", march, "EUR", 1, money(3), None),
        ("Sales", 12, "Offer", "WON", date(2026, 2, 1), "EUR", 1, money("70.25"), money("70.25")),
        # Won on an unknown day, which is not the day it was expected.
        ("Sales", 12, "Offer", "WON", None, "EUR", 1, money(1), None),
        # A stage that no longer exists.
        ("Sales", 99, None, "ABANDONED", date(2025, 12, 1), "EUR", 1, money(9), None),
        (None, None, None, "OPEN", march, "EUR", 1, money(5), money(2)),
        (None, None, None, "OPEN", None, None, 1, None, None),
    ]


def test_open_deals(by_hand: Crm) -> None:
    columns = (
        "pipeline_name, stage_name, owner_name, currency, opportunity_value, weighted_value, activity_planned, "
        "forecast_close_date, days_left, cast(now() at time zone 'UTC' as date) as today"
    )
    found, money = answer(by_hand, "open_deals", columns), Decimal
    first, last = date(2026, 3, 1), date(2026, 3, 31)
    assert [row[:-2] for row in found] == [
        ("Sales", "Offer", None, "EUR", money("0.1"), money("0.05"), False, last),
        ("Sales", "Offer", None, "EUR", money("0.2"), None, False, first),
        ("Sales", "Offer", None, "USD", money(1000), money(100), False, last),
        (None, None, None, "EUR", money(5), money(2), False, last),
        (None, None, None, None, None, None, False, None),
    ]
    assert all(days == (None if closes is None else (closes - today).days) for *_, closes, days, today in found)


def test_sales_by_day(by_hand: Crm) -> None:
    columns = "closed_on, pipeline_name, owner_name, currency, deals_won, deals_lost, won_value, lost_value, "
    columns += "days_to_win, deals_with_days"
    money = Decimal
    assert answer(by_hand, "sales_by_day", columns) == [
        (date(2026, 2, 1), "Sales", None, "EUR", 0, 1, None, money(8), None, 0),
        # The records were made on a later day than this.
        (date(2026, 2, 28), "Sales", None, "EUR", 1, 0, money("70.25"), None, None, 0),
        (None, "Sales", None, "EUR", 1, 0, money(1), None, None, 0),
    ]


STAYS = [
    (1, 11, 1.0, 8.9792, False, 7, "moved on", 12),
    (1, 12, 8.9792, 20.02, True, 12, "won", None),
    (2, 12, 3.5, 10.0, True, 7, "moved back", 11),
    (2, 11, 10.0, 12.0, True, 2, "lost", None),
    (3, 11, 2.5, None, True, None, "still there", None),
    (4, None, 2.0, 4.0, True, 2, "other pipeline", 11),
    (4, 11, 4.0, 6.0, True, 2, "deleted", None),
    (5, 11, 2.0, 3.0, True, 1, "suspended", None),
    (5, 11, 7.0, 9.0, True, 2, "moved on", 13),
    (5, 13, 9.0, None, True, None, "still there", None),
    (6, 11, 2.0, 4.0, True, 2, "moved on", 12),
    (6, 12, 4.0, None, True, None, "still there", None),
    (7, None, 2.0, 4.0, True, 2, "other pipeline", None),
    (7, None, 4.0, None, True, None, "still there", None),
]


def test_stage_stays(by_hand: Crm) -> None:
    columns = (
        "opportunity_id, stage_id, entered_at, left_at, entry_seen, days, outcome, next_stage_id, "
        "stay, cast(now() at time zone 'UTC' as date) as today"
    )
    found = sorted(answer(by_hand, "stage_stays", columns), key=lambda row: (row[0], row[2]))
    today = found[0][-1]
    assert len({(row[0], row[-2]) for row in found}) == len(found)
    expected = [
        (deal, stage, at(begins), None if ends is None else at(ends), seen, days, result, after)
        for deal, stage, begins, ends, seen, days, result, after in STAYS
    ]
    assert [row[:-2] for row in found] == [
        (*row[:5], (today - row[2].date()).days if row[5] is None else row[5], *row[6:]) for row in expected
    ]
    names = answer(by_hand, "stage_stays", "pipeline_name, stage_name, next_stage_name", "opportunity_id = 2")
    assert names == [("Sales", "Enquiry", None), ("Sales", "Offer", "Enquiry")]


def test_stage_conversion(by_hand: Crm) -> None:
    columns = "stage_name, outcome, next_stage_name, stays, deals, share_of_ended, average_days"
    where = "outcome <> 'still there'"
    sixth, third = Decimal("0.1667"), Decimal("0.3333")
    assert answer(by_hand, "stage_conversion", columns, where) == [
        ("Enquiry", "deleted", None, 1, 1, sixth, Decimal(2)),
        ("Enquiry", "lost", None, 1, 1, sixth, Decimal(2)),
        ("Enquiry", "moved on", "Contract", 1, 1, sixth, Decimal(2)),
        # It is unknown how long the deal that is older than the history was in the stage.
        ("Enquiry", "moved on", "Offer", 2, 2, third, Decimal(2)),
        ("Enquiry", "suspended", None, 1, 1, sixth, Decimal(1)),
        ("Offer", "moved back", "Enquiry", 1, 1, Decimal("0.5000"), Decimal(7)),
        ("Offer", "won", None, 1, 1, Decimal("0.5000"), Decimal(12)),
        (None, "other pipeline", "Enquiry", 1, 1, Decimal(1), Decimal(2)),
        (None, "other pipeline", None, 1, 1, Decimal(1), Decimal(2)),
    ]
    assert answer(by_hand, "stage_conversion", "stage_name, stays, share_of_ended", "outcome = 'still there'") == [
        ("Contract", 1, None),
        ("Enquiry", 1, None),
        ("Offer", 1, None),
        (None, 1, None),
    ]
    assert answer(by_hand, "stage_conversion", "sum(stays)") == [(len(STAYS),)]


def test_lead_conversion_by_source(by_hand: Crm) -> None:
    columns = "lead_source, lead_source_id, created_month, leads, converted, converted_with_deal, "
    columns += "conversion_rate, average_days"
    february, march = date(2026, 2, 1), date(2026, 3, 1)
    assert answer(by_hand, "lead_conversion_by_source", columns) == [
        ("Fair", 7, february, 3, 2, 1, Decimal("0.6667"), Decimal("3.50")),
        ("Fair", 7, march, 1, 0, 0, Decimal(0), None),
        (None, 8, march, 1, 0, 0, Decimal(0), None),
        (None, None, march, 1, 1, 0, Decimal(1), None),
    ]


def test_activity_by_owner_and_week(by_hand: Crm) -> None:
    columns = "owner_name, owner_user_id, week_begins, tasks_completed, events, notes, activities"
    weeks = [date(2025, 12, 29), date(2026, 1, 5), date(2026, 1, 12)]
    assert answer(by_hand, "activity_by_owner_and_week", columns) == [
        ("Ada Lovelace", 1, weeks[0], 1, 0, 0, 1),
        ("Ada Lovelace", 1, weeks[1], 1, 1, 1, 3),
        ("Ada Lovelace", 1, weeks[2], 0, 0, 1, 1),
        ("Hopper", 2, None, 1, 0, 0, 1),
        (None, None, weeks[1], 0, 1, 0, 1),
    ]


def test_overdue_tasks(by_hand: Crm) -> None:
    columns = (
        "title, due_date, owner_name, owner_user_id, status, priority, days_overdue, "
        "cast(now() at time zone 'UTC' as date) as today"
    )
    found = answer(by_hand, "overdue_tasks", columns, "title <> 'due today'")
    assert [row[:-2] for row in found] == [
        ("late", date(2020, 1, 31), "Ada Lovelace", 1, "IN PROGRESS", 3),
        ("late, of nobody", date(2020, 2, 29), None, None, None, None),
        ("late, of somebody unknown", date(2020, 3, 1), None, 99, None, None),
    ]
    assert all(days == (today - row[1]).days for *row, days, today in found)
    # It is late only if midnight has passed since the record was made.
    assert all(days > 0 for (days,) in answer(by_hand, "overdue_tasks", "days_overdue"))


def test_tags_by_record_type(by_hand: Crm) -> None:
    counts = {"fair": 1, "vip": 2}
    assert answer(by_hand, "tags_by_record_type", "*") == [
        (kind, tag, counts[tag]) for kind in TAGGED for tag in counts
    ]


def test_freshness(by_hand: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = by_hand.read("select * from insightly._sync_runs")
    latest = {run["entity"]: run for run in runs if run["command"] == "sync"}
    swept = {run["entity"]: run["started"] for run in runs if run["command"] == "sweep"}
    columns = "entity, synced_at, swept_at, verified_at, last_run_at, last_state, last_rows, watermark"
    assert answer(by_hand, "freshness", columns) == [
        (entity, run["started"], swept.get(entity), None, run["started"], "ok", run["rows"], run["watermark_after"])
        for entity, run in sorted(latest.items())
    ]
    assert swept
    # A failed run makes nothing fresh, and is shown.
    if isinstance(by_hand, PostgresCrm):
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", by_hand.url)
    by_hand.sandbox.faults.add(Fault("object", match="Tasks*", times=1))
    assert by_hand.sync("tasks").exit_code == 1
    columns = "synced_at, last_run_at > synced_at, last_state, last_reason"
    ((synced, later, state, reason),) = answer(by_hand, "freshness", columns, "entity = 'tasks'")
    assert (synced, later, state, "Tasks" in reason) == (latest["tasks"]["started"], True, "failed", True)


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/Los_Angeles"])
def test_days_are_in_utc_in_every_session_time_zone(by_hand: Crm, zone: str) -> None:
    dated = ("lead_conversion_by_source", "activity_by_owner_and_week", "stage_stays", "overdue_tasks")
    for mart in (*dated, "open_deals", "opportunities_wide", "leads_wide", "tasks_wide", "activities"):
        local, utc = (answer_in(by_hand, where, f"select * from insightly_marts.{mart}") for where in (zone, "UTC"))
        assert local == utc


def answer_in(crm: Crm, zone: str, sql: str) -> Counter[Any]:
    """The rows of a query, for somebody in a time zone."""
    if isinstance(crm, PostgresCrm):
        with closing(psycopg2.connect(crm.url, options=f"-ctimezone={zone}")) as connection:
            cursor = connection.cursor()
            cursor.execute(sql)
            return Counter(tuple(map(in_utc, row)) for row in cursor.fetchall())
    with attached(crm.database) as connection:
        connection.execute(f"set timezone = '{zone}'")
        rows = connection.sql(sql).to_arrow_table().to_pylist()
        return Counter(tuple(map(in_utc, row.values())) for row in rows)


def in_utc(value: Any) -> Any:
    value = tuple(value) if isinstance(value, list) else value
    return value.astimezone(UTC) if isinstance(value, datetime) else value


@pytest.fixture(scope="module")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Sandbox]]:
    """A destination with marts over an account that is generated."""
    with isolated_crm(tmp_path_factory.mktemp("seeded"), 1) as crm:
        crm.sync_done()
        crm.sync_done("emails", "opportunity_categories", "task_categories")
        create_views(crm.target)
        yield crm.database, crm.sandbox


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Sandbox]]:
    """A destination with a history of deals, over two days of business in that account."""
    with isolated_crm(tmp_path_factory.mktemp("lived"), 1) as crm:
        for day in range(3):
            if day:
                evolve(crm.sandbox.store, seed=day, steps=100)
            crm.sync_done("opportunities", "pipelines", "pipeline_stages", history=["opportunities"])
        create_views(crm.target)
        yield crm.database, crm.sandbox


@pytest.mark.sample(0)
def test_last_stay_of_a_deal_is_its_stage(lived: tuple[Path, Sandbox]) -> None:
    """Whatever was edited: no stay has a gap, and no deal is in two stages."""
    database, sandbox = lived
    stays = read(database, "select * from insightly_marts.stage_stays order by opportunity_id, stay")
    assert Counter(stay["outcome"] for stay in stays).keys() >= {"still there", "moved on", "moved back", "won"}
    last = {stay["opportunity_id"]: stay for stay in stays}
    for deal in sandbox.store.rows("opportunities"):
        stay, state = last.get(deal["OPPORTUNITY_ID"]), deal["OPPORTUNITY_STATE"]
        if state == "OPEN":
            assert stay is not None
            assert (stay["stage_id"], stay["outcome"]) == (deal["STAGE_ID"], "still there")
        elif stay is not None:
            assert stay["outcome"] == state.lower()
    for before, after in pairwise(stays):
        if before["opportunity_id"] == after["opportunity_id"]:
            assert before["left_at"] == after["entered_at"]
            assert before["next_stage_id"] == after["stage_id"]


def test_each_deal_is_in_one_row_of_the_pipeline(seeded: tuple[Path, Sandbox]) -> None:
    database, sandbox = seeded
    names = {row["STAGE_ID"]: row["STAGE_NAME"] for row in sandbox.store.rows("pipeline_stages")}
    count, value = Counter[Any](), defaultdict[Any, Decimal](Decimal)
    for deal in sandbox.store.rows("opportunities"):
        closes = deal[
            "ACTUAL_CLOSE_DATE" if deal["OPPORTUNITY_STATE"] in ("WON", "LOST", "ABANDONED") else "FORECAST_CLOSE_DATE"
        ]
        month = date.fromisoformat(closes[:10]).replace(day=1)
        place = (names[deal["STAGE_ID"]], deal["OPPORTUNITY_STATE"], month, deal["BID_CURRENCY"])
        count[place] += 1
        value[place] += Decimal(str(deal["OPPORTUNITY_VALUE"]))
    columns = "stage_name, deal_state, close_month, currency, sum(deals), sum(total_value)"
    rows = read(database, f"select {columns} from insightly_marts.pipeline_by_stage_and_month group by all")
    found = {tuple(row.values())[:4]: tuple(row.values())[4:] for row in rows}
    assert found == {place: (count[place], value[place]) for place in count}
    assert len({place[3] for place in found}) > 1


def test_each_lead_and_activity_is_counted_once(seeded: tuple[Path, Sandbox]) -> None:
    database, sandbox = seeded
    rows = sandbox.store.rows
    sources = {row["LEAD_SOURCE_ID"]: row["LEAD_SOURCE"] for row in rows("lead_sources")}
    all_leads, converted = Counter[Any](), Counter[Any]()
    for lead in rows("leads"):
        source = sources[lead["LEAD_SOURCE_ID"]]
        all_leads[source] += 1
        converted[source] += lead["CONVERTED"]
    sql = "select lead_source, sum(leads), sum(converted) from insightly_marts.lead_conversion_by_source group by all"
    assert {tuple(row.values()) for row in read(database, sql)} == {(s, n, converted[s]) for s, n in all_leads.items()}

    done = Counter[Any]()
    for task in rows("tasks"):
        done[task["RESPONSIBLE_USER_ID"] or task["OWNER_USER_ID"], "tasks"] += task["COMPLETED"]
    for entity in ("events", "notes"):
        done.update((row["OWNER_USER_ID"], entity) for row in rows(entity))
    columns = "owner_user_id, sum(tasks_completed) as tasks, sum(events) as events, sum(notes) as notes"
    found = read(database, f"select {columns} from insightly_marts.activity_by_owner_and_week group by all")
    assert {(row["owner_user_id"], kind): row[kind] for row in found for kind in ("tasks", "events", "notes")} == {
        (user["USER_ID"], kind): done[user["USER_ID"], kind]
        for user in rows("users")
        for kind in ("tasks", "events", "notes")
        if any(done[user["USER_ID"], each] for each in ("tasks", "events", "notes"))
    }


def test_tags_are_those_of_the_account(seeded: tuple[Path, Sandbox]) -> None:
    database, sandbox = seeded
    kinds = ("contacts", "emails", "leads", "opportunities", "organisations", "projects")
    used = Counter((kind, tag["TAG_NAME"]) for kind in kinds for row in sandbox.store.rows(kind) for tag in row["TAGS"])
    found = read(database, "select * from insightly_marts.tags_by_record_type")
    assert {(row["record_type"], row["tag_name"]): row["records"] for row in found} == used


def test_wide_views_have_each_record_once(seeded: tuple[Path, Sandbox]) -> None:
    database, sandbox = seeded
    organisations = {row["ORGANISATION_ID"]: row["ORGANISATION_NAME"] for row in sandbox.store.rows("organisations")}
    for entity in ("contacts", "leads", "opportunities", "organisations", "tasks"):
        (key,) = ENTITIES[entity].key
        records = {row[key]: row for row in sandbox.store.rows(entity)}
        found = read(database, f"select * from insightly_marts.{entity}_wide")
        assert sorted(row[key.lower()] for row in found) == sorted(records)
        for row in found:
            record = records[row[key.lower()]]
            if "TAGS" in record:
                assert set(row["tags"] or ()) == {tag["TAG_NAME"] for tag in record["TAGS"]}
            if entity in ("contacts", "opportunities"):
                assert row["organisation_name"] == organisations.get(record["ORGANISATION_ID"])
    found = read(database, "select record_type, record_id from insightly_marts.activities")
    assert Counter((row["record_type"], row["record_id"]) for row in found) == Counter(
        (entity, row[ENTITIES[entity].key[0]])
        for entity in ("tasks", "events", "notes", "emails")
        for row in sandbox.store.rows(entity)
    )


def test_links_are_those_of_the_account(seeded: tuple[Path, Sandbox]) -> None:
    database, sandbox = seeded
    links = {
        (link["LINK_ID"], *sorted([(link["OBJECT_NAME"], link["OBJECT_ID"]), (other, link["LINK_OBJECT_ID"])]))
        for entity in LINK_NAMES
        for row in sandbox.store.rows(entity)
        for link in row["LINKS"]
        for other in [link["LINK_OBJECT_NAME"]]
    }
    found = read(database, "select * from insightly_marts.record_links")
    ends = [
        (row["link_id"], *sorted([(LINK_NAMES[row[f"{end}_type"]], row[f"{end}_id"]) for end in ("record", "linked")]))
        for row in found
    ]
    assert Counter(ends) == dict.fromkeys(links, 2)
    assert all(row["record_name"] and row["linked_name"] for row in found)


SECTION = re.compile(r"^## `([^`]+)`\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
SECTIONS = dict(SECTION.findall((ROOT / "docs/guide/marts.md").read_text(encoding="utf-8")))
MARTS = sorted(path.stem for path in ROOT.glob("marts/*.sql"))


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def test_page_has_grain_and_needs_of_each_mart() -> None:
    page = (ROOT / "docs/guide/marts.md").read_text(encoding="utf-8")
    rows = [cells(line) for line in page.splitlines() if line.startswith("| `") and line.count("|") == 5]
    found = {name.strip("`"): (grain, needs) for name, _, grain, needs in rows}
    marts = {mart.name: mart for mart in load(bundled())}
    tables = known_tables(normalize)
    assert set(found) == set(SECTIONS) == {"current_<table>", *marts}
    for name, mart in marts.items():
        grain, needs = found[name]
        assert f"One row {grain}" in mart.answers
        needed = {table: tables[table] for table in re.findall("`([a-z_]+)`", needs)}
        for missing in (None, *needed):
            existing = {table: columns for table, columns in needed.items() if table != missing} or {
                "users": tables["users"]
            }
            (each,) = plan(marts.values(), existing, tables, [name])
            if missing is None and needed:
                assert each.query is not None
            elif missing is None:
                assert "never loaded" in (each.reason or "")
            else:
                assert missing in (each.reason or "")


@pytest.mark.parametrize("name", MARTS)
def test_page_explains_each_column(name: str, request: pytest.FixtureRequest) -> None:
    database = database_for(name, request)
    lines = [line for line in SECTIONS[name].splitlines() if line.startswith("| `")]
    found = [column for line in lines for column in re.findall("`([a-z_]+)`", cells(line)[0])]
    columns = [row["column_name"] for row in read(database, f"describe insightly_marts.{name}")]
    own = []
    if name.endswith("_wide"):
        records = f"insightly_marts.current_{name.removesuffix('_wide')}"
        own = [row["column_name"] for row in read(database, f"describe {records}")]
        assert f"All columns of `current_{name.removesuffix('_wide')}`" in SECTIONS[name]
    assert own + found == columns


@pytest.mark.parametrize("name", SECTIONS)
def test_example_of_the_page_has_its_result(name: str, request: pytest.FixtureRequest) -> None:
    sql, table = re.fullmatch(r".*?```sql\n(.*?)```\n\n(.*?)\n*", SECTIONS[name], re.DOTALL).groups()  # type: ignore[union-attr]
    rows = read(database_for(name, request), sql)
    heading, _, *found = map(cells, table.splitlines())
    assert heading == list(rows[0])
    assert found == [["" if value is None else str(value) for value in row.values()] for row in rows]


def database_for(name: str, request: pytest.FixtureRequest) -> Path:
    """A destination that has the mart."""
    database, _ = request.getfixturevalue("lived" if name.startswith("stage_") else "seeded")
    return Path(database)
