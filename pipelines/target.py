"""Where a run writes: the destination, its dataset, the dlt pipeline over it, and the lock that keeps runs apart."""

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dlt
from dlt.common.destination import Destination
from dlt.common.destination.client import WithStateSync
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseException
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials
from dlt.extract import DltSource
from filelock import FileLock, Timeout

from sources.insightly.errors import BadSetting, InsightlyError
from sources.insightly.instances import DEFAULT

logger = logging.getLogger(__name__)

PIPELINE = SCHEMA = "insightly"
WAIT_SECONDS = 60.0
DEFAULT_FILE = "crm.duckdb"
DUCKDB_MEMORY, DUCKDB_KEEPS = "400MB", "50MB"
"""Unasked, DuckDB keeps of its file what it touched, up to four fifths of the machine's memory."""

# Entities finish one after another, so a small budget ends walks instead of touching all of them; a table is replaced
# within one transaction, so a kill never shows it empty; and nothing is told to dlt's makers unasked.
os.environ.setdefault("EXTRACT__NEXT_ITEM_MODE", "fifo")
os.environ.setdefault("DESTINATION__REPLACE_STRATEGY", "insert-from-staging")
os.environ.setdefault("RUNTIME__DLTHUB_TELEMETRY", "false")
os.environ.setdefault("RUNTIME__LOG_LEVEL", "ERROR")


class Busy(InsightlyError):
    """Another run on this machine holds the destination."""


class NothingSynced(InsightlyError):
    """The command needs what a sync loads first."""

    def __init__(self, target: "Target") -> None:
        super().__init__(f"nothing was synced into {target} yet: run insightly sync first")


