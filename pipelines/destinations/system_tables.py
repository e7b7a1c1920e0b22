"""The tables of the tool's own: their columns, and how they are created."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dlt
import pyarrow as pa
from dlt.extract import DltResource

RUNS, DELETIONS, PUSHES, HISTORIES = "_sync_runs", "deletions", "_push_log", "_histories"
MOMENT = pa.timestamp("us", tz="UTC")
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    RUNS: {
        "run_id": pa.string(),
        "command": pa.string(),
        "entity": pa.string(),
        "started": MOMENT,
        "finished": MOMENT,
        "state": pa.string(),
        "reason": pa.string(),
        "rows": pa.int64(),
        "inserted_or_updated": pa.int64(),
        "deleted": pa.int64(),
        "calls": pa.int64(),
        "calls_left_today": pa.int64(),
        "seconds": pa.float64(),
        "watermark_before": MOMENT,
        "watermark_after": MOMENT,
        "schema_changes": pa.string(),
    },
    DELETIONS: {
        "entity": pa.string(),
        "record_id": pa.int64(),
        "found_at": MOMENT,
        "reason": pa.string(),
        "restored_at": MOMENT,
    },
    PUSHES: {
        "push_id": pa.string(),
        "entity": pa.string(),
        "op": pa.string(),
        "attempt": pa.int64(),
        "row_number": pa.int64(),
        "action": pa.string(),
        "status": pa.string(),
        "intent_at": MOMENT,
        "finished_at": MOMENT,
        "record_id": pa.int64(),
        "error": pa.string(),
        "loaded_at": MOMENT,
    },
    HISTORIES: {
        "entity": pa.string(),
        "followed_at": MOMENT,
        "mask": pa.string(),
        "concealed": pa.string(),
    },
}


def prepare(pipeline: dlt.Pipeline, ledger: str = DELETIONS) -> None:
    """Makes a ledger where it is not there yet; its rows are written by SQL, in the transaction of what they tell."""
    if not held(pipeline, ledger):
        pipeline.run(_resource(ledger, []))


def held(pipeline: dlt.Pipeline, table: str) -> bool:
    """True where the destination has the table."""
    return pipeline.default_schema_name is not None and table in pipeline.default_schema.tables


def _resource(table: str, rows: Sequence[Mapping[str, Any]]) -> DltResource:
    schema = pa.schema(list(COLUMNS[table].items()))

    def yielded() -> Iterator[pa.Table]:
        yield pa.Table.from_pylist(list(rows), schema=schema)

    return dlt.resource(yielded, name=table, write_disposition="append")
