"""A real Airflow in a folder of its own: with API server, DAG processor and scheduler as processes."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.process import ROOT

BIN = ROOT / ".venv-airflow/bin"
FERNET_KEY = "cGluZWFwcGxlcyBhcmUgYnJvbWVsaWFkcywgcmVhbGw="
FINAL = {"success", "failed"}
PATIENCE_SECONDS = 300.0

Json = dict[str, Any]


@dataclass
class Airflow:
    """An Airflow over `home`; `settings` are further environment variables of all its processes."""

    home: Path
    settings: dict[str, str] = field(default_factory=dict)
    port: int = field(default_factory=lambda: free_port())
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)
    token: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """No more than a worker has: nothing of the environment of whoever runs the tests."""
        url = f"http://127.0.0.1:{self.port}"
        return {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "AIRFLOW_HOME": str(self.home),
            "DLT_DATA_DIR": str(self.home / "dlt"),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.home}/airflow.db?timeout=60",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__FERNET_KEY": FERNET_KEY,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": "for the tests alone, and long enough for a signature by SHA-512",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **self.settings,
        }

    def command(self, *arguments: str, timeout: float = PATIENCE_SECONDS) -> "subprocess.CompletedProcess[str]":
        """Runs `airflow` with arguments; its output is kept beside the other logs."""
        done = subprocess.run(
            [BIN / "airflow", *arguments],
            cwd=self.home,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        (self.home / "logs").mkdir(exist_ok=True)
        with (self.home / "logs/commands.log").open("a", encoding="utf-8") as log:
            log.write(done.stdout + done.stderr)
        return done

    @contextmanager
    def running(self) -> Iterator["Airflow"]:
        """Runs the three processes, and ends them and all that they began."""
        try:
            for name, *options in (("api-server",), ("dag-processor",), ("scheduler", "--skip-serve-logs")):
                with (self.home / f"logs/{name}.log").open("wb") as log:
                    self.processes.append(
                        subprocess.Popen(
                            [BIN / "airflow", name, *options],
                            cwd=self.home,
                            env=self.environment,
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            start_new_session=True,
                        )
                    )
            self.wait("API server", self._answers)
            yield self
        finally:
            for process in self.processes:
                end(process)

    def _answers(self) -> bool:
        with suppress(OSError):
            self.token = self._send("GET", "/auth/token")["access_token"]
        return bool(self.token)

    def wait(self, what: str, happened: Any) -> Any:
        """What `happened` returns as soon as that is true."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not (found := happened()):
            assert time.monotonic() < until, f"{what}: not within {PATIENCE_SECONDS:.0f} s"
            time.sleep(0.5)
        return found

    def api(self, method: str, path: str, body: Json | None = None) -> Any:
        return self._send(method, f"/api/v2/{path}", body)

    def _send(self, method: str, path: str, body: Json | None = None) -> Any:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {self.token}"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def refused(self, method: str, path: str, body: Json) -> str:
        """The words with which a request is refused."""
        try:
            self.api(method, path, body)
        except urllib.error.HTTPError as error:
            return error.read().decode()
        raise AssertionError(f"{method} {path} was accepted")

    def start(self, dag: str, **conf: Any) -> str:
        """Starts a run of a DAG; its id. Of a schedule that was paused it is the run that is due."""
        facts = self.api("GET", f"dags/{dag}")
        if facts["is_paused"]:
            self.api("PATCH", f"dags/{dag}", {"is_paused": False})
            if facts["timetable_summary"]:
                due = f"dags/{dag}/dagRuns?run_type=scheduled"
                runs: list[Json] = self.wait(f"a run of {dag}", lambda: self.api("GET", due)["dag_runs"])
                return str(runs[0]["dag_run_id"])
        return str(self.api("POST", f"dags/{dag}/dagRuns", {"logical_date": None, "conf": conf})["dag_run_id"])

    def tasks(self, dag: str, run: str) -> dict[str, Json]:
        found = self.api("GET", f"dags/{dag}/dagRuns/{run}/taskInstances")["task_instances"]
        return {task["task_id"]: task for task in found}

    def finished(self, dag: str, run: str) -> dict[str, Json]:
        """The tasks of a run that has ended."""
        path = f"dags/{dag}/dagRuns/{run}"
        self.wait(f"the end of {run} of {dag}", lambda: self.api("GET", path)["state"] in FINAL)
        return self.tasks(dag, run)

    def report_of(self, dag: str, run: str, task: str) -> Json:
        """The report that a task left as XCom."""
        path = f"dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value?deserialize=true"
        value = self.api("GET", path)["value"]
        return json.loads(value) if isinstance(value, str) else value

    def log_of(self, dag: str, run: str) -> str:
        files = self.home.glob(f"logs/dag_id={dag}/run_id={run}/**/*.log")
        return "".join(path.read_text(encoding="utf-8") for path in files)


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process and whatever it began; tasks are groups of their own within its session."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=15)
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            if os.getsid(int(entry.name)) == process.pid:
                os.kill(int(entry.name), signal.SIGKILL)
    process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def prepare(home: Path) -> None:
    """An Airflow's folder with an empty metadata database and our DAGs in it."""
    (home / "dags").mkdir(parents=True)
    shutil.copy(ROOT / "dags/insightly.py", home / "dags")
    done = Airflow(home).command("db", "migrate")
    assert done.returncode == 0, done.stderr
    # Several processes share the file; without a log to write to first, one that reads locks the others out.
    with closing(sqlite3.connect(home / "airflow.db")) as database:
        assert database.execute("pragma journal_mode = wal").fetchone() == ("wal",)
