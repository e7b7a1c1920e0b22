"""Delta tables in a folder or bucket: dlt's filesystem destination, with merges like those of a database.

dlt's own merge does not replace child rows by their parent's key, and its SQL client reads Delta tables with a DuckDB
extension that must be downloaded. Each table changes in one Delta commit, so no reader sees half of a load.
"""

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from errno import EROFS
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import fsspec
import pyarrow as pa
from dlt.common.destination import Destination, DestinationCapabilitiesContext
from dlt.common.destination.exceptions import DestinationUndefinedEntity
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.libs.pyarrow import columns_to_arrow, get_local_dataset_reader
from dlt.common.schema.typing import TTableSchema
from dlt.common.schema.utils import get_columns_names_with_prop, get_first_column_name_with_prop
from dlt.common.storages.fsspec_filesystem import fsspec_from_config
from dlt.destinations import filesystem
from dlt.destinations.impl.filesystem.filesystem import DeltaLoadFilesystemJob, FilesystemClient, ReferenceFollowupJob
from dlt.destinations.impl.filesystem.sql_client import FilesystemSqlClient

from sources.insightly.errors import BadSetting, InsightlyError, chain

from .base import DestinationAdapter, Unreachable
from .lease import Lease
from .locks import Busy, this_run, wait_for, working_folder_id

LOCKS = "_insightly_locks"
"""Folder beside the datasets."""
OLD = "_old_"
"""Prefix of the columns with the keys of the rows that a merge replaces."""

REFUSED = (PermissionError, NotADirectoryError, FileExistsError, IsADirectoryError)
"""What a store raises for a path that the user has no rights to, or that is a file in the place of a folder."""
NO_PUSHDOWN = "limit 9223372036854775807"
"""Stops DuckDB from passing its filters to Arrow, which cannot compare the `string_view` columns that merges write."""


class DeltaAdapter(DestinationAdapter):
    """Delta tables in a folder or bucket; dlt's configuration has its `bucket_url`."""

    sql = False
    concurrent_reads = False  # the list of tables is stored before the first rows are

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._lease: Lease | None = None

    @contextmanager
    def lock(self, dataset: str, wait: float, writes: bool) -> Iterator[None]:
        """Holds a lease in the folder or bucket; a command that only reads needs none, and may not write there.

        Raises:
            Busy: another run still has it after `wait` seconds.
            BadSetting: `bucket_url` cannot be written.
            Unreachable: the bucket does not answer.
        """
        if not writes:
            yield
            return
        with self.configured():
            files, root = fsspec_from_config(self._configuration)
        lease = Lease(files, posixpath.join(root, LOCKS, dataset), working_folder_id(), this_run())
        try:
            wait_for(lease.try_lock, f"{self}, dataset {dataset}", wait)
        except InsightlyError:
            raise
        except Exception as error:  # each store has errors of its own
            if _is_refused(error) or (isinstance(error, FileNotFoundError) and not files.exists(root)):
                raise self._wrong_bucket(error) from None
            raise Unreachable(f"{self} cannot be locked: {error}") from None
        self._lease = lease
        try:
            yield
        finally:
            lease.release()
            self._lease = None

    def explain(self, error: BaseException, _dataset: str) -> str | None:
        """Names the setting if the store refuses a path; the working folder of dlt can be refused as well."""
        for each in filter(_is_refused, chain(error)):
            path = getattr(each, "filename", None)
            if path is None or Path(os.fsdecode(path)).is_relative_to(fsspec_from_config(self._configuration)[1]):
                return str(self._wrong_bucket(each))
        return None

    def check_lock(self) -> None:
        if self._lease is not None and not self._lease.is_held():
            raise Busy(f"the lease on {self} expired, so another run may have it; nothing more is loaded. Run again")

    def factory(self, read_only: bool = False) -> "Destination[Any, Any]":
        del read_only
        with self.configured():
            import dlt.common.libs.deltalake  # noqa: F401

        self._check_protocol()
        return DeltaFilesystem(destination_name=self.name)

    @cached_property
    def _configuration(self) -> Any:
        """dlt's configuration of the folder or bucket. Raises BadSetting."""
        with self.configured():
            factory = super().factory()
            return factory.configuration(factory.spec(), accept_partial=True)

    def _check_protocol(self) -> None:
        """Raises BadSetting for a URL that nothing can open."""
        configuration = self._configuration
        if configuration.bucket_url and configuration.protocol not in fsspec.available_protocols():
            fix = "write a folder, or the URL of a bucket such as s3://my-bucket/crm"
            raise self._bad_bucket(f"there is no protocol {configuration.protocol}; {fix}")

    def _wrong_bucket(self, error: BaseException) -> BadSetting:
        path = getattr(error, "filename", None)
        reason = f"{os.strerror(error.errno)}: {path}" if isinstance(error, OSError) and error.errno and path else error
        return self._bad_bucket(f"{reason}; name a folder or bucket that this user has the rights to read and write")

    def _bad_bucket(self, fix: str) -> BadSetting:
        url = str(self._configuration.original_bucket_url()).partition("?")[0]  # a token can follow
        return BadSetting(f"destination.{self.name}.bucket_url", url, fix)


def _is_refused(error: BaseException) -> bool:
    return isinstance(error, REFUSED) or getattr(error, "errno", None) == EROFS


