"""A sync in a process that is killed at a chosen point, as by `kill -9`."""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.support.crm import Crm
from tests.support.kill import Call, Sent, run_and_die

NAMES = ("contacts", "notes", "lead_sources", "tags")
PAGING = {"page_size": 7, "chunk_calls": 6, "max_connections": 2}

METHODS = {
    "commit of the extract": "dlt.extract.extract:Extract.commit_packages",
    "normalise": "dlt.normalize.normalize:Normalize.run",
    "rewrite of files": "dlt.normalize.normalize:Normalize.spool_schema_files",
    "load": "dlt.load.load:Load.run",
    "change of tables": "dlt.load.load:Load.initialize_package",
    "copy of the state": "dlt.destinations.impl.duckdb.duck:DuckDbCopyJob.run",
    "merge": "pipelines.destinations.merge_job:MergeJob.run",
    "statement": "dlt.destinations.impl.duckdb.sql_client:DuckDbSqlClient.execute_query",
    "end of a job": "dlt.load.load:Load.create_followup_jobs",
    "completion": "dlt.load.load:Load.complete_package",
    "note in _dlt_loads": "dlt.destinations.job_client_impl:SqlJobClientBase.complete_load",
}


@dataclass(frozen=True)
class Point:
    """Where a run dies: before or after the n-th call of a method, or at the n-th HTTP request."""

    nth: int
    what: str = "HTTP call"
    when: str = "before"

    def __str__(self) -> str:
        return f"{self.when} {self.what} {self.nth}"


def sync_and_die(crm: Crm, point: Point, names: Sequence[str] = NAMES) -> None:
    """Runs `insightly sync` in a new process, which must die at `point`."""
    nth, method = point.nth, METHODS.get(point.what)
    crm.sandbox.reset_log()
    paging = {f"SOURCES__INSIGHTLY__{name.upper()}": str(value) for name, value in PAGING.items()}
    run_and_die(crm, ["sync", *names], Call(method, point.when, nth) if method else Sent(nth), paging)
