"""Comments on tables and columns, made of the descriptions in dlt's schema."""

import json
from collections.abc import Iterable, Iterator, Mapping
from types import MethodType
from typing import Any

from dlt.common.data_writers.escape import escape_snowflake_literal
from dlt.common.destination import Destination
from dlt.common.schema.typing import TSchemaTables
from dlt.destinations.job_client_impl import SqlJobClientBase

DIALECTS = ("bigquery", "duckdb", "postgres", "snowflake")
DESCRIBED_BY_DLT = ("bigquery", "snowflake")
"""Dialects in which dlt itself writes the description of a column that it creates."""
OWNED = """
    select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %s and c.relkind in ('r', 'p') and pg_has_role(c.relowner, 'usage')
"""


def with_comments(destination: "Destination[Any, Any]") -> "Destination[Any, Any]":
    """Makes the clients of a destination write comments whenever they store a schema with other descriptions.

    They do so in the transaction that creates the tables and columns. dlt stores a schema only if it has changed, so
    that a run without changes sends no statement for this.
    """
    create = destination.client

    def client(*args: Any, **kwargs: Any) -> Any:
        created = create(*args, **kwargs)
        if isinstance(created, SqlJobClientBase) and created.capabilities.sqlglot_dialect in DIALECTS:
            update = created._execute_schema_update_sql

            def update_with_comments(
                self: SqlJobClientBase, only_tables: Iterable[str], store_schema: bool = True
            ) -> TSchemaTables:
                if self.sql_client.is_staging_dataset_active:
                    return update(only_tables, store_schema)
                # A query of a table that does not exist would end the transaction.
                exists, _ = self.get_storage_table(self.schema.version_table_name)
                stored = self.get_stored_schema(self.schema.name) if exists else None
                before = {} if stored is None else json.loads(stored.schema)["tables"]
                applied = update(only_tables, store_schema)
                self.sql_client.execute_many(list(comments(self, before, applied)))
                return applied

            created._execute_schema_update_sql = MethodType(update_with_comments, created)  # type: ignore[method-assign]
        return created

    destination.client = client  # type: ignore[method-assign]
    return destination


def comments(client: SqlJobClientBase, before: Mapping[str, Any], applied: Mapping[str, Any]) -> Iterator[str]:
    """The statements for the descriptions of the client's schema that differ from those of a schema before.

    Args:
        client: connected.
        before: the tables of the schema before.
        applied: the tables and columns that have just been created.
    """
    dialect = client.capabilities.sqlglot_dialect
    wanted = {name: _texts(table) for name, table in client.schema.tables.items()}
    stored = {name: _texts(before.get(name, {})) for name in wanted}
    for name, table in applied.items():
        inherited = wanted[name] if dialect in DESCRIBED_BY_DLT else {}
        stored[name] |= {"": "", **{column: inherited.get(column, "") for column in table["columns"]}}
    changed = [name for name in wanted if wanted[name] != stored[name]]
    owned = _owned(client) if changed and dialect == "postgres" else None
    sensitive = client.capabilities.generates_case_sensitive_identifiers()
    for name, existing in client.get_storage_tables(changed):
        if not existing or (owned is not None and name not in owned):
            continue
        missing = {column["name"] for column in client.schema.get_new_table_columns(name, existing, sensitive)}
        new = {key: text for key, text in wanted[name].items() if stored[name].get(key, "") != text}
        yield from _statements(client, name, {key: text for key, text in new.items() if key not in missing})


def _owned(client: SqlJobClientBase) -> set[str]:
    """The tables that this user may comment on: only the owner of a table may, or who has his role."""
    return {str(name) for (name,) in client.sql_client.execute_sql(OWNED, client.sql_client.dataset_name) or ()}


def _texts(table: Any) -> dict[str, str]:
    """The descriptions of the columns of a table in a schema, and its own under ""."""
    columns = {name: column.get("description") or "" for name, column in table.get("columns", {}).items()}
    return {"": table.get("description") or "", **columns}


def _statements(client: SqlJobClientBase, table: str, texts: Mapping[str, str]) -> Iterator[str]:
    snowflake = client.capabilities.sqlglot_dialect == "snowflake"
    escape: Any = escape_snowflake_literal if snowflake else client.capabilities.escape_literal
    column_name = client.sql_client.escape_column_name
    path, columns = client.sql_client.make_qualified_table_name(table), {n: text for n, text in texts.items() if n}
    if client.capabilities.sqlglot_dialect == "bigquery":  # which limits the changes of a table in some seconds
        if "" in texts:
            yield f"alter table {path} set options (description = {escape(texts[''])})"
        actions = (f"alter column {column_name(n)} set options (description = {escape(columns[n])})" for n in columns)
        if columns:
            yield f"alter table {path} {', '.join(actions)}"
        return
    if "" in texts:
        yield f"comment on table {path} is {escape(texts[''])}"
    for name, text in columns.items():
        yield f"comment on column {path}.{column_name(name)} is {escape(text)}"
