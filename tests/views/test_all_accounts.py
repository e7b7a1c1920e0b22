"""The views over all accounts: columns by name, whatever each account has, and nobody else's views touched."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.destinations.target import Target
from pipelines.views.all_accounts import DOUBLE, TEXT, Type, common_type, refresh, union_columns
from pipelines.views.registry import Registry
from sources.insightly.errors import BadSetting
from tests.support.accounts import all_of, hold, tell, type_of
from tests.support.crm import Crm

pytestmark = pytest.mark.everywhere("postgres")
TYPES = {
    "bigint": Type("bigint"),
    "float8": DOUBLE,
    "decimal(38,15)": Type("decimal", 38, 15),
    "decimal(20,2)": Type("decimal", 20, 2),
    "varchar": TEXT,
    "boolean": Type("bool"),
    "date": Type("date"),
    "timestamp with time zone": Type("timestamp"),
    "json": Type("json"),
    "bytea": Type("binary"),
    "time": Type("time"),
}
types = st.sampled_from(list(TYPES.values()))


@pytest.fixture
def database(make_crm: Callable[..., Crm]) -> Crm:
    return make_crm()


def objects(database: Crm, dataset: str = "insightly_all") -> dict[str, str]:
    sql = f"select table_name, table_type from information_schema.tables where table_schema = '{dataset}' order by 1"
    return {row["table_name"]: row["table_type"] for row in database.read(sql)}


def test_columns_are_matched_by_name_and_what_an_account_lacks_is_null(database: Crm) -> None:
    hold(database, "insightly", contacts="contact_id bigint, a bigint")
    hold(
        database,
        "insightly_emea",
        contacts="b varchar, contact_id bigint",
        contacts__tags="contact_id bigint, tag_name varchar",
    )
    hold(database, "insightly_apac", leads="lead_id bigint")
    tell(
        database,
        "insert into insightly.contacts values (1, 2)",
        "insert into insightly_emea.contacts values ('x', 1)",
        "insert into insightly_emea.contacts__tags values (1, 'vip')",
    )
    told = all_of(database)
    assert (told.accounts, told.views, told.failed) == (["default", "apac", "emea"], 4, {})
    assert set(objects(database)) == {"_sync_runs", "_views", "contacts", "contacts__tags", "leads"}
    assert database.read("select * from insightly_all.contacts order by 1") == [
        {"instance": "default", "contact_id": 1, "a": 2, "b": None},
        {"instance": "emea", "contact_id": 1, "a": None, "b": "x"},
    ]
    assert database.read("select * from insightly_all.contacts__tags") == [
        {"instance": "emea", "contact_id": 1, "tag_name": "vip"}
    ]
    assert type_of(database, "leads", "lead_id") == "bigint"


def test_what_is_no_accounts_is_left_out(database: Crm) -> None:
    hold(database, "insightly_emea", contacts="contact_id bigint")
    hold(database, "insightly_emea_staging", contacts="contact_id bigint")
    for name in ("insightlyx", "insightly_default", "insightly_a__b", '"insightly_o\'neil"'):
        hold(database, name, contacts="contact_id bigint")
    hold(database, "other", contacts="contact_id bigint")
    tell(
        database,
        "create schema insightly_mine",
        "create table insightly_mine.contacts (contact_id bigint)",
        "create view insightly_emea.recent as select * from insightly_emea.contacts",
    )
    assert all_of(database).accounts == ["emea"]
    assert set(objects(database)) == {"_sync_runs", "_views", "contacts"}


def test_views_follow_what_comes_and_goes_and_are_left_alone_otherwise(database: Crm) -> None:
    hold(database, "insightly_emea", contacts="contact_id bigint", leads="lead_id bigint")
    hold(database, "insightly_apac", contacts="contact_id bigint", notes="note_id bigint")
    assert all_of(database).refreshed == ["_sync_runs", "contacts", "leads", "notes"]
    again = all_of(database)
    assert (again.refreshed, again.dropped, again.views) == ([], [], 4)
    tell(database, "alter table insightly_apac.contacts add column hobby varchar")
    assert all_of(database).refreshed == ["contacts"]
    tell(
        database,
        "insert into insightly_apac.contacts values (1, 'chess')",
        "alter table insightly_emea.contacts add column hobby bigint",
        "insert into insightly_emea.contacts values (1, 5)",
    )
    assert all_of(database).refreshed == ["contacts"]
    held = database.read("select instance, hobby from insightly_all.contacts order by 1")
    assert held == [{"instance": "apac", "hobby": "chess"}, {"instance": "emea", "hobby": "5"}]
    tell(database, "drop schema insightly_apac cascade")
    told = all_of(database)
    assert (told.accounts, told.dropped, told.refreshed) == (["emea"], ["notes"], ["_sync_runs", "contacts"])
    assert database.read("select * from insightly_all.contacts") == [{"instance": "emea", "contact_id": 1, "hobby": 5}]
    assert all_of(database).to_dict() == {**told.to_dict(), "refreshed": [], "dropped": []}


def test_a_view_that_was_lost_is_made_again(database: Crm) -> None:
    hold(database, "insightly_emea", contacts="contact_id bigint")
    all_of(database)
    tell(database, "drop view insightly_all.contacts")
    assert all_of(database).refreshed == ["contacts"]
    tell(database, "drop schema insightly_all cascade")
    assert all_of(database).refreshed == ["_sync_runs", "contacts"]


def test_nobody_elses_views_and_tables_are_touched(database: Crm) -> None:
    hold(database, "insightly_emea", contacts="contact_id bigint", leads="lead_id bigint")
    tell(
        database,
        "create schema insightly_all",
        "create view insightly_all.mine as select 1 as one",
        "create table insightly_all.leads (mine bigint)",
    )
    told = all_of(database)
    assert told.failed == {"leads": "there is something else with this name"}
    assert (told.views, told.dropped) == (2, [])
    assert objects(database) == {
        "_sync_runs": "VIEW",
        "_views": "VIEW",
        "contacts": "VIEW",
        "leads": "BASE TABLE",
        "mine": "VIEW",
    }


def test_views_that_a_kill_left_half_made_are_known_to_be_ours(database: Crm) -> None:
    hold(database, "insightly_emea", contacts="contact_id bigint", leads="lead_id bigint")
    steps = _statements(database)
    for kept in range(1, len(steps)):
        tell(database, "drop schema if exists insightly_all cascade", "create schema insightly_all", *steps[:kept])
        told = all_of(database)
        assert (told.views, told.failed) == (3, {}), steps[kept - 1]
        assert all_of(database).refreshed == []


def _statements(database: Crm) -> list[str]:
    """What a refresh does to a destination without views."""
    done: list[str] = []
    execute = Registry._execute

    def record(self: Registry, statement: str) -> None:
        done.append(statement)
        execute(self, statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "_execute", record)
        all_of(database)
    return done


def test_odd_names_of_tables_and_columns_are_theirs(database: Crm) -> None:
    hold(database, "insightly_emea", **{'it\'s "odd"'.replace('"', '""'): "\"a 'b' %s\" bigint"})
    assert (all_of(database).failed, all_of(database).refreshed) == ({}, [])
    assert list(objects(database)) == ["_sync_runs", "_views", 'it\'s "odd"']


def test_a_column_named_instance_keeps_its_values(database: Crm) -> None:
    hold(database, "insightly_emea", contacts="contact_id bigint, instance varchar")
    tell(database, "insert into insightly_emea.contacts values (1, 'theirs')")
    wanted = [{"instance": "emea", "contact_id": 1, "api_instance": "theirs"}]
    for _ in range(2):
        all_of(database)
        assert database.read("select * from insightly_all.contacts") == wanted


def test_the_dataset_has_the_name_that_was_asked_for(database: Crm) -> None:
    hold(database, "sales", contacts="contact_id bigint")
    hold(database, "sales_emea", contacts="contact_id bigint")
    told = refresh(replace(database.target, dataset="Sales"))
    assert told.accounts == ["default", "emea"]
    assert set(objects(database, "sales_all")) == {"_sync_runs", "_views", "contacts"}


def test_where_there_can_be_no_views_it_is_said_why(
    database: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert all_of(database).note == "nothing was synced yet"
    assert not database.made()
    tell(database, "create schema insightly_mine")
    assert all_of(database).note == "nothing was synced yet"
    assert objects(database) == {}
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "lake"))
    assert "not on filesystem" in (refresh(Target("filesystem")).note or "")


def test_a_file_that_is_named_as_the_views_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "insightly_all.duckdb"
    duckdb.connect(str(file)).close()
    with pytest.raises(BadSetting, match="rename it"):
        refresh(Target(database=str(file)))


VALUES: dict[str, Sequence[str]] = {
    "bigint": ("9223372036854775807", "-9223372036854775808"),
    "float8": ("1.7976931348623157e308", "5e-324"),
    "decimal(38,15)": ("99999999999999999999999.999999999999999", "-0.000000000000001"),
    "decimal(20,2)": ("999999999999999999.99", "-0.01"),
    "varchar": ("'x'", "''"),
    "boolean": ("true", "false"),
    "date": ("date '2026-02-28'", "date '0002-01-01'"),
    "timestamp with time zone": ("timestamptz '2026-02-28 12:00:00+00'",),
    "json": ("""'{"a": 1}'""",),
    "bytea": ("'\\xFF'::bytea",),
    "time": ("time '23:59:59'",),
}


def test_any_two_types_come_together_without_failing(database: Crm) -> None:
    pairs = {f"c{i}_{j}": (mine, yours) for i, mine in enumerate(TYPES) for j, yours in enumerate(TYPES)}
    for account, place in (("emea", 0), ("apac", 1)):
        kinds = [pair[place] for pair in pairs.values()]
        hold(database, f"insightly_{account}", t=", ".join(f"{n} {k}" for n, k in zip(pairs, kinds, strict=True)))
        rows = [", ".join(VALUES[kind][number % len(VALUES[kind])] for kind in kinds) for number in (0, 1)]
        tell(database, *(f"insert into insightly_{account}.t values ({row})" for row in rows))
        tell(database, f"insert into insightly_{account}.t default values")
    assert all_of(database).failed == {}
    held = database.read("select * from insightly_all.t")
    assert len(held) == 6
    for name, pair in pairs.items():
        values = [row[name] for row in held]
        assert values.count(None) == 2
        assert len({type(value) for value in values if value is not None}) == 1
        if set(pair) == {"bigint", "decimal(20,2)"}:
            assert {Decimal("999999999999999999.99"), Decimal(2**63 - 1), Decimal("-0.01")} <= set(values)


@given(st.lists(types, min_size=1))
def test_the_common_type_depends_on_no_order_and_holds_every_integer_digit(each: list[Type]) -> None:
    told = common_type(each)
    assert common_type(each[::-1]) == told == common_type({*each, told})
    if told.name == "decimal":
        assert told.precision is not None
        assert told.precision <= 38
        for one in each:
            digits = 19 if one.name == "bigint" else (one.precision or 0) - (one.scale or 0)
            assert told.precision - (told.scale or 0) >= digits
            assert (told.scale or 0) >= (one.scale or 0)


@given(st.lists(st.dictionaries(st.sampled_from("abcde"), types), min_size=1), st.lists(st.sampled_from("abxyz")))
def test_united_tables_have_each_column_once_those_there_before_first(
    tables: list[dict[str, Type]], order: list[str]
) -> None:
    told = union_columns(tables, order)
    assert set(told) == set().union(*tables)
    kept = [name for name in dict.fromkeys(order) if name in told]
    assert list(told)[: len(kept)] == kept
    assert union_columns(tables, told) == told