@dataclass(frozen=True)
class Target:
    """A destination by dlt's name, the dataset in it, and for DuckDB the file."""

    destination: str = "duckdb"
    dataset: str = "insightly"
    database: str | None = None

    @property
    def path(self) -> Path:
        return Path(self.database or DEFAULT_FILE).resolve()

    def __str__(self) -> str:
        place = str(self.path) if self.destination == "duckdb" else self.destination
        return f"{place}, dataset {self.dataset}"

    def of(self, instance: str | None) -> "Target":
        """Where an account's tables are: in a dataset of its own, as `insightly_emea`."""
        return self if instance in (None, DEFAULT) else replace(self, dataset=f"{self.dataset}_{instance}")

    def exists(self) -> bool:
        """False where a file would have to be made first."""
        return self.destination != "duckdb" or self.path.exists()

    def require(self) -> None:
        """Raises NothingSynced where there is no file to look into."""
        if not self.exists():
            raise NothingSynced(self)

    def factory(self) -> "Destination[Any, Any]":
        if self.destination == "duckdb":
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
        if self.database is not None:
            raise BadSetting("--database", self.database, f"only DuckDB takes a file, not {self.destination}")
        return dlt.destination(self.destination)

    @property
    def digest(self) -> str:
        """Names the working folder and the lock: one a destination and dataset, for state belongs to one of each."""
        where = str(self.path) if self.destination == "duckdb" else self._fingerprint()
        return hashlib.sha256(f"{self.destination}\n{where}\n{self.dataset}".encode()).hexdigest()[:16]

    def _fingerprint(self) -> str:
        factory = self.factory()
        return str(factory.configuration(factory.spec(), accept_partial=True).fingerprint())

    def pipeline(self) -> dlt.Pipeline:
        """The pipeline over this destination, its state taken from there: local leftovers are no truth.

        Packages that an interrupted run left half loaded are kept, so that the next `run` finishes them, unless
        the destination they belong to has gone.
        """
        folder = Path(get_dlt_pipelines_dir()) / f"insightly-{self.digest}"
        pipeline = dlt.pipeline(
            PIPELINE, pipelines_dir=str(folder), destination=self.factory(), dataset_name=self.dataset
        )
        if pipeline.has_pending_data and not pipeline.first_run and not _holds_state(pipeline):
            logger.warning("%s is new; what an interrupted run left for its predecessor is dropped", self)
            pipeline = pipeline.drop()
        elif not pipeline.has_pending_data or pipeline.list_extracted_load_packages():
            # Nothing of a package that was only read is loaded. dlt would rewrite it by the schema stored before it was
            # read, in which its new tables are missing, and fail at that in every later run.
            pipeline = pipeline.drop()
        pipeline.sync_destination()
        _restore_schema(pipeline)
        return pipeline

    @contextmanager
    def kept_open(self, pipeline: dlt.Pipeline) -> Iterator[None]:
        """Holds DuckDB's file open: it is written out and read anew whenever its last connection closes.

        dlt opens a connection for each job and closes it, which cost more than the jobs themselves. While the file is
        open, a limit to its memory holds for all of them.
        """
        with pipeline.sql_client() if self.destination == "duckdb" else nullcontext():
            self._tell_duckdb(pipeline, f"set memory_limit = '{DUCKDB_MEMORY}'")
            yield

    def load(self, pipeline: dlt.Pipeline, source: DltSource) -> None:
        """Runs the pipeline, and has DuckDB forget what it kept in memory of the tables that it wrote."""
        pipeline.run(source)
        self._tell_duckdb(pipeline, "checkpoint")
        with suppress(DatabaseException):
            self._tell_duckdb(pipeline, f"set memory_limit = '{DUCKDB_KEEPS}'")
        self._tell_duckdb(pipeline, f"set memory_limit = '{DUCKDB_MEMORY}'")

    def _tell_duckdb(self, pipeline: dlt.Pipeline, sql: str) -> None:
        if self.destination == "duckdb":
            with pipeline.sql_client() as client:
                client.execute_sql(sql)

    @contextmanager
    def lock(self, wait: float = WAIT_SECONDS) -> Iterator[None]:
        """Holds the destination for one run on this machine.

        Raises:
            Busy: another run still holds it after `wait` seconds.
        """
        folder = Path(get_dlt_pipelines_dir())
        folder.mkdir(parents=True, exist_ok=True)
        # One process at a time can write to a DuckDB file, whichever dataset.
        held = replace(self, dataset="") if self.destination == "duckdb" else self
        lock = FileLock(folder / f"insightly-{held.digest}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            logger.warning("another run is at work on %s; waiting up to %d s for it", self, wait)
            try:
                lock.acquire(timeout=wait)
            except Timeout:
                raise Busy(
                    f"another run is still at work on {self} after {wait:.0f} s; let it finish, or run less often"
                ) from None
        try:
            yield
        finally:
            lock.release()


def source_state(pipeline: dlt.Pipeline) -> Mapping[str, Any]:
    """What the source keeps between runs, as of the last load."""
    state: Mapping[str, Any] = pipeline.state.get("sources", {}).get("insightly", {})
    return state


def states(pipeline: dlt.Pipeline) -> Mapping[str, dict[str, Any]]:
    """The state of each entity's resource, as of the last load."""
    resources: Mapping[str, dict[str, Any]] = source_state(pipeline).get("resources", {})
    return resources


def _restore_schema(pipeline: dlt.Pipeline) -> None:
    """Takes the schema of tables that a killed first run left: dlt restores it only beside state, which comes last."""
    if SCHEMA in pipeline.schemas.list_schemas():
        return
    with pipeline.destination_client() as client:
        if not isinstance(client, WithStateSync) or not client.is_storage_initialized():
            return
        stored = client.get_stored_schema(SCHEMA)
    if stored is not None:
        pipeline.schemas.save_schema(Schema.from_dict(json.loads(stored.schema)))


def _holds_state(pipeline: dlt.Pipeline) -> bool:
    with pipeline.destination_client() as client:
        if not client.is_storage_initialized() or not isinstance(client, WithStateSync):
            return False
        return client.get_stored_state(pipeline.pipeline_name) is not None


def load_begun(pipeline: dlt.Pipeline) -> bool:
    """Whether a package that waits to be loaded was under way already when a run ended."""
    packages = map(pipeline.get_load_package_info, pipeline.list_normalized_load_packages())
    return any(
        state != "new_jobs" or job.job_file_info.retry_count
        for package in packages
        for state, jobs in package.jobs.items()
        for job in jobs
    )
