"""The dataset that a run writes: its place, the dlt pipeline over it, and the lock that keeps runs apart."""

import hashlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.exceptions import MissingDependencyException
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.extract import DltSource
from dlt.pipeline.exceptions import PipelineStepFailed
from filelock import FileLock, Timeout

from sources.insightly.config.accounts import DEFAULT
from sources.insightly.errors import BadSetting, InsightlyError

from .base import DestinationAdapter, destination_type, with_cached_capabilities
from .duckdb import DuckDbAdapter
from .pipeline_state import PIPELINE, _holds_state, _restore_schema

logger = logging.getLogger(__name__)
WAIT_SECONDS = 60.0
DEFAULT_FILE = "crm.duckdb"


class Busy(InsightlyError):
    """Another run on this machine holds the destination."""

    transient = True


class LoadingFailed(InsightlyError):
    """The destination did not take what was read."""

    transient = True


class Unreachable(InsightlyError):
    """The destination does not answer, or not as it should; nothing was read or written."""

    transient = True


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

    @cached_property
    def adapter(self) -> DestinationAdapter:
        """What is special about the destination.

        Raises:
            BadSetting: a file was named for a destination that takes none.
        """
        if self.destination == "duckdb":
            return DuckDbAdapter(self.path, self.dataset)
        if self.database is not None:
            raise BadSetting("--database", self.database, f"only DuckDB takes a file, not {self.destination}")
        if destination_type(self.destination) != "filesystem":
            return DestinationAdapter(self.destination)
        from .delta import DeltaAdapter

        return DeltaAdapter(self.destination)

    def __str__(self) -> str:
        return f"{self.adapter}, dataset {self.dataset}"

    def of(self, instance: str | None) -> "Target":
        """Where an account's tables are: in a dataset of its own, as `insightly_emea`."""
        return self if instance in (None, DEFAULT) else replace(self, dataset=f"{self.dataset}_{instance}")

    def exists(self) -> bool:
        """False where a file would have to be made first."""
        return self.adapter.exists()

    def require(self) -> None:
        """Raises NothingSynced where there is no file to look into."""
        if not self.exists():
            raise NothingSynced(self)

    @cached_property
    def digest(self) -> str:
        """Names the working folder and the lock: one a destination and dataset, for state belongs to one of each."""
        told = f"{self.destination}\n{self.adapter.location}\n{self.dataset}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def pipeline(self) -> dlt.Pipeline:
        """The pipeline over this destination, its state taken from there: local leftovers are no truth.

        Packages that an interrupted run left half loaded are kept, so that the next `run` finishes them, unless
        the destination they belong to has gone.

        Raises:
            BadSetting: the destination is not configured, or not installed.
            Unreachable: it does not answer, or not as it should.
        """
        try:
            with self.adapter.configured():
                return self._pipeline()
        except PipelineStepFailed as failed:
            cause = failed.__cause__ or failed
            with self.adapter.configured():
                if isinstance(cause, ConfigurationException | MissingDependencyException):
                    raise cause from None
            raise Unreachable(f"{self} cannot be read: {str(cause).strip()}") from None

    def _pipeline(self) -> dlt.Pipeline:
        folder = Path(get_dlt_pipelines_dir()) / f"insightly-{self.digest}"
        destination = with_cached_capabilities(self.adapter.factory())
        pipeline = dlt.pipeline(PIPELINE, pipelines_dir=str(folder), destination=destination, dataset_name=self.dataset)
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

    def require_sql(self, why: str) -> None:
        """Raises BadSetting, with the reason `why`, where rows are kept in files."""
        if not self.adapter.sql:
            raise BadSetting("--destination", self.destination, f"{why}; name one")

    def load(self, pipeline: dlt.Pipeline, source: DltSource) -> None:
        """Runs the pipeline."""
        pipeline.run(source)
        self.adapter.loaded(pipeline)

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
