"""dlt's client of Postgres, with a load job that merges a file into its table in one transaction."""

from typing import cast

import dlt
import pyarrow as pa
import pyarrow.parquet as pq
from dlt.common.destination import DestinationCapabilitiesContext
from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.destinations.impl.postgres.postgres import PostgresClient
from dlt.destinations.impl.postgres.sql_client import Psycopg2SqlClient
from pyarrow import csv

from .merge_job import MergeJob, MergingClient, equal


class PostgresMergeJob(MergeJob):
    """Copies the file into a temporary table first."""

    rows = "pg_temp.loaded_rows"

    def provide_rows(self) -> None:
        """Copies a row group at a time. Arrow quotes each text, so that an empty one is not null."""
        client, file = cast(Psycopg2SqlClient, self._job_client.sql_client), pq.ParquetFile(self._file_path)
        client.execute_sql(f"create temporary table loaded_rows (like {self.table}) on commit drop")
        copy = f"copy {self.rows} ({self.columns}) from stdin with (format csv, encoding 'utf8')"
        with client.native_connection.cursor() as cursor:
            for index in range(file.num_row_groups):
                text = pa.BufferOutputStream()
                csv.write_csv(file.read_row_group(index), text, csv.WriteOptions(include_header=False))
                cursor.copy_expert(copy, pa.BufferReader(text.getvalue()))

    def is_last(self, key: list[str]) -> str:
        return f"not exists (select 1 from {self.rows} old where {equal(key)} and old.ctid > new.ctid)"


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

    @property
    def client_class(self) -> type[PostgresClient]:
        return PostgresMergingClient

    def _raw_capabilities(self) -> DestinationCapabilitiesContext:
        capabilities = super()._raw_capabilities()
        capabilities.supported_loader_file_formats = ["parquet", "insert_values"]
        # dlt's own job needs another driver for Parquet.
        capabilities.loader_file_format_selector = None  # type: ignore[assignment]
        return capabilities
