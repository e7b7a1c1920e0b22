"""A lake: dlt's filesystem destination, its tables in Delta format, written as they are in a database.

What dlt does there alone is not enough: it replaces no child rows by their parent's key, and reads Delta tables with an
extension of DuckDB's that has to be downloaded. A table changes by one commit of Delta's, so no reader sees half of it.
"""

from typing import Any, cast

import pyarrow as pa
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.libs.pyarrow import columns_to_arrow, get_local_dataset_reader
from dlt.common.schema.typing import TTableSchema
from dlt.common.schema.utils import get_columns_names_with_prop, get_first_column_name_with_prop
from dlt.destinations import filesystem
from dlt.destinations.impl.filesystem.filesystem import DeltaLoadFilesystemJob, FilesystemClient, ReferenceFollowupJob
from dlt.destinations.impl.filesystem.sql_client import FilesystemSqlClient

from .base import DestinationAdapter

OLD = "_old_"
"""Begins the names of the columns that tell a merge which rows go."""

UNFILTERED = "limit 9223372036854775807"
"""Keeps DuckDB from handing its filters to Arrow, which cannot compare the `string_view` columns that merges write."""


class DeltaAdapter(DestinationAdapter):
    """Files of Delta tables in a folder or bucket; dlt's configuration has its `bucket_url`."""

    sql = False

    def factory(self) -> "Destination[Any, Any]":
        with self.configured():
            import dlt.common.libs.deltalake  # noqa: F401

        return Lake(destination_name=self.name)


class Lake(filesystem):
    """dlt's filesystem destination, all tables in Delta format and merged like those of a database."""

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        told = super()._raw_capabilities()
        told.preferred_table_format, told.preferred_loader_file_format = "delta", "parquet"
        told.supported_merge_strategies = ["delete-insert"]
        return told

    @property
    def client_class(self) -> type[FilesystemClient]:
        return LakeClient


class LakeClient(FilesystemClient):
    """Loads with jobs, and reads with a client, that are the lake's own."""

    @staticmethod
    def get_reference_followup_job_class(table: PreparedTableSchema) -> type[ReferenceFollowupJob] | None:
        return ReplaceRows if table.get("table_format") == "delta" else None

    @property
    def sql_client(self) -> Any:
        if self._sql_client is None:
            self._sql_client = LakeSqlClient(self, self.dataset_name)
        return self._sql_client

    @sql_client.setter
    def sql_client(self, client: Any) -> None:
        self._sql_client = client

    def delta(self, table: str) -> Any:
        """The Delta table, None where nothing was ever written into it."""
        try:
            return self.load_open_table("delta", table)
        except DestinationUndefinedEntity:
            return None

    def columns(self, table: str) -> pa.Schema:
        """The columns of a table, those too that no row has yet."""
        return columns_to_arrow(self.prepare_load_table(table)["columns"], self.capabilities, "UTC")

    def write(self, table: str, rows: pa.Table, disposition: Any = "append") -> None:
        """Appends rows, or has them replace all; makes the table where it is not there yet."""
        from dlt.common.libs.deltalake import deltalake_storage_options, write_delta_table

        write_delta_table(
            self.get_open_table_location("delta", table),
            rows,
            disposition,
            storage_options=deltalake_storage_options(self.config.credentials, self.config.deltalake_storage_options),
            configuration=self.config.deltalake_configuration,
        )


class ReplaceRows(DeltaLoadFilesystemJob):
    """Loads what a package holds of one table: rows of the same key are replaced, child rows by their parent's."""

    _job_client: LakeClient

    def run(self) -> None:
        table, client = cast(TTableSchema, self._load_table), self._job_client
        with get_local_dataset_reader(self.file_paths) as reader:
            told = reader.read_all()
        rows = _completed(_kept(told, table), client.columns(self.load_table_name))
        delta = client.delta(self.load_table_name)
        if table["write_disposition"] == "merge" and delta is not None:
            if len(told):
                _replace(delta, told, rows, _keys(table))
        else:
            client.write(self.load_table_name, rows, table["write_disposition"])


def _keys(table: TTableSchema) -> list[str]:
    """The columns whose values say which rows are replaced."""
    return get_columns_names_with_prop(table, "merge_key") or get_columns_names_with_prop(table, "primary_key")


def _kept(told: pa.Table, table: TTableSchema) -> pa.Table:
    """The rows that are to be there: without tombstones, and of a primary key's value the last one."""
    hard_delete = get_first_column_name_with_prop(table, "hard_delete")
    if hard_delete in told.column_names:
        told = told.filter(pa.compute.invert(pa.compute.fill_null(told[hard_delete], False)))
    if keys := get_columns_names_with_prop(table, "primary_key"):
        last = {key: at for at, key in enumerate(zip(*(told[key].to_pylist() for key in keys), strict=True))}
        told = told if len(last) == len(told) else told.take(sorted(last.values()))
    return told


def _completed(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """Rows with all columns of their table, for what a row does not tell is null and not what it was."""
    for column in columns:
        if column.name not in rows.column_names:
            rows = rows.append_column(column.name, pa.nulls(len(rows), column.type))
    return _nullable(rows)


def _nullable(rows: pa.Table) -> pa.Table:
    return rows.cast(pa.schema([column.with_nullable(True) for column in rows.schema]))


def _replace(delta: Any, told: pa.Table, rows: pa.Table, keys: list[str]) -> None:
    """Deletes the rows of every key's value that is told, and adds `rows`, in one commit."""
    from dlt.common.libs.deltalake import evolve_delta_table_schema

    evolve_delta_table_schema(delta, rows.schema)
    old = _nullable(told.select(keys).group_by(keys).aggregate([])).rename_columns([OLD + key for key in keys])
    source = pa.concat_tables([rows, old], promote_options="default")
    matched = " and ".join(f"target.{quoted(key)} = source.{quoted(OLD + key)}" for key in keys)
    (
        delta.merge(source, matched, source_alias="source", target_alias="target")
        .when_matched_delete()
        .when_not_matched_insert(
            {quoted(name): f"source.{quoted(name)}" for name in rows.column_names},
            predicate=f"source.{quoted(OLD + keys[0])} is null",
        )
        .execute()
    )


def quoted(name: str) -> str:
    """A column's name as Delta's expressions take it."""
    return '"' + name.replace('"', '""') + '"'


class LakeSqlClient(FilesystemSqlClient):
    """Reads the Delta tables as they are now, with a DuckDB in memory."""

    remote_client: LakeClient

    def create_views_for_tables(self, tables: dict[str, str]) -> None:
        ours = {table: view for table, view in tables.items() if self.remote_client.is_open_table("delta", table)}
        for table, view in ours.items():
            delta = self.remote_client.delta(table)
            held = self.remote_client.columns(table).empty_table() if delta is None else delta.to_pyarrow_dataset()
            self._conn.register(f"held {view}", held)
            name = self.make_qualified_table_name(view)
            self._conn.execute(f'create or replace view {name} as select * from "held {view}" {UNFILTERED}')
        super().create_views_for_tables({table: view for table, view in tables.items() if table not in ours})
