"""What a load job does to a table of DuckDB."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dlt
import duckdb
import pyarrow as pa
import pytest
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from pipelines.destinations.duckdb_client import MergeJob, MergingDuckDb

Load = Callable[..., list[tuple[Any, ...]]]
CHILDREN: dict[str, Any] = {"merge_key": ["id"], "columns": {"_is_empty": {"hard_delete": True, "data_type": "bool"}}}


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Load]:
    """Loads rows into a table and returns all rows that it then has."""
    file = tmp_path / "crm's.duckdb"
    pipeline = dlt.pipeline(
        "merges",
        pipelines_dir=str(tmp_path / "working"),
        destination=MergingDuckDb(DuckDbCredentials(str(file))),
        dataset_name="crm",
    )

    def run(rows: list[dict[str, Any]], disposition: str = "merge", **hints: Any) -> list[tuple[Any, ...]]:
        empty = pa.schema([("id", pa.int64()), ("v", pa.string())])
        options: Any = {"name": "records", "write_disposition": disposition, **hints}
        pipeline.run(dlt.resource([pa.Table.from_pylist(rows) if rows else empty.empty_table()], **options))
        with duckdb.connect(file) as crm:
            return crm.sql("from crm.records order by all").fetchall()

    yield run
    with duckdb.connect(file) as crm:
        found = crm.sql("select distinct table_schema from information_schema.tables").fetchall()
    assert found == [("crm",)]


def records(*pairs: tuple[int, str]) -> list[dict[str, Any]]:
    return [{"id": id_, "v": value} for id_, value in pairs]


def test_rows_are_merged_by_key_and_the_last_of_a_file_wins(load: Load) -> None:
    load(records((1, "a"), (2, "b"), (1, "c")), primary_key="id")
    assert load(records((2, "d"), (3, "e"), (2, "f")), primary_key="id") == [(1, "c"), (2, "f"), (3, "e")]


def test_rows_are_merged_by_all_parts_of_a_key(load: Load) -> None:
    load(records((1, "a"), (1, "b")), primary_key=["id", "v"])
    assert load(records((1, "b"), (2, "b")), primary_key=["id", "v"]) == [(1, "a"), (1, "b"), (2, "b")]


def test_child_rows_are_replaced_by_the_key_of_their_parent(load: Load) -> None:
    rows = [{"id": id_, "v": value, "_is_empty": None} for id_, value in ((1, "a"), (1, "a"), (2, "b"), (3, "c"))]
    assert load(rows, **CHILDREN) == [(1, "a", None), (1, "a", None), (2, "b", None), (3, "c", None)]
    rows = [{"id": 1, "v": "d", "_is_empty": False}, {"id": 2, "v": None, "_is_empty": True}]
    assert load(rows, **CHILDREN) == [(1, "d", False), (3, "c", None)]


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
