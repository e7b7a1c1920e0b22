"""The tables that this tool writes for itself: their columns, and how they are created."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dlt
import pyarrow as pa
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource

logger = logging.getLogger(__name__)

RUNS, DELETIONS, PUSHES, HISTORIES = "_sync_runs", "deletions", "_push_log", "_histories"
LOGS = RUNS, DELETIONS
"""The tables that no later run depends on."""
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


def restore_tables(pipeline: dlt.Pipeline) -> None:
    """Creates the tables of LOGS again that dlt's schema has but the database lacks: dropped, or never created.

    Raises:
        DatabaseException: the database refuses to create one.
    """
    if pipeline.default_schema_name is None:
        return
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase) or not client.is_storage_initialized():
            return
        known = [table for table in LOGS if table in client.schema.tables]
        missing = [table for table, columns in client.get_storage_tables(known) if not columns]
        if missing:
            logger.warning("The destination lacks %s: creating it again, empty.", ", ".join(missing))
            # dlt looks at the database only if the stored schema differs from its own.
            client.update_stored_schema(missing, force=True)


def table_exists(pipeline: dlt.Pipeline, table: str) -> bool:
    """True if the destination has the table."""
    return pipeline.default_schema_name is not None and table in pipeline.default_schema.tables


def table_resource(table: str, rows: Sequence[Mapping[str, Any]]) -> DltResource:
    """A dlt resource that appends rows to a system table, and creates the table if it does not exist."""
    schema = pa.schema(list(COLUMNS[table].items()))

    def tables() -> Iterator[pa.Table]:
        yield pa.Table.from_pylist(list(rows), schema=schema)

    return dlt.resource(tables, name=table, write_disposition="append")
