"""The tables that this tool writes for itself: their columns, and how they are created."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import dlt
from dlt.common.data_types import TDataType
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.job_client_impl import SqlJobClientBase
from dlt.extract import DltResource

from sources.insightly.resources.describe import describe_table
from sources.insightly.rows import descriptions

from .pipeline_state import SCHEMA

if TYPE_CHECKING:
    import pyarrow as pa

logger = logging.getLogger(__name__)
RUNS, DELETIONS, PUSHES, HISTORIES = "_sync_runs", "deletions", "_push_log", "_histories"
LOGS = RUNS, DELETIONS
"""The tables that no later run depends on."""
TABLES: Mapping[str, str] = {
    RUNS: "Runs of insightly-sync, a row for each entity of each run: what was done, when, and how it ended.",
    DELETIONS: "Records that were found deleted in Insightly, a row for each time a record was found deleted.",
    PUSHES: "Rows pushed into Insightly, one for each attempt at a row: what was to be done, and the result.",
    HISTORIES: "Which entities have a history table, and until when that table is up to date.",
    "_dlt_loads": "Load packages, a row for each that is loaded; a table of dlt, which loads the others.",
    "_dlt_version": "Schemas of the dataset, a row for each version; a table of dlt, which loads the others.",
    "_dlt_pipeline_state": "State of the syncs, such as watermarks; a table of dlt, which loads the others.",
}
"""What the system tables and those of dlt have in them."""


class Column(NamedTuple):
    """A column of a system table: its type, as dlt names it, and what it is."""

    type: TDataType
    description: str


COLUMNS: Mapping[str, Mapping[str, Column]] = {
    RUNS: {
        "run_id": Column("text", "Identifies the run; the rows of all its entities have the same."),
        "command": Column("text", "Command that ran, such as sync, sweep or push."),
        "entity": Column("text", "Entity that the row is about, by the name of its table."),
        "started": Column("timestamp", "When the run started, in UTC."),
        "finished": Column("timestamp", "When the run finished, in UTC."),
        "state": Column("text", "How it ended for the entity: ok, partial, skipped or failed."),
        "reason": Column("text", "Why it did not end ok; null if it did."),
        "rows": Column("bigint", "Records that were received from Insightly."),
        "inserted_or_updated": Column("bigint", "Rows that were inserted or updated in the entity's table."),
        "deleted": Column("bigint", "Rows whose records were found deleted."),
        "calls": Column("bigint", "Calls of the API that the entity cost."),
        "calls_left_today": Column("bigint", "Calls that the account had left for the day after the run."),
        "seconds": Column("double", "Time that the entity took, in seconds."),
        "watermark_before": Column(
            "timestamp", "Time from which the run read changes, in UTC; null if it read all records."
        ),
        "watermark_after": Column("timestamp", "Time from which the next run reads changes, in UTC."),
        "schema_changes": Column("text", "New tables and columns that the run found, one a line; null if none."),
    },
    DELETIONS: {
        "entity": Column("text", "Entity of the record, by the name of its table."),
        "record_id": Column("bigint", "Key of the record in that table."),
        "found_at": Column("timestamp", "When the record was found deleted, in UTC; it was deleted before that."),
        "reason": Column(
            "text",
            "What Insightly said of it: deleted, hidden from this API key, or unlisted if only some were requested.",
        ),
        "restored_at": Column("timestamp", "When the record was found to exist again, in UTC; null if it was not."),
    },
    PUSHES: {
        "push_id": Column(
            "text",
            "Identifies the push by its operation, entity, match and rows: the same rows again are the same push.",
        ),
        "entity": Column("text", "Entity that was written, by the name of its table."),
        "op": Column("text", "Operation of the push: create, update, upsert or delete."),
        "attempt": Column("bigint", "Attempt at the push, from 1; each repetition by --again is another."),
        "row_number": Column("bigint", "Number of the pushed row in its input, from 1."),
        "action": Column(
            "text",
            "What the row came to: create, update, delete, missing if there was nothing to delete, or none.",
        ),
        "status": Column(
            "text",
            "How far it got: done, failed, waiting to be tried again, pending without an answer, or unknown.",
        ),
        "intent_at": Column(
            "timestamp", "When the intent was written, before the call, by the service's clock, in UTC."
        ),
        "finished_at": Column("timestamp", "When the row got its result, in UTC."),
        "record_id": Column("bigint", "Key of the record that was written, in the entity's table."),
        "error": Column("text", "What Insightly said to a row that failed; null otherwise."),
        "loaded_at": Column("timestamp", "When the written record was read back into its table, in UTC."),
    },
    HISTORIES: {
        "entity": Column("text", "Entity whose versions are kept, by the name of its table."),
        "followed_at": Column("timestamp", "When its history last matched its table, in UTC; null while it is behind."),
        "mask": Column("text", "Fingerprint of the settings by which values of the history are masked."),
        "masked": Column("text", "Columns of the history that are masked, with blanks between."),
    },
}


def description_of(table: str, column: str = "") -> str:
    """What a table of a destination has in it, or what one of its columns is; "" if that is not known.

    Args:
        table: a system table, or one of dlt or of the source.
        column: one of its columns; none for the table itself.
    """
    if table not in TABLES:
        return descriptions.description_of(table, column)
    if not column:
        return TABLES[table]
    known = COLUMNS.get(table, {}).get(column)
    return known.description if known else ""


def arrow_table(table: str, rows: Sequence[Mapping[str, Any]]) -> "pa.Table":
    """Rows of a system table, with its columns."""
    import pyarrow as pa

    types = {"text": pa.string(), "bigint": pa.int64(), "double": pa.float64(), "timestamp": pa.timestamp("us", "UTC")}
    schema = pa.schema([(name, types[column.type]) for name, column in COLUMNS[table].items()])
    return pa.Table.from_pylist(list(rows), schema=schema)


def ensure_table(pipeline: dlt.Pipeline, table: str = DELETIONS) -> None:
    """Creates a system table, or adds the columns that it does not have. SQL statements write its rows."""
    if not _is_complete(pipeline, table):
        pipeline.run(table_resource(table))


def restore_tables(pipeline: dlt.Pipeline) -> None:
    """Creates tables again that dlt's schema has but the database lacks: dropped, or never created.

    These are the tables of LOGS, and where no state is found those in which dlt keeps loads and states.

    Raises:
        DatabaseException: the database refuses to create one.
    """
    if SCHEMA not in pipeline.schemas.list_schemas():
        return
    with pipeline.destination_client(SCHEMA) as client:
        schema = client.schema
        of_dlt = [schema.loads_table_name, schema.state_table_name] if pipeline.first_run else []
        known = [table for table in (*LOGS, *of_dlt) if table in schema.tables]
        if not (known and isinstance(client, SqlJobClientBase)) or _exist(client, known):
            return
        if not client.is_storage_initialized():
            return
        missing = [table for table, columns in client.get_storage_tables(known) if not columns]
        if missing:
            logger.warning("The destination lacks %s: creating it again, empty.", ", ".join(missing))
            # dlt looks at the database only if the stored schema differs from its own.
            client.update_stored_schema(missing, force=True)


def _exist(client: SqlJobClientBase, tables: Sequence[str]) -> bool:
    """True if the database has the tables. To list their columns, as dlt does, takes longer."""
    sql = client.sql_client
    with suppress(DestinationUndefinedEntity):
        names = ", ".join(map(sql.make_qualified_table_name, tables))
        sql.execute_sql(f"select 1 from {names} where 1 = 0")
        return True
    return False


def missing_logs(pipeline: dlt.Pipeline) -> list[DltResource]:
    """Resources that create the tables of LOGS, or columns of them, that the destination does not have yet."""
    return [table_resource(table) for table in LOGS if not _is_complete(pipeline, table)]


def _is_complete(pipeline: dlt.Pipeline, table: str) -> bool:
    """True if the destination has the table with each column that this version has."""
    return (
        table_exists(pipeline, table)
        and COLUMNS[table].keys() <= pipeline.default_schema.tables[table]["columns"].keys()
    )


def table_exists(pipeline: dlt.Pipeline, table: str) -> bool:
    """True if the destination has the table."""
    return pipeline.default_schema_name is not None and table in pipeline.default_schema.tables


def table_resource(table: str) -> DltResource:
    """A dlt resource without rows that creates a system table, or the columns that it does not have."""

    def tables() -> Iterator[Any]:
        yield arrow_table(table, [])
        describe_table(dlt.current.source_schema(), table, description_of)

    return dlt.resource(tables, name=table, write_disposition="append")
