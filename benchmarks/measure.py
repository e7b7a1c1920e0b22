"""Shared by the benchmarks: servers in other processes, timed runs of whole processes, and results."""

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import requests

ROOT = Path(__file__).parents[1]
UNLIMITED = "10000"
"""More requests per second than any machine reaches."""


@dataclass
class Result:
    """The result of one benchmark: a table, whether each target is met, and bars to draw (label and value)."""

    title: str
    about: str
    head: list[str]
    rows: list[list[str]] = field(default_factory=list)
    targets: list[tuple[str, bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bars: list[tuple[str, float]] = field(default_factory=list)
    unit: str = ""
    machine: str = ""

    def target(self, text: str, met: bool) -> None:
        """Adds a target; `text` has the value seen and the bound."""
        self.targets.append((text, bool(met)))


@dataclass(frozen=True)
class Run:
    """A whole process: seconds, processor seconds and peak megabytes with its children, output, and the time it ended.

    Processes of accounts, which are not its children when it ends, count until a tenth of a second before that.
    """

    seconds: float
    cpu: float
    megabytes: float
    out: str
    ended: float


def timed(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Run:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; with its output.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=err, env={**os.environ, **(env or {})})
        with _usage_of_tree(process.pid) as tree:
            _, status, usage = os.wait4(process.pid, 0)
        seconds, ended = time.monotonic() - started, time.time()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        output = out.read().decode(errors="replace")
        if process.returncode:
            message = (output + err.read().decode(errors="replace"))[-2000:]
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {message}")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    cpu = max(usage.ru_utime + usage.ru_stime, tree.cpu)
    return Run(seconds, cpu, max(largest, tree.memory) / 1e6, output, ended)


@dataclass
class _Tree:
    """The bytes at their peak and the processor seconds of a process and its descendants; 0 without /proc."""

    memory: int = 0
    cpu: float = 0.0


@contextmanager
def _usage_of_tree(pid: int) -> Iterator[_Tree]:
    """Watches a process and its descendants."""
    tree, done = _Tree(), threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            memory, cpu = _usage(pid)
            tree.memory, tree.cpu = max(tree.memory, memory), max(tree.cpu, cpu)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield tree
    finally:
        done.set()
        watcher.join()


def _usage(pid: int) -> tuple[int, float]:
    """Bytes in memory of a process and its descendants, and their processor seconds so far."""
    process = Path(f"/proc/{pid}")
    try:
        pages = int((process / "statm").read_text().split()[1])
        ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:15]  # its own, and of children that ended
        children = " ".join(path.read_text() for path in process.glob("task/*/children")).split()
    except (OSError, IndexError, ValueError):
        return 0, 0.0
    memory, cpu = pages * os.sysconf("SC_PAGE_SIZE"), sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    below = [_usage(int(child)) for child in children]
    return memory + sum(each[0] for each in below), cpu + sum(each[1] for each in below)


def median(runs: Sequence[Run]) -> Run:
    """The run with the median time; of an even number the faster of the two."""
    middle = statistics.median_low([run.seconds for run in runs])
    return next(run for run in runs if run.seconds == middle)


class Service:
    """A running `benchmarks.server`."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self.url = f"{self._root}/v3.1"

    def take_counts(self) -> dict[str, Any]:
        """Resets the counts and returns them: calls, refused calls, and the times of the first and the last call."""
        counts: dict[str, Any] = requests.get(f"{self._root}/counts", timeout=60).json()
        return counts

    def warm(self, *strides: int) -> None:
        """Caches the pages that a sync will request, so that the time to make them is not measured."""
        for stride in strides:
            requests.get(f"{self._root}/warm", params={"stride": stride}, timeout=600).raise_for_status()


@contextmanager
def server(*options: str) -> Iterator[Service]:
    """Runs `benchmarks.server` with options."""
    with _running(lambda port: [sys.executable, "-m", "benchmarks.server", str(port), *options]) as port:
        yield Service(port)


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """Runs the bundled sandbox, as users do; yields its URL."""
    command = [sys.executable, "-m", "pipelines.cli", "sandbox", *options, "--port"]
    with _running(lambda port: [*command, str(port)]) as port:
        yield f"http://127.0.0.1:{port}/v3.1"


@contextmanager
def _running(command: Callable[[int], list[str]]) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(command(port), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while not _is_listening(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{' '.join(command(port))} does not accept connections")
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def _is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class InsightlySync:
    """The program, configured for a service, with a temporary DuckDB file or another destination.

    Args:
        url: the URL of the service; None if `settings` have those of several accounts.
        destination: the name of another destination, and dlt's environment variables for it.
        settings: settings of the source by name.
    """

    def __init__(
        self, url: str | None, destination: tuple[str, Mapping[str, str]] | None = None, **settings: str
    ) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="insightly-benchmark-"))
        self.file = self._folder / "crm.duckdb"
        values = {"api_key": "benchmark", "base_url": url, **settings} if url else settings
        self._env = {f"SOURCES__INSIGHTLY__{name.upper()}": value for name, value in values.items()}
        self._env |= {"DLT_DATA_DIR": str(self._folder), "PYTHONPATH": str(ROOT)}
        self._into = ["--database", str(self.file)]
        if destination is not None:
            self._into = ["--destination", destination[0]]
            self._env |= destination[1]

    def __enter__(self) -> "InsightlySync":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)

    def sync(self, *arguments: str) -> tuple[Run, dict[str, Any]]:
        """One sync as a whole process, and its report."""
        command = [sys.executable, "-m", "pipelines.cli", "sync", *arguments, "--json", *self._into]
        run = timed(command, self._env)
        return run, json.loads(run.out)

    def last_load(self) -> float:
        """When the last load package with records was committed (wall clock)."""
        with duckdb.connect(str(self.file), read_only=True) as crm:
            sql = """select epoch(max(inserted_at)) from insightly._dlt_loads
                     where inserted_at <= (select max(finished) from insightly._sync_runs)"""
            return float(crm.sql(sql).fetchall()[0][0])
