"""dlt's client of DuckDB, with a load job that merges a file into its table in one transaction.

dlt copies the file into a table of a staging dataset and merges that in a second job: twice the jobs, tables and rows.
"""

from collections.abc import Iterator
from typing import Any, cast

import dlt
from dlt.common.destination.client import FollowupJobRequest, LoadJob, RunnableLoadJob
from dlt.common.destination.typing import PreparedTableSchema
from dlt.common.schema import TTableSchema
from dlt.common.schema.utils import get_columns_names_with_prop
from dlt.destinations.impl.duckdb.duck import DuckDbClient

ROWS = "read_parquet(%s, file_row_number = true)"


class MergeJob(RunnableLoadJob):
    """Merges a file into its table by key, or replaces the table; to do it twice is to do it once.

    A file has all rows of a merge key, and all rows of a list that replaces another.
    """

    _job_client: "MergingClient"

    def run(self) -> None:
        client = self._job_client.sql_client
        with client.begin_transaction():
            for sql in self._statements(client.make_qualified_table_name(self.load_table_name)):
                client.execute_sql(sql, *[self._file_path] * sql.count("%s"))

    def _statements(self, table: str) -> Iterator[str]:
        conditions = [f"{column} is not true" for column in self._columns("hard_delete")]
        if self._load_table["write_disposition"] == "replace":
            yield f"delete from {table}"
        else:
            key = self._columns("primary_key")
            for columns in filter(None, (key, self._columns("merge_key"))):
                same = " and ".join(f"old.{column} = new.{column}" for column in columns)
                yield f"delete from {table} old where exists (select 1 from {ROWS} new where {same})"
            if key:  # the last row of a key
                last = f"select max(file_row_number) from {ROWS} group by {', '.join(key)}"
                conditions.append(f"file_row_number in ({last})")
        where = " and ".join(conditions or ["true"])
        yield f"insert into {table} by name select * exclude (file_row_number) from {ROWS} where {where}"

    def _columns(self, hint: Any) -> list[str]:
        names = get_columns_names_with_prop(cast(TTableSchema, self._load_table), hint)
        return list(map(self._job_client.sql_client.escape_column_name, names))


class MergingClient(DuckDbClient):
    """Loads each file of a package straight into its table."""

    def create_load_job(
        self, table: PreparedTableSchema, file_path: str, load_id: str, restore: bool = False
    ) -> LoadJob:
        if table["write_disposition"] == "append":
            return super().create_load_job(table, file_path, load_id, restore)
        return MergeJob(file_path)

    def should_load_data_to_staging_dataset(self, _table_name: str) -> bool:
        return False

    def create_table_chain_completed_followup_jobs(self, *_: Any) -> list[FollowupJobRequest]:
        return []


class MergingDuckDb(dlt.destinations.duckdb):
    """dlt's destination `duckdb`, with `MergingClient`."""

    destination_type = "dlt.destinations.duckdb"

    @property
    def client_class(self) -> type[DuckDbClient]:
        return MergingClient
