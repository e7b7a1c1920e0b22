"""DuckDB, the default destination: its file, and a limit to its memory."""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dlt
import duckdb
from dlt.common.destination import Destination
from dlt.destinations.impl.duckdb.configuration import DuckDbCredentials

from sources.insightly.errors import BadSetting, chain

from .base import DestinationAdapter, Unwritable
from .duckdb_client import MergingDuckDb
from .locks import describe_process, wait_for

logger = logging.getLogger(__name__)

MEMORY, MEMORY_PER_COLUMN = 100, 1
"""Megabytes that DuckDB may use during a load, and more for each column of the widest table: a merge writes all columns
side by side. DuckDB's default is 80% of the machine."""
MEMORY_BETWEEN_LOADS = 1_000
"""Megabytes for what else a run does: `verify`, for example, reads all columns of records, whatever their size."""
MEMORY_PER_BYTE = 3
"""Bytes of memory for each byte of `_largest_columns`: DuckDB reads the part of a column in a row group at once."""
SMALL_FILE = 100_000
"""Bytes of a file whose columns are small too, even if its texts are compressed to a twentieth."""
SETTINGS = {"TimeZone": "UTC", "checkpoint_threshold": "32MB"}
"""Set once for all connections: the time zone, as dlt sets it, and the size of the log of what was committed at which
DuckDB writes that into the tables."""
HEADERS, MAGIC = 3 * 4096, slice(8, 12)
"""Bytes of the headers that a DuckDB file begins with, and where in them DuckDB's mark is."""
IN_USE = re.compile(r"Could not set lock on file|being used by another process|already open in")
"""In the error of a file that another process has open: Linux and macOS, Windows."""
PROCESS = re.compile(r"(?:held|open) in\s+(.+) \(PID (\d+)\)")


class DuckDbAdapter(DestinationAdapter):
    """A DuckDB file.

    Args:
        path: the file.
    """

    concurrent_reads = concurrent_writes = False

    def __init__(self, path: Path) -> None:
        super().__init__("duckdb")
        self.path = path
        self._credentials = dict[bool, DuckDbCredentials]()
        self._memory_limit = 0

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.exists() and not self._is_unfinished()

    def create(self) -> bool:
        """Creates the file if it does not exist, or replaces one that a killed run or a full disk left half-created.

        It is made in a folder of its own and moved, so that there is never half of it.

        Returns:
            Whether the file was created.

        Raises:
            BadSetting: the folder does not exist, or cannot be written.
            Unwritable: DuckDB cannot write the file; the disk may be full.
        """
        if self.exists():
            return False
        try:
            with TemporaryDirectory(prefix=f".{self.path.name}.", dir=self.path.parent) as folder:
                new = Path(folder) / self.path.name
                duckdb.connect(new).close()
                if self.path.exists():
                    logger.warning("%s was never completely created and has no table: creating it again", self.path)
                new.replace(self.path)
        except duckdb.Error as error:
            raise Unwritable(f"{self.path} cannot be created: {error}") from None
        except OSError as error:
            raise BadSetting("--database", str(self.path), f"the file cannot be created: {error.strerror}") from None
        return True

    def _is_unfinished(self) -> bool:
        """True if the file is one of DuckDB's without its complete headers, and so without any table."""
        if self.path.stat().st_size > HEADERS or self.path.with_name(f"{self.path.name}.wal").exists():
            return False
        content = self.path.read_bytes()
        return not content.strip(b"\0") or (content[MAGIC] == b"DUCK" and len(content) < HEADERS)

    def factory(self, read_only: bool = False) -> "Destination[Any, Any]":
        return MergingDuckDb(self.credentials(read_only), loader_parallelism_strategy="table-sequential")

    def credentials(self, read_only: bool) -> DuckDbCredentials:
        """dlt's credentials. All of dlt's clients share them, and with them one connection."""
        if read_only not in self._credentials:
            self._credentials[read_only] = credentials = DuckDbCredentials(str(self.path))
            credentials.read_only = read_only
            credentials.resolve()
        return self._credentials[read_only]

    @cached_property
    def location(self) -> str:
        return str(self.path)

    @contextmanager
    def lock(self, _dataset: str, wait: float, writes: bool) -> Iterator[None]:
        """Waits for other programs: DuckDB lets one program write, alone, or several read.

        Keeps the file open until the end, so that no other program opens it between two statements. dlt opens and
        closes a connection for each job, and DuckDB writes the file when the last one closes and reads it again
        afterwards, which takes longer than the jobs themselves.

        Raises:
            Busy: another program still has the file open after `wait` seconds.
        """
        pool: Any = self.credentials(read_only=not writes).conn_pool
        self._memory_limit = 0
        with ExitStack() as stack:

            def try_open() -> str | None:
                try:
                    if self.exists():
                        stack.callback(pool.return_conn, pool.borrow_conn(global_config=SETTINGS))
                except duckdb.Error as error:  # the run itself reports every other error
                    if IN_USE.search(str(error)):
                        return _process_in(str(error))
                return None

            fix = "close the file there, see docs/operate/duckdb-file.md"
            wait_for(try_open, self, wait, "another program", fix)
            yield

    def is_writable(self) -> bool:
        return all(os.access(path, os.W_OK) for path in (self.path, self.path.parent) if path.exists())

    def explain(self, error: BaseException, _dataset: str) -> str | None:
        """Which program has opened the file meanwhile, if that is the reason."""
        errors = (str(each) for each in chain(error) if isinstance(each, duckdb.Error) and IN_USE.search(str(each)))
        return next((f"another program ({_process_in(each)}) has the file open" for each in errors), None)

    def limit_memory(self, pipeline: dlt.Pipeline, loading: bool = False) -> None:
        limit = _memory_of_load(pipeline) if loading else MEMORY_BETWEEN_LOADS
        if limit == self._memory_limit:
            return
        with pipeline.sql_client() as client:
            client.execute_sql("set threads = 1")  # dlt runs the jobs in threads, and each thread has its own buffers
            client.execute_sql(f"set memory_limit = '{limit}MB'")
        self._memory_limit = limit


def _memory_of_load(pipeline: dlt.Pipeline) -> int:
    columns = max((len(table["columns"]) for table in pipeline.default_schema.tables.values()), default=0)
    return MEMORY + MEMORY_PER_COLUMN * columns + MEMORY_PER_BYTE * _largest_columns(pipeline) // 1_000_000


def _largest_columns(pipeline: dlt.Pipeline) -> int:
    """Bytes of the largest part of a column in a row group, over all files that wait to be loaded.

    Files of several tables are loaded at the same time, so these count together.
    """
    size = 0
    for file in Path(pipeline.working_dir).glob("load/normalized/*/*_jobs/*.parquet"):
        if file.parent.name in ("new_jobs", "started_jobs") and file.stat().st_size > SMALL_FILE:
            import pyarrow.parquet as pq  # a run without new rows does not need it

            metadata = pq.read_metadata(file)
            groups = (metadata.row_group(index) for index in range(metadata.num_row_groups))
            size += max(
                group.column(index).total_uncompressed_size for group in groups for index in range(group.num_columns)
            )
    return size


def _process_in(error: str) -> str:
    """The process that an error of DuckDB names: `python3 -m ipykernel_launcher, pid 71`."""
    if (named := PROCESS.search(error)) is None:
        return "the system does not say which"
    program, pid = named[1], int(named[2])
    return f"{describe_process(pid) or program}, pid {pid}"
