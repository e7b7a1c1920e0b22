"""The views over all accounts: columns by name, whatever each account has; views of others are not touched."""

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
from tests.support.accounts import create_dataset, execute, refresh_views, type_of
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


def test_columns_are_matched_by_name_and_missing_ones_are_null(database: Crm) -> None:
    create_dataset(database, "insightly", contacts="contact_id bigint, a bigint")
    create_dataset(
        database,
        "insightly_emea",
        contacts="b varchar, contact_id bigint",
        contacts__tags="contact_id bigint, tag_name varchar",
    )
    create_dataset(database, "insightly_apac", leads="lead_id bigint")
    execute(
        database,
        "insert into insightly.contacts values (1, 2)",
        "insert into insightly_emea.contacts values ('x', 1)",
        "insert into insightly_emea.contacts__tags values (1, 'vip')",
    )
    result = refresh_views(database)
    assert (result.accounts, result.views, result.failed) == (["default", "apac", "emea"], 4, {})
    assert set(objects(database)) == {"_sync_runs", "_views", "contacts", "contacts__tags", "leads"}
    assert database.read("select * from insightly_all.contacts order by 1") == [
        {"instance": "default", "contact_id": 1, "a": 2, "b": None},
        {"instance": "emea", "contact_id": 1, "a": None, "b": "x"},
    ]
    assert database.read("select * from insightly_all.contacts__tags") == [
        {"instance": "emea", "contact_id": 1, "tag_name": "vip"}
    ]
    assert type_of(database, "leads", "lead_id") == "bigint"


def test_datasets_that_belong_to_no_account_are_left_out(database: Crm) -> None:
    create_dataset(database, "insightly_emea", contacts="contact_id bigint")
    create_dataset(database, "insightly_emea_staging", contacts="contact_id bigint")
    for name in ("insightlyx", "insightly_default", "insightly_a__b", '"insightly_o\'neil"'):
        create_dataset(database, name, contacts="contact_id bigint")
    create_dataset(database, "other", contacts="contact_id bigint")
    execute(
        database,
        "create schema insightly_mine",
        "create table insightly_mine.contacts (contact_id bigint)",
        "create view insightly_emea.recent as select * from insightly_emea.contacts",
    )
    assert refresh_views(database).accounts == ["emea"]
    assert set(objects(database)) == {"_sync_runs", "_views", "contacts"}


def test_views_follow_changed_tables_and_stay_otherwise(database: Crm) -> None:
    create_dataset(database, "insightly_emea", contacts="contact_id bigint", leads="lead_id bigint")
    create_dataset(database, "insightly_apac", contacts="contact_id bigint", notes="note_id bigint")
    assert refresh_views(database).refreshed == ["_sync_runs", "contacts", "leads", "notes"]
    again = refresh_views(database)
    assert (again.refreshed, again.dropped, again.views) == ([], [], 4)
    execute(database, "alter table insightly_apac.contacts add column hobby varchar")
    assert refresh_views(database).refreshed == ["contacts"]
    execute(
        database,
        "insert into insightly_apac.contacts values (1, 'chess')",
        "alter table insightly_emea.contacts add column hobby bigint",
        "insert into insightly_emea.contacts values (1, 5)",
    )
    assert refresh_views(database).refreshed == ["contacts"]
    rows = database.read("select instance, hobby from insightly_all.contacts order by 1")
    assert rows == [{"instance": "apac", "hobby": "chess"}, {"instance": "emea", "hobby": "5"}]
    execute(database, "drop schema insightly_apac cascade")
    result = refresh_views(database)
    assert (result.accounts, result.dropped, result.refreshed) == (["emea"], ["notes"], ["_sync_runs", "contacts"])
    assert database.read("select * from insightly_all.contacts") == [{"instance": "emea", "contact_id": 1, "hobby": 5}]
    assert refresh_views(database) == replace(result, refreshed=[], dropped=[])


def test_dropped_view_is_created_again(database: Crm) -> None:
    create_dataset(database, "insightly_emea", contacts="contact_id bigint")
    refresh_views(database)
    execute(database, "drop view insightly_all.contacts")
    assert refresh_views(database).refreshed == ["contacts"]
    execute(database, "drop schema insightly_all cascade")
    assert refresh_views(database).refreshed == ["_sync_runs", "contacts"]


def test_views_and_tables_of_others_are_not_touched(database: Crm) -> None:
    create_dataset(database, "insightly_emea", contacts="contact_id bigint", leads="lead_id bigint")
    execute(
        database,
        "create schema insightly_all",
        "create view insightly_all.foreign_view as select 1 as one",
        "create table insightly_all.leads (a bigint)",
    )
    result = refresh_views(database)
    assert result.failed == {"leads": "there is something else with this name"}
    assert (result.views, result.dropped) == (2, [])
    assert objects(database) == {
        "_sync_runs": "VIEW",
        "_views": "VIEW",
        "contacts": "VIEW",
        "leads": "BASE TABLE",
        "foreign_view": "VIEW",
    }


