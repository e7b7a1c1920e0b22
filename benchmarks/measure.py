"""What the programs share: servers in processes of their own, timed runs of whole processes, and their results."""

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
"""Requests a second that no machine reaches."""


@dataclass
class Result:
    """What one program found: a table, whether each target is met, and bars to draw: label and value."""

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
        """Notes how a target fares; `text` has the value seen and the bound."""
        self.targets.append((text, bool(met)))


@dataclass(frozen=True)
class Run:
    """A whole process: seconds, seconds of processor, megabytes of it and its children at their peak, what it printed,
    and when it ended (wall clock)."""

    seconds: float
    cpu: float
    megabytes: float
    out: str
    ended: float


def timed(command: Sequence[str | Path], env: Mapping[str, str] | None = None) -> Run:
    """Runs a command to its end.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.monotonic()
        process = subprocess.Popen(list(map(str, command)), stdout=out, stderr=err, env={**os.environ, **(env or {})})
        with _peak_of_tree(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
        seconds, ended = time.monotonic() - began, time.time()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        said = out.read().decode(errors="replace")
        if process.returncode:
            told = (said + err.read().decode(errors="replace"))[-2000:]
            raise RuntimeError(f"{' '.join(map(str, command))} ended with {process.returncode}: {told}")
    largest = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Run(seconds, usage.ru_utime + usage.ru_stime, max(largest, *peak) / 1e6, said, ended)


@contextmanager
def _peak_of_tree(pid: int) -> Iterator[list[int]]:
    """Watches a process and its descendants; then holds their bytes at the peak. Without /proc it stays 0."""
    peak, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            peak[0] = max(peak[0], _memory(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        done.set()
        watcher.join()


def _memory(pid: int) -> int:
    """Bytes in memory of a process and its descendants, now."""
    here = Path(f"/proc/{pid}")
    try:
        pages = int((here / "statm").read_text().split()[1])
        children = " ".join(path.read_text() for path in here.glob("task/*/children")).split()
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(_memory(int(child)) for child in children)


def median(runs: Sequence[Run]) -> Run:
    """The run whose time is the median; of an even number the quicker of the two."""
    middle = statistics.median_low([run.seconds for run in runs])
    return next(run for run in runs if run.seconds == middle)


class Served:
    """The lean service of `benchmarks.server` while a block lasts."""

    def __init__(self, port: int) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self.url = f"{self._root}/v3.1"

    def counted(self) -> dict[str, Any]:
        """Calls since the last time this was asked, how many of them were refused, and the first's and last's time."""
        told: dict[str, Any] = requests.get(f"{self._root}/counted", timeout=60).json()
        return told

    def warm(self, *strides: int) -> None:
        """Has the pages made that will be asked for, so that making them is not measured."""
        for stride in strides:
            requests.get(f"{self._root}/warm", params={"stride": stride}, timeout=600).raise_for_status()


@contextmanager
def server(*options: str) -> Iterator[Served]:
    """The lean service of `benchmarks.server`, with its options."""
    with _running(lambda port: [sys.executable, "-m", "benchmarks.server", str(port), *options]) as port:
        yield Served(port)


@contextmanager
def sandbox(*options: str) -> Iterator[str]:
    """The bundled sandbox, as users run it; gives its URL."""
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
        until = time.monotonic() + 60
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{' '.join(command(port))} does not serve")
            time.sleep(0.05)
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Ours:
    """`insightly` against a service, into a DuckDB file of its own that goes when the block ends, or elsewhere.

    Args:
        url: the service.
        elsewhere: a destination's name, and what the environment must tell dlt of it.
        settings: those of the source.
    """

    def __init__(self, url: str, elsewhere: tuple[str, Mapping[str, str]] | None = None, **settings: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="insightly-benchmark-"))
        self.file = self._folder / "crm.duckdb"
        named = {"api_key": "benchmark", "base_url": url, **settings}
        self._env = {f"SOURCES__INSIGHTLY__{name.upper()}": value for name, value in named.items()}
        self._env |= {"DLT_DATA_DIR": str(self._folder), "PYTHONPATH": str(ROOT)}
        self._into = ["--database", str(self.file)]
        if elsewhere is not None:
            self._into = ["--destination", elsewhere[0]]
            self._env |= elsewhere[1]

    def __enter__(self) -> "Ours":
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._folder)

    def sync(self, *arguments: str) -> tuple[Run, dict[str, Any]]:
        """One run from its start to its end, and its report."""
        command = [sys.executable, "-m", "pipelines.cli", "sync", *arguments, "--json", *self._into]
        run = timed(command, self._env)
        return run, json.loads(run.out)

    def loaded(self) -> float:
        """When the last package with records was committed: before the run was written down. Wall clock."""
        with duckdb.connect(str(self.file), read_only=True) as crm:
            sql = """select epoch(max(inserted_at)) from insightly._dlt_loads
                     where inserted_at <= (select max(finished) from insightly._sync_runs)"""
            return float(crm.sql(sql).fetchall()[0][0])
