"""Tables in a dataset that this program did not load: it would replace the rows of another program."""

import json
import logging
from collections.abc import Collection
from contextlib import suppress
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.destinations.job_client_impl import SqlJobClientBase

from sources.insightly.entities import ENTITIES
from sources.insightly.errors import BadSetting
from sources.insightly.rows.naming import ARRAY_TABLES, HISTORY_TABLES

from .pipeline_state import PIPELINE, SCHEMA, foreign_tables, source_state
from .system_tables import COLUMNS
from .target import Target

logger = logging.getLogger(__name__)


def refuse_foreign_tables(pipeline: dlt.Pipeline, target: Target) -> None:
    """Checks that what the dataset has under the names of this program was loaded by it.

    Raises:
        BadSetting: names the dataset, and the tables or the pipeline that loaded them. Nothing was written.
    """
    with pipeline.destination_client() as client:
        if not isinstance(client, SqlJobClientBase):
            return
        if others := ", ".join(_later_pipelines(pipeline, client)):
            reason = f"the dlt pipeline {others} has loaded this dataset; name another one"
            if not source_state(pipeline):
                raise BadSetting("--dataset", target.dataset, reason)
            logger.warning("%s: %s for it, and sync into a new dataset", target, reason)
        loaded = set(pipeline.default_schema.tables) if pipeline.default_schema_name else set[str]()
        own = (*ENTITIES, *ARRAY_TABLES, *HISTORY_TABLES, *COLUMNS)  # custom objects have others
        names = set(map(client.schema.naming.normalize_tables_path, own)) - loaded
        foreign = _tables_in_use(client, names)
        with client.sql_client.with_staging_dataset() as staging:
            found = _tables_in_use(client, names)
            staged = {f"{staging.dataset_name}.{table}": name for table, name in found.items()}
        if foreign or staged:  # another pipeline may have stored a schema without this program's tables
            earlier = _tables_of_every_version(client)
            foreign = {table: name for table, name in {**foreign, **staged}.items() if name not in earlier}
    if foreign:
        raise foreign_tables(target.dataset, list(foreign))


def _later_pipelines(pipeline: dlt.Pipeline, client: SqlJobClientBase) -> list[str]:
    """The other pipelines that have loaded this source into the dataset since this program did."""
    if SCHEMA not in pipeline.schemas.list_schemas():
        return []
    table = client.sql_client.make_qualified_table_name(client.schema.state_table_name)
    sql = f"select pipeline_name, max(_dlt_load_id) from {table} group by pipeline_name order by pipeline_name"
    last: dict[str, str] = {}
    with suppress(DestinationUndefinedEntity):  # a run was killed before its first load
        last = {str(name): str(load_id) for name, load_id in client.sql_client.execute_sql(sql) or ()}
    own = last.pop(PIPELINE, "")
    return [name for name, load_id in last.items() if load_id > own]


def _tables_of_every_version(client: SqlJobClientBase) -> set[str]:
    """The tables in any schema that was ever stored for this source."""
    if not list(client.get_storage_table(client.schema.version_table_name))[1]:
        return set()
    table = client.sql_client.make_qualified_table_name(client.schema.version_table_name)
    column = client.sql_client.escape_column_name("schema")
    rows: Any = client.sql_client.execute_sql(f"select {column} from {table} where schema_name = %s", PIPELINE)
    return {name for (text,) in rows or () for name in json.loads(text)["tables"]}


def _tables_in_use(client: SqlJobClientBase, names: Collection[str]) -> dict[str, str]:
    """The tables under some names of this program that have rows, or another case than its own: table -> name."""
    sql = client.sql_client
    if client.capabilities.sqlglot_dialect == "duckdb":
        # DuckDB finds a table in any case, but lists it in that of its creator.
        query = "select table_name from information_schema.tables "
        query += "where table_catalog = current_database() and lower(table_schema) = lower(%s) order by 1"
        found = {name: name.lower() for (name,) in sql.execute_sql(query, sql.dataset_name) or ()}
    elif sql.has_dataset():
        found = {name: name for name, columns in client.get_storage_tables(sorted(names)) if columns}
    else:
        found = {}
    return {
        table: name for table, name in found.items() if name in names and (table != name or _has_rows(client, name))
    }


def _has_rows(client: SqlJobClientBase, name: str) -> bool:
    # A run that was killed before its first load leaves empty tables.
    table = client.sql_client.make_qualified_table_name(name)
    return bool(client.sql_client.execute_sql(f"select 1 from {table} limit 1"))
