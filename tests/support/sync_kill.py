"""A sync in a process that ends itself at a chosen point, as `kill -9` would."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.sandbox import Fault, Store
from tests.support.crm import Crm
from tests.support.process import ROOT, reach

NAMES = ("contacts", "notes", "lead_sources", "tags")
PAGING = {"page_size": 7, "chunk_calls": 6, "max_connections": 2}

METHODS = {
    "commit of the extract": "dlt.extract.extract:Extract.commit_packages",
    "normalise": "dlt.normalize.normalize:Normalize.run",
    "rewrite of files": "dlt.normalize.normalize:Normalize.spool_schema_files",
    "load": "dlt.load.load:Load.run",
    "change of tables": "dlt.load.load:Load.initialize_package",
    "copy": "dlt.destinations.impl.duckdb.duck:DuckDbCopyJob.run",
    "merge": "dlt.destinations.job_client_impl:SqlLoadJob.run",
    "statement": "dlt.destinations.impl.duckdb.sql_client:DuckDbSqlClient.execute_query",
    "end of a job": "dlt.load.load:Load.create_followup_jobs",
    "completion": "dlt.load.load:Load.complete_package",
    "note in _dlt_loads": "dlt.destinations.job_client_impl:SqlJobClientBase.complete_load",
}


@dataclass(frozen=True)
class Point:
    """Where a run dies: `when` the n-th call of a method, or with the n-th HTTP call."""

    nth: int
    what: str = "HTTP call"
    when: str = "before"

    def __str__(self) -> str:
        return f"{self.when} {self.what} {self.nth}"


def sync_and_die(crm: Crm, point: Point, names: Sequence[str] = NAMES) -> None:
    """Runs `insightly sync` in a process of its own, which must not survive `point`."""
    dying: list[subprocess.Popen[bytes]] = []

    def kill(_: Store) -> None:
        dying[0].send_signal(signal.SIGKILL)

    arguments = ["sync", *names, "--database", str(crm.database)]
    if point.what in METHODS:
        start = [str(ROOT / "tests/support/kill.py"), METHODS[point.what], point.when, str(point.nth)]
    else:
        start = ["-m", "pipelines.cli"]
        crm.sandbox.faults.add(Fault("call", nth=point.nth, action=kill))
    paging = {f"SOURCES__INSIGHTLY__{name.upper()}": str(value) for name, value in PAGING.items()}
    environment = {**os.environ, **reach(crm.sandbox), **paging, "PYTHONPATH": str(ROOT)}
    crm.sandbox.reset_log()
    with subprocess.Popen([sys.executable, *start, *arguments], cwd=crm.folder, env=environment) as process:
        dying.append(process)
        assert process.wait(timeout=120) == -signal.SIGKILL
    crm.sandbox.faults.clear()
