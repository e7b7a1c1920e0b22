"""Load jobs that merge a file into its table in one transaction.

dlt copies the file into a table of a staging dataset and merges that in a second job: twice the jobs, tables and rows.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Any, cast

from dlt.common.destination.client import FollowupJobRequest, RunnableLoadJob
from dlt.common.schema import TTableSchema
from dlt.common.schema.utils import get_columns_names_with_prop
from dlt.destinations.job_client_impl import SqlJobClientBase


class MergeJob(RunnableLoadJob, ABC):
    """Merges a file into its table by key, or replaces the table; to do it twice is to do it once.

    A file has all rows of a merge key, and all rows of a list that replaces another.
    """

    _job_client: SqlJobClientBase
    rows: str
    """What a query reads the rows of the file from; %s for its path."""

    def run(self) -> None:
        if self._load_table["write_disposition"] != "replace" and not self.metadata.num_rows:
            return
        client = self._job_client.sql_client
        with client.begin_transaction():
            self.provide_rows()
            for sql in self.statements():
                client.execute_sql(sql, *[self._file_path] * sql.count("%s"))

    def provide_rows(self) -> None:
        """Brings the rows of the file to where `rows` reads them, if they are not there."""

    @abstractmethod
    def is_last(self, key: list[str]) -> str:
        """The condition that a row `new` of the file is the last one with its key."""

    @property
    def table(self) -> str:
        """The table, as SQL names it."""
        return self._job_client.sql_client.make_qualified_table_name(self.load_table_name)

    @cached_property
    def metadata(self) -> Any:
        """Parquet's metadata of the file."""
        import pyarrow.parquet as pq  # a run without new rows does not need it

        return pq.read_metadata(self._file_path)

    @cached_property
    def columns(self) -> str:
        """The columns that the file has."""
        return ", ".join(self._escaped(self.metadata.schema.to_arrow_schema().names))

    def statements(self) -> Iterator[str]:
        conditions = [f"new.{column} is not true" for column in self._escaped(self.with_hint("hard_delete"))]
        disposition = self._load_table["write_disposition"]
        if disposition == "replace":
            yield f"delete from {self.table}"
        elif disposition == "merge":
            key, merge_key = (self._escaped(self.with_hint(hint)) for hint in ("primary_key", "merge_key"))
            for columns in filter(None, (key, merge_key)):
                same = f"select 1 from {self.rows} new where {equal(columns)}"
                yield f"delete from {self.table} old where exists ({same})"
            if key:
                conditions.append(self.is_last(key))
        where = " and ".join(conditions or ["true"])
        yield f"insert into {self.table} ({self.columns}) select {self.columns} from {self.rows} new where {where}"

    def with_hint(self, hint: Any) -> list[str]:
        """The names of the columns that have a hint of dlt's."""
        return get_columns_names_with_prop(cast(TTableSchema, self._load_table), hint)

    def _escaped(self, names: list[str]) -> list[str]:
        return list(map(self._job_client.sql_client.escape_column_name, names))


class MergingClient(SqlJobClientBase):
    """Part of a client that loads each file of a package straight into its table."""

    def should_load_data_to_staging_dataset(self, _table_name: str) -> bool:
        return False

    def create_table_chain_completed_followup_jobs(self, *_: Any) -> list[FollowupJobRequest]:
        return []


def equal(columns: list[str]) -> str:
    """The condition that a row `old` and a row `new` have the same values in some columns."""
    return " and ".join(f"old.{column} = new.{column}" for column in columns)
