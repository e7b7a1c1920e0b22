"""What a load job does to a table of DuckDB and of Postgres."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from pipelines.destinations.duckdb_client import MergingDuckDb
from pipelines.destinations.merge_job import MergeJob
from pipelines.destinations.postgres_client import MergingPostgres
from tests.support.postgres import query

Load = Callable[..., list[tuple[Any, ...]]]
CHILDREN: dict[str, Any] = {"merge_key": ["id"], "columns": {"_is_empty": {"hard_delete": True, "data_type": "bool"}}}
SCHEMAS = "select distinct table_schema from information_schema.tables where table_schema like 'crm%'"


@pytest.fixture(params=["duckdb", "postgres"])
def load(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Load]:
    """Loads rows into a table and returns all rows that it then has."""
    if request.param == "duckdb":
        file = tmp_path / "crm's.duckdb"
        destination: Any = MergingDuckDb(DuckDbCredentials(str(file)))

        def read(sql: str) -> list[tuple[Any, ...]]:
            with duckdb.connect(file) as crm:
                return crm.sql(sql).fetchall()

    else:
        url = request.getfixturevalue("postgres").database()
        query(url, f"alter database {url.partition('?')[0].rpartition('/')[2]} set timezone to 'America/New_York'")
        destination = MergingPostgres(url)

        def read(sql: str) -> list[tuple[Any, ...]]:
            return [tuple(row.values()) for row in query(url, sql)]

    pipeline = dlt.pipeline(
        "merges", pipelines_dir=str(tmp_path / "working"), destination=destination, dataset_name="crm"
    )

    def run(
        rows: list[dict[str, Any]] | pa.Table, disposition: str = "merge", change: str | None = None, **hints: Any
    ) -> list[tuple[Any, ...]]:
        if change is not None:
            read(change)
        empty = pa.schema([("id", pa.int64()), ("v", pa.string())]).empty_table()
        table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows) if rows else empty
        options: Any = {"name": "records", "write_disposition": disposition, **hints}
        pipeline.run(dlt.resource([table], **options))
        return read(f"select * from crm.records order by {', '.join(map(str, range(1, len(table.columns) + 1)))}")

    yield run
    assert read(SCHEMAS) == [("crm",)]


def records(*pairs: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"id": id_, "v": value} for id_, value in pairs]


def test_rows_are_merged_by_key_and_the_last_of_a_file_wins(load: Load) -> None:
    load(records((1, "a"), (2, "b"), (1, "c")), primary_key="id")
    assert load(records((2, "d"), (3, "e"), (2, "f")), primary_key="id") == [(1, "c"), (2, "f"), (3, "e")]


def test_rows_are_merged_by_all_parts_of_a_key(load: Load) -> None:
    load(records((1, "a"), (1, "b")), primary_key=["id", "v"])
    assert load(records((1, "b"), (2, "b")), primary_key=["id", "v"]) == [(1, "a"), (1, "b"), (2, "b")]


def test_rows_are_merged_into_an_emptied_table_as_into_a_new_one(load: Load) -> None:
    load(records((1, "a"), (2, "b")), "replace")
    load([], "replace")
    assert load(records((1, "c"), (1, "d")), primary_key="id") == [(1, "d")]


TRIGGER = """create function crm.refuse() returns trigger language plpgsql as $$ begin
if new.v = 'c' then raise 'replaced by a later row'; end if; return new; end $$;
create trigger refuse before insert on crm.records for each row execute function crm.refuse()"""
OF_A_USER = {
    "alter table crm.records add primary key (id)": (1, "d"),
    "alter table crm.records add zone text default current_setting('timezone')": (1, "d", "America/New_York"),
    TRIGGER: (1, "d"),
}
"""What a user adds to a table, and the row that it then gets."""


@pytest.mark.parametrize("load", ["postgres"], indirect=True)
@pytest.mark.parametrize("change", OF_A_USER, ids=["key", "default", "trigger"])
def test_additions_of_a_user_see_only_rows_that_stay(load: Load, change: str) -> None:
    load(records((1, "a"), (2, "b")), primary_key="id")
    rows = load(records((1, "c"), (1, "d")), primary_key="id", change=f"delete from crm.records; {change}")
    assert rows == [OF_A_USER[change]]


@pytest.mark.parametrize("load", ["postgres"], indirect=True)
def test_rule_of_a_user_applies_in_an_emptied_table(load: Load) -> None:
    load(records((1, "a")), primary_key="id")
    change = "delete from crm.records; create rule skip as on insert to crm.records where new.id = 2 do instead nothing"
    assert load(records((1, "c"), (2, "d")), primary_key="id", change=change) == [(1, "c")]


def test_child_rows_are_replaced_by_the_key_of_their_parent(load: Load) -> None:
    rows = [{"id": id_, "v": value, "_is_empty": None} for id_, value in ((1, "a"), (1, "a"), (2, "b"), (3, "c"))]
    assert load(rows, **CHILDREN) == [(1, "a", None), (1, "a", None), (2, "b", None), (3, "c", None)]
    rows = [{"id": 1, "v": "d", "_is_empty": False}, {"id": 2, "v": None, "_is_empty": True}]
    assert load(rows, **CHILDREN) == [(1, "d", False), (3, "c", None)]


def test_row_without_children_is_not_stored_in_a_new_table(load: Load) -> None:
    rows = [{"id": 1, "v": "a", "_is_empty": None}, {"id": 2, "v": None, "_is_empty": True}]
    assert load(rows, **CHILDREN) == [(1, "a", None)]


@pytest.mark.parametrize("load", ["postgres"], indirect=True)
def test_row_without_children_may_lack_what_a_user_requires(load: Load) -> None:
    rows = [{"id": 1, "v": "a", "_is_empty": None}, {"id": 2, "v": None, "_is_empty": True}]
    load(rows, **CHILDREN)
    change = "delete from crm.records; alter table crm.records alter v set not null"
    assert load(rows, change=change, **CHILDREN) == [(1, "a", None)]


def test_list_is_replaced_by_another_or_by_none(load: Load) -> None:
    load(records((1, "a"), (2, "b")), "replace")
    assert load(records((2, "c"), (2, "c")), "replace") == [(2, "c"), (2, "c")]
    assert load([], "replace") == []


def test_job_that_fails_or_runs_again_leaves_the_rows_whole(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    run, fail = MergeJob.run, True

    def run_twice(job: MergeJob) -> None:
        nonlocal fail
        run(job)
        if fail:
            fail = False
            raise OSError

    load(records((1, "a"), (2, "b")), primary_key="id")
    monkeypatch.setattr(MergeJob, "run", run_twice)
    assert load(records((1, "c"), (3, "d")), primary_key="id") == [(1, "c"), (2, "b"), (3, "d")]
    assert not fail


def test_values_are_loaded_exactly(load: Load) -> None:
    text = ["", "null", r"\N", r"\.", "a,b", 'say "so"', "two\nlines\r\n", " spaced ", "Zürich 🚀", None]
    timestamps = [datetime(1, 1, 2), datetime(2024, 2, 29, 23, 59, 59, 999999), datetime(9999, 12, 31), None]
    decimals = [Decimal("0.000000001"), Decimal("-12345678901234567890123456789.123456789"), Decimal(0), None]
    columns = {
        "id": pa.array(range(len(text)), pa.int64()),
        "v": pa.array(text),
        "at": pa.array([timestamps[n % 4] for n in range(len(text))], pa.timestamp("us", "UTC")),
        "day": pa.array([date(1, 1, 2), date(9999, 12, 31), None, None, None] * 2, pa.date32()),
        "number": pa.array([decimals[n % 4] for n in range(len(text))], pa.decimal128(38, 9)),
        "flag": pa.array([True, False, None, None, None] * 2, pa.bool_()),
        "whole": pa.array([2**63 - 1, -(2**63), 0, None, None] * 2, pa.int64()),
    }
    found = load(pa.table(columns), primary_key="id")
    expected = pa.table(columns).to_pylist()
    assert [(*row[:2], row[2] and row[2].astimezone(UTC), *row[3:]) for row in found] == [
        tuple(row.values()) for row in expected
    ]
