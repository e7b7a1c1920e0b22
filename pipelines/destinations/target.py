"""The dataset that a run writes: its destination, the dlt pipeline over it, and the lock that separates runs."""

import hashlib
import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
from dlt.common.configuration.exceptions import ConfigurationException
from dlt.common.destination import AnyDestination
from dlt.common.exceptions import MissingDependencyException
from dlt.common.pipeline import get_dlt_pipelines_dir
from dlt.common.schema import Schema
from dlt.destinations.exceptions import DatabaseException, DatabaseUndefinedRelation
from dlt.pipeline.exceptions import PipelineStepFailed

from sources.insightly.config.accounts import ALL, DEFAULT
from sources.insightly.errors import BadSetting, InsightlyError, reason_of

from .base import DestinationAdapter, Unreachable, Unwritable, destination_type
from .comments import with_comments
from .dataset import Dataset
from .dlt_caches import cache_configuration, cache_schemas
from .dlt_options import check_pipeline_options, ignore_other_variables
from .duckdb import DuckDbAdapter
from .locks import WAIT_SECONDS, file_lock, private_files
from .names import check_dataset, check_file
from .pipeline_state import (
    PIPELINE,
    check_own_tables,
    check_packages,
    check_stored_schema,
    has_stored_state,
    restore_schema,
)
from .postgres import PostgresAdapter
from .system_tables import LOGS

logger = logging.getLogger(__name__)
DEFAULT_FILE = "crm.duckdb"


class LoadingFailed(InsightlyError):
    """The destination did not accept the rows."""

    transient = True


class NothingSynced(InsightlyError):
    """The command needs tables that no sync has loaded yet."""

    def __init__(self, target: "Target") -> None:
        super().__init__(f"nothing was synced into {target} yet: run insightly sync first")


