"""DuckDB, the default destination: a file, and the memory that DuckDB takes for it."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import Destination
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from sources.insightly.errors import BadSetting

from .base import DestinationAdapter

MEMORY, KEPT = "400MB", "50MB"
"""Unasked, DuckDB keeps of its file what it touched, up to four fifths of the machine's memory."""


class DuckDbAdapter(DestinationAdapter):
    """A file of DuckDB's.

    Args:
        path: the file.
        dataset: the schema in it.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        super().__init__("duckdb")
        self.path, self.dataset = path, dataset

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.exists()

    def factory(self) -> "Destination[Any, Any]":
        # DuckDB names a database after its file, and then refuses `insightly.contacts` as ambiguous.
        if self.path.stem.lower() == self.dataset.lower():
            raise BadSetting(
                "--database",
                self.path.name,
                f"DuckDB cannot tell this file from its dataset {self.dataset}; rename it",
            )
        # Unasked, dlt writes a table whose SQL has no CREATE, ALTER or DROP in it (`date_created_utc` does) without
        # a transaction: a kill between its DELETE and its INSERT would show it empty.
        return dlt.destinations.duckdb(DuckDbCredentials(str(self.path)), supports_transactions=True)

    @cached_property
    def location(self) -> str:
        return str(self.path)

    @contextmanager
    def kept_open(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Holds the file open: it is written out and read anew whenever its last connection closes.

        dlt opens a connection for each job and closes it, which cost more than the jobs themselves. While the file is
        open, a limit to its memory holds for all of them.
        """
        with pipeline.sql_client():
            _tell(pipeline, f"set memory_limit = '{MEMORY}'")
            yield

    def loaded(self, pipeline: dlt.Pipeline) -> None:
        """Has DuckDB forget what it kept in memory of the tables that it wrote."""
        _tell(pipeline, "checkpoint")
        with suppress(DatabaseException):
            _tell(pipeline, f"set memory_limit = '{KEPT}'")
        _tell(pipeline, f"set memory_limit = '{MEMORY}'")


def _tell(pipeline: dlt.Pipeline, sql: str) -> None:
    with pipeline.sql_client() as client:
        client.execute_sql(sql)
