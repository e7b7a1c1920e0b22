"""dlt's client of Postgres, with a load job that merges a file into its table in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import dlt
import psycopg2
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema import Schema
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from dlt.destinations.sql_client import raise_database_error
from dlt.destinations.typing import DBTransaction
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection

from .merge_job import MergeJob, MergingClient, equal

if TYPE_CHECKING:
    from pyarrow import BufferReader
    from pyarrow.parquet import ParquetFile


class Connections:
    """The open connections of a run that no client of dlt uses. dlt opens one for each job, and some ten more a run."""

    def __init__(self) -> None:
        self._unused = list[connection]()
        self._are_kept = False

    @contextmanager
    def kept(self) -> Iterator[None]:
        """In the block of a `with` statement, connections stay open for the next client."""
        self._are_kept = True
        try:
            yield
        finally:
            self._are_kept = False
            while (unused := self.take()) is not None:
                unused.close()

    def take(self) -> connection | None:
        with suppress(IndexError):
            return self._unused.pop()
        return None

    def put(self, used: connection) -> None:
        if self._are_kept and used.info.transaction_status == TRANSACTION_STATUS_IDLE:
            self._unused.append(used)
        else:
            used.close()


class SharingSqlClient(Psycopg2SqlClient):
    """Uses a connection that another client has opened, if the server has not closed it since.

    Args:
        client: dlt's own.
        connections: those that are open.
    """

    def __init__(self, client: Psycopg2SqlClient, connections: Connections) -> None:
        super().__init__(client.dataset_name, client.staging_dataset_name, client.credentials, client.capabilities)
        self._connections = connections

    def open_connection(self) -> connection:
        while (unused := self._connections.take()) is not None:
            self._conn = unused
            with suppress(psycopg2.Error):
                self._reset_connection()
                return unused
            unused.close()
        return super().open_connection()

    def close_connection(self) -> None:
        if self._conn is not None:
            self._connections.put(self._conn)
            self._conn = None

    @contextmanager
    @raise_database_error
    def execute_query(self, query: Any, *args: Any, **options: Any) -> Iterator[Any]:
        """Connects again if dlt could not do so after an earlier error, because the server was down."""
        if self._conn is None:
            self.open_connection()
        with super().execute_query(query, *args, **options) as cursor:
            yield cursor

    @contextmanager
    @raise_database_error
    def begin_transaction(self) -> Iterator[DBTransaction]:
        """Connects again, as `execute_query`."""
        if self._conn is None:
            self.open_connection()
        with super().begin_transaction() as transaction:
            yield transaction

    def rollback_transaction(self) -> None:
        """Does nothing if the connection is lost, and with it the transaction."""
        if self._conn is not None:
            super().rollback_transaction()

    @raise_database_error
    def copy(self, sql: str, text: Any) -> None:
        """Executes `copy … from stdin` on a readable file.

        As with other statements, dlt tries it again only where that can help.
        """
        with self.native_connection.cursor() as cursor:
            cursor.copy_expert(sql, text)


class PostgresMergeJob(MergeJob):
    """Copies the file into a temporary table first, of the same name, which errors of the database show.

    All rows of a file go straight into a table that has none, unless something of a user's would see the difference: a
    trigger, a rule, a policy, a default, which may depend on the time zone. Of repeated keys one row alone may enter
    the table, which can have a unique index.
    """

    def provide_rows(self) -> None:
        import pyarrow.parquet as pq  # a run without new rows needs none of Arrow

        client = cast(SharingSqlClient, self._job_client.sql_client)
        file = pq.ParquetFile(self._file_path, metadata=self.metadata)
        is_direct = self._is_plain_and_empty() and not self._has_repeated_keys(file)
        self.rows = self.table if is_direct else f"pg_temp.{client.escape_column_name(self.load_table_name)}"
        if not is_direct:
            # Unlike `like`, this accepts rows without a column that a user has added, and declared not null.
            same_columns = f"select * from {self.table} limit 0"
            client.execute_sql(f"create temporary table {self.rows} on commit drop as {same_columns}")
        client.execute_sql("set local time zone 'UTC'")
        for text in self._texts(file, self.with_hint("hard_delete") if is_direct else []):
            client.copy(f"copy {self.rows} ({self.columns}) from stdin with (format csv, encoding 'utf8')", text)
        client.execute_sql("set local time zone default")  # for what is a user's in the table

    def _texts(self, file: "ParquetFile", deleted: list[str]) -> Iterator["BufferReader"]:
        """The rows as CSV, a row group at a time, without those that a column of `deleted` says to delete.

        Arrow quotes each text, so that an empty one is not null. Times are in UTC without saying so: Arrow takes twenty
        times as long to write those with a time zone.
        """
        import pyarrow as pa
        import pyarrow.compute as pc
        from pyarrow import csv

        utc = pa.schema(
            field.with_type(pa.timestamp(field.type.unit)) if pa.types.is_timestamp(field.type) else field
            for field in file.schema_arrow
        )
        for index in range(file.num_row_groups):
            rows = file.read_row_group(index).cast(utc)
            for name in filter(rows.column_names.__contains__, deleted):
                rows = rows.filter(pc.invert(pc.fill_null(rows[name], False)))
            text = pa.BufferOutputStream()
            csv.write_csv(rows, text, csv.WriteOptions(include_header=False))
            yield pa.BufferReader(text.getvalue())

    def statements(self) -> Iterator[str]:
        return iter(()) if self.rows == self.table else super().statements()

    def is_last(self, key: list[str]) -> str:
        return f"not exists (select 1 from {self.rows} old where {equal(key)} and old.ctid > new.ctid)"

    def _is_plain_and_empty(self) -> bool:
        sql = f"""select relkind = 'r' and not (relhastriggers or relhasrules or relrowsecurity)
                  and not exists (select from pg_attrdef where adrelid = pg_class.oid)
                  and not exists (select from {self.table}) from pg_class where oid = %s::regclass"""
        ((found,),) = self._job_client.sql_client.execute_sql(sql, self.table) or ()
        return bool(found)

    def _has_repeated_keys(self, file: "ParquetFile") -> bool:
        key = self.with_hint("primary_key")
        if not key or self._load_table["write_disposition"] != "merge":
            return False
        rows = file.read(columns=key)
        return bool(rows.group_by(key).aggregate([]).num_rows < rows.num_rows)


class PostgresMergingClient(MergingClient, PostgresClient):
    """Loads each file of a package straight into its table."""

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if file_path.endswith(".parquet"):
            return PostgresMergeJob(file_path)
        return super().create_load_job(table, file_path, load_id, restore)


class MergingPostgres(dlt.destinations.postgres):
    """dlt's destination `postgres`, with `PostgresMergingClient`."""

    destination_type = "dlt.destinations.postgres"
    connections = Connections()

    @property
    def client_class(self) -> type[PostgresClient]:
        return PostgresMergingClient

    def client(self, schema: Schema, initial_config: Any = None) -> PostgresClient:
        client = super().client(schema, initial_config)
        client.sql_client = SharingSqlClient(client.sql_client, self.connections)
        return client

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.loader_parallelism_strategy = "table-sequential"
        capabilities.max_parallel_load_jobs = 2  # each has a connection, and there may be several accounts
        capabilities.supported_loader_file_formats = ["parquet", "insert_values"]
        # dlt's own job needs another driver for Parquet.
        capabilities.loader_file_format_selector = None  # type: ignore[assignment]
        return capabilities
