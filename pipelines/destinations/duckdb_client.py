"""dlt's client of DuckDB, with a load job that merges a file into its table in one transaction."""

import dlt
from dlt.common.destination.client import LoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.destinations.impl.duckdb.duck import DuckDbClient

from .merge_job import MergeJob, MergingClient


class DuckDbMergeJob(MergeJob):
    """Reads the file where it is."""

    rows = "read_parquet(%s, file_row_number = true)"

    def is_last(self, key: list[str]) -> str:
        return f"file_row_number in (select max(file_row_number) from {self.rows} group by {', '.join(key)})"


class DuckDbMergingClient(MergingClient, DuckDbClient):
    """Loads each file of a package straight into its table."""

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if table["write_disposition"] == "append":
            return super().create_load_job(table, file_path, load_id, restore)
        return DuckDbMergeJob(file_path)


class MergingDuckDb(dlt.destinations.duckdb):
    """dlt's destination `duckdb`, with `DuckDbMergingClient`."""

    destination_type = "dlt.destinations.duckdb"

    @property
    def client_class(self) -> type[DuckDbClient]:
        return DuckDbMergingClient