class DeltaFilesystem(filesystem):
    """dlt's filesystem destination with all tables in Delta format."""

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.preferred_table_format, capabilities.preferred_loader_file_format = "delta", "parquet"
        capabilities.supported_merge_strategies = ["delete-insert"]
        return capabilities

    @property
    def client_class(self) -> type[FilesystemClient]:
        return DeltaClient


class DeltaClient(FilesystemClient):
    """Loads packages with `ReplaceRows` and reads with `DeltaSqlClient`."""

    @staticmethod
    def get_reference_followup_job_class(table: PreparedTableSchema) -> type[ReferenceFollowupJob] | None:
        return ReplaceRows if table.get("table_format") == "delta" else None

    @property
    def sql_client(self) -> Any:
        if self._sql_client is None:
            self._sql_client = DeltaSqlClient(self, self.dataset_name)
        return self._sql_client

    @sql_client.setter
    def sql_client(self, client: Any) -> None:
        self._sql_client = client

    def delta(self, table: str) -> Any:
        """The Delta table, None before its first write."""
        try:
            return self.load_open_table("delta", table)
        except DestinationUndefinedEntity:
            return None

    def columns(self, table: str) -> pa.Schema:
        """The columns of a table in dlt's schema, including those that no row has yet."""
        return columns_to_arrow(self.prepare_load_table(table)["columns"], self.capabilities, "UTC")

    def write(self, table: str, rows: pa.Table, disposition: Any = "append") -> None:
        """Appends rows or replaces all rows. Creates the table if it does not exist."""
        from dlt.common.libs.deltalake import deltalake_storage_options, write_delta_table

        write_delta_table(
            self.get_open_table_location("delta", table),
            rows,
            disposition,
            storage_options=deltalake_storage_options(self.config.credentials, self.config.deltalake_storage_options),
            configuration=self.config.deltalake_configuration,
        )


class ReplaceRows(DeltaLoadFilesystemJob):
    """Loads a package's rows of one table: they replace the rows of the same key, child rows those of their parent."""

    _job_client: DeltaClient

    def run(self) -> None:
        table, client = cast(TTableSchema, self._load_table), self._job_client
        with get_local_dataset_reader(self.file_paths) as reader:
            loaded = reader.read_all()
        rows = _add_missing_columns(_deduplicate(loaded, table), client.columns(self.load_table_name))
        delta = client.delta(self.load_table_name)
        if table["write_disposition"] == "merge" and delta is not None:
            if len(loaded):
                keys = get_columns_names_with_prop(table, "merge_key")
                _replace(delta, loaded, rows, keys or get_columns_names_with_prop(table, "primary_key"))
        else:
            client.write(self.load_table_name, rows, table["write_disposition"])


def _deduplicate(rows: pa.Table, table: TTableSchema) -> pa.Table:
    """The rows to write: no tombstones, and only the last row of each primary key."""
    hard_delete = get_first_column_name_with_prop(table, "hard_delete")
    if hard_delete in rows.column_names:
        rows = rows.filter(pa.compute.invert(pa.compute.fill_null(rows[hard_delete], False)))
    if keys := get_columns_names_with_prop(table, "primary_key"):
        last = {key: index for index, key in enumerate(zip(*(rows[key].to_pylist() for key in keys), strict=True))}
        rows = rows if len(last) == len(rows) else rows.take(sorted(last.values()))
    return rows


def _add_missing_columns(rows: pa.Table, columns: pa.Schema) -> pa.Table:
    """The rows with all columns of their table: a missing column becomes null instead of keeping its old value."""
    for column in columns:
        if column.name not in rows.column_names:
            rows = rows.append_column(column.name, pa.nulls(len(rows), column.type))
    return _nullable(rows)


def _nullable(rows: pa.Table) -> pa.Table:
    return rows.cast(pa.schema([column.with_nullable(True) for column in rows.schema]))


def _replace(delta: Any, loaded: pa.Table, rows: pa.Table, keys: list[str]) -> None:
    """Deletes the rows with a key of `loaded` and inserts `rows`, in one commit."""
    from dlt.common.libs.deltalake import evolve_delta_table_schema

    evolve_delta_table_schema(delta, rows.schema)
    old = _nullable(loaded.select(keys).group_by(keys).aggregate([])).rename_columns([OLD + key for key in keys])
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
    """A column's name, quoted for Delta's expressions."""
    return '"' + name.replace('"', '""') + '"'


class DeltaSqlClient(FilesystemSqlClient):
    """Reads the latest version of the Delta tables with an in-memory DuckDB."""

    remote_client: DeltaClient

    def create_secret(self, *_: Any, **__: Any) -> bool:
        """Does nothing, for Arrow reads the tables. dlt's own calls `fetchone` of a relation, which DuckDB 2 lacks."""
        return True

    def create_views_for_tables(self, tables: dict[str, str]) -> None:
        in_delta = {table: view for table, view in tables.items() if self.remote_client.is_open_table("delta", table)}
        for table, view in in_delta.items():
            delta = self.remote_client.delta(table)
            rows = self.remote_client.columns(table).empty_table() if delta is None else delta.to_pyarrow_dataset()
            self._conn.register(f"delta {view}", rows)
            name = self.make_qualified_table_name(view)
            self._conn.execute(f'create or replace view {name} as select * from "delta {view}" {NO_PUSHDOWN}')
        super().create_views_for_tables({table: view for table, view in tables.items() if table not in in_delta})
