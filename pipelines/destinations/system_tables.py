"""The tables that this tool writes for itself: their columns, and how they are created."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

RUNS, DELETIONS, PUSHES, HISTORIES = "_sync_runs", "deletions", "_push_log", "_histories"
TIMESTAMP = pa.timestamp("us", tz="UTC")
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    RUNS: {
        "run_id": pa.string(),
        "command": pa.string(),
        "entity": pa.string(),
        "started": TIMESTAMP,
        "finished": TIMESTAMP,
        "state": pa.string(),
        "reason": pa.string(),
        "rows": pa.int64(),
        "inserted_or_updated": pa.int64(),
        "deleted": pa.int64(),
        "calls": pa.int64(),
        "calls_left_today": pa.int64(),
        "seconds": pa.float64(),
        "watermark_before": TIMESTAMP,
        "watermark_after": TIMESTAMP,
        "schema_changes": pa.string(),
    },
    DELETIONS: {
        "entity": pa.string(),
        "record_id": pa.int64(),
        "found_at": TIMESTAMP,
        "reason": pa.string(),
        "restored_at": TIMESTAMP,
    },
    PUSHES: {
        "push_id": pa.string(),
        "entity": pa.string(),
        "op": pa.string(),
        "attempt": pa.int64(),
        "row_number": pa.int64(),
        "action": pa.string(),
        "status": pa.string(),
        "intent_at": TIMESTAMP,
        "finished_at": TIMESTAMP,
        "record_id": pa.int64(),
        "error": pa.string(),
        "loaded_at": TIMESTAMP,
    },
    HISTORIES: {
        "entity": pa.string(),
        "followed_at": TIMESTAMP,
        "mask": pa.string(),
        "concealed": pa.string(),
    },
}


def ensure_table(pipeline: dlt.Pipeline, table: str = DELETIONS) -> None:
    """Creates a system table if it does not exist. SQL statements write its rows."""
    if not table_exists(pipeline, table):
        pipeline.run(table_resource(table, []))


def table_exists(pipeline: dlt.Pipeline, table: str) -> bool:
    """True if the destination has the table."""
    return pipeline.default_schema_name is not None and table in pipeline.default_schema.tables


def table_resource(table: str, rows: Sequence[Mapping[str, Any]]) -> DltResource:
    """A dlt resource that appends rows to a system table, and creates the table if it does not exist."""
    schema = pa.schema(list(COLUMNS[table].items()))

    def tables() -> Iterator[pa.Table]:
        yield pa.Table.from_pylist(list(rows), schema=schema)

    return dlt.resource(tables, name=table, write_disposition="append")