@pytest.mark.sample(0)
def test_views_of_a_killed_refresh_are_completed(database: Crm) -> None:
    create_dataset(database, "insightly_emea", contacts="contact_id bigint", leads="lead_id bigint")
    steps = _statements(database)
    for kept in range(1, len(steps)):
        execute(database, "drop schema if exists insightly_all cascade", "create schema insightly_all", *steps[:kept])
        result = refresh_views(database)
        assert (result.views, result.failed) == (3, {}), steps[kept - 1]
        assert refresh_views(database).refreshed == []


def _statements(database: Crm) -> list[str]:
    """The statements of a refresh of a destination without views."""
    done: list[str] = []
    execute = Registry._execute

    def record(self: Registry, statement: str) -> None:
        done.append(statement)
        execute(self, statement)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Registry, "_execute", record)
        refresh_views(database)
    return done


def test_odd_table_and_column_names_are_kept(database: Crm) -> None:
    create_dataset(database, "insightly_emea", **{'it\'s "odd"'.replace('"', '""'): "\"a 'b' %s\" bigint"})
    assert (refresh_views(database).failed, refresh_views(database).refreshed) == ({}, [])
    assert list(objects(database)) == ["_sync_runs", "_views", 'it\'s "odd"']


def test_column_named_instance_keeps_its_values(database: Crm) -> None:
    create_dataset(database, "insightly_emea", contacts="contact_id bigint, instance varchar")
    execute(database, "insert into insightly_emea.contacts values (1, 'kept')")
    expected = [{"instance": "emea", "contact_id": 1, "api_instance": "kept"}]
    for _ in range(2):
        refresh_views(database)
        assert database.read("select * from insightly_all.contacts") == expected


def test_dataset_is_named_after_the_requested_one(database: Crm) -> None:
    create_dataset(database, "sales", contacts="contact_id bigint")
    create_dataset(database, "sales_emea", contacts="contact_id bigint")
    result = refresh(replace(database.target, dataset="Sales"))
    assert result.accounts == ["default", "emea"]
    assert set(objects(database, "sales_all")) == {"_sync_runs", "_views", "contacts"}


def test_note_says_why_there_are_no_views(database: Crm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refresh_views(database).note == "nothing was synced yet"
    assert not database.made()
    execute(database, "create schema insightly_mine")
    assert refresh_views(database).note == "nothing was synced yet"
    assert objects(database) == {}
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(tmp_path / "delta"))
    assert "not on filesystem" in (refresh(Target("filesystem")).note or "")


def test_file_named_like_the_dataset_of_views_is_refused(tmp_path: Path) -> None:
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


def test_any_two_types_have_a_common_type(database: Crm) -> None:
    pairs = {f"c{i}_{j}": (first, second) for i, first in enumerate(TYPES) for j, second in enumerate(TYPES)}
    for account, place in (("emea", 0), ("apac", 1)):
        kinds = [pair[place] for pair in pairs.values()]
        create_dataset(
            database, f"insightly_{account}", t=", ".join(f"{n} {k}" for n, k in zip(pairs, kinds, strict=True))
        )
        rows = [", ".join(VALUES[kind][number % len(VALUES[kind])] for kind in kinds) for number in (0, 1)]
        execute(database, *(f"insert into insightly_{account}.t values ({row})" for row in rows))
        execute(database, f"insert into insightly_{account}.t default values")
    assert refresh_views(database).failed == {}
    rows = database.read("select * from insightly_all.t")
    assert len(rows) == 6
    for name, pair in pairs.items():
        values = [row[name] for row in rows]
        assert values.count(None) == 2
        assert len({type(value) for value in values if value is not None}) == 1
        if set(pair) == {"bigint", "decimal(20,2)"}:
            assert {Decimal("999999999999999999.99"), Decimal(2**63 - 1), Decimal("-0.01")} <= set(values)


@given(st.lists(types, min_size=1))
def test_common_type_ignores_order_and_keeps_integer_digits(each: list[Type]) -> None:
    result = common_type(each)
    assert common_type(each[::-1]) == result == common_type({*each, result})
    if result.name == "decimal":
        assert result.precision is not None
        assert result.precision <= 38
        for one in each:
            digits = 19 if one.name == "bigint" else (one.precision or 0) - (one.scale or 0)
            assert result.precision - (result.scale or 0) >= digits
            assert (result.scale or 0) >= (one.scale or 0)


@given(st.lists(st.dictionaries(st.sampled_from("abcde"), types), min_size=1), st.lists(st.sampled_from("abxyz")))
def test_union_has_each_column_once_and_earlier_ones_first(tables: list[dict[str, Type]], order: list[str]) -> None:
    result = union_columns(tables, order)
    assert set(result) == set().union(*tables)
    kept = [name for name in dict.fromkeys(order) if name in result]
    assert list(result)[: len(kept)] == kept
    assert union_columns(tables, result) == result