@dataclass(frozen=True)
class Target:
    """A destination by dlt's name, the dataset in it, and the file if it is DuckDB."""

    destination: str = "duckdb"
    dataset: str = "insightly"
    database: str | None = None
    is_union: bool = False
    """True for the dataset of the views over all accounts, which belongs to no single account."""

    def __post_init__(self) -> None:
        """Raises BadSetting if the dataset or the file cannot have its name, UnreadableFile for a settings file."""
        ignore_other_variables()
        if not self.is_union:
            check_dataset(self.dataset, self.schema_name)
        if self.destination == "duckdb":
            check_file(DEFAULT_FILE if self.database is None else self.database, self.schema_name)

    @property
    def path(self) -> Path:
        return Path(self.database or DEFAULT_FILE).resolve()

    @cached_property
    def adapter(self) -> DestinationAdapter:
        """The adapter of the destination.

        Raises:
            BadSetting: a file is named for a destination other than DuckDB, or dlt has no such destination.
        """
        if self.destination == "duckdb":
            return DuckDbAdapter(self.path)
        if self.database is not None:
            raise BadSetting("--database", self.database, f"only DuckDB takes a file, not {self.destination}")
        kind = destination_type(self.destination)
        if kind == "postgres":
            return PostgresAdapter(self.destination)
        if kind != "filesystem":
            return DestinationAdapter(self.destination)
        from .delta import DeltaAdapter

        return DeltaAdapter(self.destination)

    def __str__(self) -> str:
        return f"{self.adapter}, dataset {self.dataset}"

    def for_account(self, name: str | None) -> "Target":
        """The target of an account: each has a dataset of its own, such as `insightly_emea`."""
        if name in (None, DEFAULT):
            return self
        return replace(self, dataset=f"{self.dataset}_{name}", is_union=name == ALL)

    def exists(self) -> bool:
        """False if the destination is a file that does not exist."""
        return self.adapter.exists()

    def require_exists(self) -> None:
        """Raises NothingSynced if the destination is a file that does not exist."""
        if not self.exists():
            raise NothingSynced(self)

    def require_sql(self, why: str) -> None:
        """Raises BadSetting with the reason `why` if the destination stores rows in files."""
        if not self.adapter.sql:
            raise BadSetting("--destination", self.destination, f"{why}; name one")

    @cached_property
    def schema_name(self) -> str:
        """The dataset's name in the destination: `Insightly` and `insightly` are one dataset."""
        return str(Schema(PIPELINE).naming.normalize_table_identifier(self.dataset)) if self.dataset.strip() else ""

    @cached_property
    def digest(self) -> str:
        """Names the working folder and the lock: each destination and dataset has its own, as it has its own state."""
        return self._digest_of(self.schema_name)

    def _digest_of(self, schema: str) -> str:
        text = f"{self.destination}\n{self.adapter.location}\n{schema}"
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @contextmanager
    def reading(self, wait: float = WAIT_SECONDS) -> Iterator[dlt.Pipeline]:
        """Yields a pipeline for a command that only reads what is committed.

        A DuckDB file is opened read-only. The command waits for a run only where it cannot read at the same time.

        Raises:
            BadSetting, Unreachable: as `pipeline`; also if the destination refuses a query, as for a missing table.
            Busy: another run still uses the destination after `wait` seconds.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(self.lock(wait, writes=False))
            except BadSetting as error:  # the lock file cannot be written; a run then fails at its own one
                logger.info("reading without a lock: %s", error)
            pipeline = stack.enter_context(self.stored_pipeline())
            try:
                yield pipeline
            except DatabaseException as error:
                reason = self.reason(error).splitlines()[0]
                if isinstance(error, DatabaseUndefinedRelation) and any(table in reason for table in LOGS):
                    reason += "; insightly sync creates this table again"
                raise Unreachable(f"{self} cannot be read: {reason}") from None

    @contextmanager
    def stored_pipeline(self, read_only: bool = True) -> Iterator[dlt.Pipeline]:
        """Yields a pipeline with the schema and the state that the destination stores, in a temporary folder.

        What an interrupted run left in the working folder is not looked at: its tables may never have been created.

        Args:
            read_only: whether the command writes nothing at all.

        Raises:
            BadSetting: dlt's configuration sends rows elsewhere.
            BadSetting, Unreachable, Unwritable: as `pipeline`.
        """
        check_pipeline_options()
        with TemporaryDirectory(prefix="insightly-", ignore_cleanup_errors=True) as folder:
            yield self.pipeline(Path(folder), read_only)

    def pipeline(self, folder: Path | None = None, read_only: bool = True) -> dlt.Pipeline:
        """The pipeline over this destination. Its state comes from the destination, not from the local folder.

        Keeps the packages of an interrupted run if they are ready to load and the destination still has its state.

        Args:
            folder: an empty working folder to use instead, for a command that loads no rows.
            read_only: whether the command with this folder writes nothing at all.

        Raises:
            BadSetting: the destination is not configured, or not installed, or has tables named like dlt's.
            Unreachable: it does not answer, or answers with an error.
            Unwritable: the working folder cannot be written.
        """
        try:
            with self.adapter.configured():
                return self._pipeline(folder, read_only and folder is not None)
        except (PipelineStepFailed, DatabaseException) as failed:
            cause = failed.__cause__ or failed
            if isinstance(cause, KeyboardInterrupt):
                raise cause from None
            with self.adapter.configured():
                if isinstance(cause, ConfigurationException | MissingDependencyException):
                    raise cause from None
            raise Unreachable(f"{self} cannot be read: {self.reason(cause)}") from None
        except OSError as error:
            raise Unwritable(f"the working folder of {self} cannot be written: {error}") from None

    def reason(self, error: BaseException) -> str:
        """What an error of the destination means, or else the words of its innermost cause."""
        return self.adapter.explain(error, self.schema_name) or reason_of(error)

    @property
    def working_folder(self) -> Path:
        """The folder in which dlt keeps the pipeline between runs. Only a cache: the destination has the state."""
        place = self.path.stem if self.destination == "duckdb" else self.destination
        label = re.sub(r"[^\w.-]", "_", f"{place[:40]}-{self.schema_name[:60]}", flags=re.ASCII)
        return Path(get_dlt_pipelines_dir()) / f"insightly-{label}-{self.digest}"

    def _pipeline(self, folder: Path | None, read_only: bool) -> dlt.Pipeline:
        destination = with_comments(cache_configuration(self.adapter.factory(read_only)))
        if folder is None:
            folder = self.working_folder
            if (unnamed := folder.with_name(f"insightly-{self.digest}")).is_dir() and not folder.exists():
                unnamed.rename(folder)  # of an earlier version
        pipeline = self._open_folder(folder, destination)
        if pipeline.has_pending_data and not pipeline.first_run and not has_stored_state(pipeline):
            logger.warning("%s is new: dropping the packages of an interrupted run that belong to another one", self)
            pipeline = pipeline.drop()
        elif not pipeline.has_pending_data or pipeline.list_extracted_load_packages():
            # No row of an extracted package is loaded yet. dlt would rewrite the package by the stored schema, which
            # lacks the package's new tables, and would fail at it in every later run.
            pipeline = pipeline.drop()
        cache_schemas(pipeline)
        pipeline.sync_destination()
        if pipeline.first_run:  # no state was found, in tables that are dlt's
            check_own_tables(pipeline)
            restore_schema(pipeline)
        else:
            check_stored_schema(pipeline)
        return pipeline

    def _open_folder(self, folder: Path, destination: AnyDestination) -> dlt.Pipeline:
        """The pipeline as a working folder has it. The folder is a cache: a damaged one is replaced by a new one."""
        options: Any = {"pipelines_dir": str(folder), "destination": destination, "dataset_name": self.dataset}
        pipeline: dlt.Pipeline
        with suppress(OSError):
            folder.chmod(0o700)
        try:
            pipeline = dlt.pipeline(PIPELINE, **options)
            check_packages(pipeline)
        except ConfigurationException:
            raise
        except Exception as error:  # dlt has no error of its own for a damaged file
            if isinstance(error, OSError) and error.errno in (EACCES, EDQUOT, ENOSPC, EPERM, EROFS):
                raise
            logger.warning("The working folder %s is damaged: discarding it. The destination has the state.", folder)
            folder.unlink() if folder.is_file() else shutil.rmtree(folder)
            pipeline = dlt.pipeline(PIPELINE, **options)
        return pipeline

    def open_dataset(self, pipeline: dlt.Pipeline) -> Dataset:
        """The tables of the dataset, over a pipeline of this target; a context manager."""
        if self.adapter.sql:
            return Dataset(pipeline)
        from .delta_dataset import DeltaDataset

        return DeltaDataset(pipeline)

    def load(self, pipeline: dlt.Pipeline) -> None:
        pipeline.normalize()
        self.adapter.check_lock()
        self.adapter.limit_memory(pipeline, loading=True)
        pipeline.load()
        self.adapter.limit_memory(pipeline)

    @contextmanager
    def lock(self, wait: float = WAIT_SECONDS, *, writes: bool = True) -> Iterator[bool]:
        """Locks the dataset for one run: on this machine, and in the destination where that has locks.

        Yields:
            Whether a DuckDB file was created for it, which is to be written and did not exist.

        Raises:
            Busy: another run still has the lock after `wait` seconds.
            BadSetting, Unreachable: the destination is not configured, or does not answer.
            BadSetting: dlt's configuration sends rows elsewhere.
            Unwritable: the file cannot be created.
        """
        with ExitStack() as stack:
            stack.enter_context(private_files())
            if writes or not self.adapter.concurrent_reads:
                # Only one process can write to a DuckDB file, whichever dataset it writes.
                digest = self._digest_of("") if self.destination == "duckdb" else self.digest
                path = Path(get_dlt_pipelines_dir()) / f"insightly-{digest}.lock"
                stack.enter_context(file_lock(path, self, wait))
            if writes:
                check_pipeline_options()
            is_new = writes and self.adapter.create()
            stack.enter_context(self.adapter.lock(self.schema_name, wait, writes))
            yield is_new
