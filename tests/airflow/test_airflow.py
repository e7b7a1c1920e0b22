"""A live Airflow with LocalExecutor and the sandbox: the tables that its DAGs load, and the states of its tasks."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.sandbox import Fault, Sandbox
from tests.support.crm import OPEN, Clock, Crm, contents_of
from tests.support.process import ROOT
from tests.support.scheduler import BIN, Airflow, prepare

pytestmark = [pytest.mark.sample(0), pytest.mark.xdist_group("airflow")]

WRONG = "99999999-9999-9999-9999-999999999999"


@dataclass
class Team:
    """An account, and the Airflow that loads it."""

    crm: Crm
    airflow: Airflow

    def run(self, command: str, **params: Any) -> dict[str, Any]:
        """Triggers a DAG; returns its only task after it has finished, with its report."""
        self.crm.clock.advance()
        self.crm.sandbox.reset_log()
        dag = f"insightly_{command}"
        run = self.airflow.start(dag, **params)
        task: dict[str, Any] = self.airflow.finished(dag, run)[command]
        return {
            **task,
            "run": run,
            "report": self.airflow.report_of(dag, run, command),
            "log": self.airflow.log_of(dag, run),
        }

    @contextmanager
    def variable(self, **settings: Any) -> Iterator[None]:
        """Replaces the settings in the Variable that the documentation sets."""
        before = self.airflow.api("GET", "variables/insightly")["value"]
        self._set("variables", {"key": "insightly", "value": json.dumps(settings)})
        try:
            yield
        finally:
            self._set("variables", {"key": "insightly", "value": before})

    @contextmanager
    def key(self, key: str) -> Iterator[None]:
        """Replaces the key in the Connection."""
        connection = {"connection_id": "insightly", "conn_type": "generic", "host": "na1"}
        self._set("connections", {**connection, "password": key})
        try:
            yield
        finally:
            self._set("connections", {**connection, "password": self.crm.sandbox.key})

    @contextmanager
    def calls_left(self, calls: int) -> Iterator[None]:
        """Leaves this many calls of the day's quota."""
        sandbox = self.crm.sandbox
        spent = 100_000 - int(sandbox.limits.headers(OPEN)["X-RateLimit-Remaining"])
        sandbox.switches = replace(OPEN, quota=spent + calls)
        try:
            yield
        finally:
            sandbox.switches = OPEN

    def _set(self, kind: str, entry: dict[str, str]) -> None:
        self.airflow.api("PATCH", f"{kind}/insightly", entry)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert BIN.exists(), "make test-all installs Airflow"
    folder = tmp_path_factory.mktemp("airflow") / "home"
    prepare(folder)
    return folder


@pytest.fixture(scope="module")
def team(home: Path) -> Iterator[Team]:
    """Set up as the documentation says, after a first sync by `airflow dags test`."""
    clock = Clock()
    with Sandbox(contents=contents_of(0.05), switches=OPEN, clock=clock) as sandbox:
        crm = Crm(sandbox, home, clock)
        airflow = Airflow(
            home,
            {
                "INSIGHTLY_DATABASE": str(crm.database),
                "INSIGHTLY_KEY": sandbox.key,
                "SOURCES__INSIGHTLY__BASE_URL": sandbox.url,
                "SOURCES__INSIGHTLY__REQUESTS_PER_SECOND": "1000",
                "SOURCES__INSIGHTLY__ENTITIES": "core",
            },
        )
        for line in setup():
            done = subprocess.run(line, shell=True, cwd=ROOT, env=airflow.environment, check=False, capture_output=True)
            assert done.returncode == 0, f"{line}: {done.stderr.decode()}"
        done = airflow.command("dags", "test", "insightly_sync")
        assert done.returncode == 0, done.stdout + done.stderr
        crm.assert_equal()
        with airflow.running():
            yield Team(crm, airflow)


def setup() -> list[str]:
    """The commands of the documentation without unpausing, which would start a run."""
    text = (ROOT / "docs/operate/scheduling.md").read_text(encoding="utf-8")
    block = re.search(r"```bash\n(cp dags/.*?)```", text, re.S)
    assert block
    return [line for line in block[1].splitlines() if "unpause" not in line]


def test_parsing_the_dags_needs_only_airflow(home: Path) -> None:
    code = """
import socket, sys, time
import airflow.sdk
def refuse(*_, **__): raise AssertionError("network or secret")
socket.socket.connect = socket.getaddrinfo = airflow.sdk.Variable.get = airflow.sdk.Connection.get = refuse
before, started = set(sys.modules), time.process_time()
exec(compile(open(sys.argv[1]).read(), sys.argv[1], "exec"), {"__name__": "dags"})
assert time.process_time() - started < 0.5
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
assert not loaded & {"dlt", "duckdb", "pyarrow", "sqlglot", "requests", "pipelines", "sources"}, loaded
"""
    environment = Airflow(home).environment
    subprocess.run([BIN / "python", "-c", code, ROOT / "dags/insightly.py"], env=environment, cwd=home, check=True)


def test_hourly_sync_is_incremental_and_needs_no_folder(team: Team) -> None:
    crm, airflow = team.crm, team.airflow
    contact, other = crm.sandbox.store.tables["contacts"].keys[:2]
    crm.clock.advance()
    crm.sandbox.store.update("contacts", contact, {"FIRST_NAME": "Renamed"})
    crm.sandbox.store.set_tags("contacts", other, [])
    shutil.rmtree(airflow.home / "dlt")
    task = team.run("sync")
    assert (task["run"].partition("__")[0], task["state"]) == ("scheduled", "success")
    report = task["report"]
    assert (report["command"], report["status"], report["entities"]["contacts"]["rows"]) == ("sync", "done", 2)
    assert report["calls"] == crm.sandbox.calls() < 30
    crm.assert_equal()


def test_spent_quota_is_a_success_with_a_warning(team: Team) -> None:
    with team.calls_left(4):
        task = team.run("sync")
    assert (task["state"], task["try_number"], task["report"]["status"]) == ("success", 1, "stopped")
    assert "Stopped early" in task["log"]
    assert team.crm.sandbox.calls() < 12


def test_wrong_key_fails_without_a_retry(team: Team) -> None:
    with team.key(WRONG):
        task = team.run("sync")
    assert (task["state"], task["try_number"], task["report"]["status"]) == ("failed", 1, "failed")
    assert "401" in task["report"]["reason"]
    assert task["report"]["reason"] in task["log"]


def test_wrong_setting_fails_without_a_retry_and_says_what_to_do(team: Team) -> None:
    with team.variable(page_size=501):
        task = team.run("sync")
    assert (task["state"], task["try_number"], team.crm.sandbox.log) == ("failed", 1, [])
    assert "sources.insightly.page_size" in task["report"]["reason"]
    assert "page_size" in task["log"]
    with team.variable(api_key=WRONG):
        task = team.run("sync")
    assert (task["state"], team.crm.sandbox.log) == ("failed", [])
    assert "use the Connection" in task["report"]["reason"]
    assert WRONG not in json.dumps(task)


def test_sweep_task_marks_deleted_records(team: Team) -> None:
    gone = team.crm.sandbox.store.tables["notes"].keys[3]
    team.crm.sandbox.store.delete("notes", gone)
    with team.variable(entities=["notes"]):
        task = team.run("sweep")
    assert (task["state"], task["report"]["entities"]["notes"]["deleted"]) == ("success", 1)
    marked = team.crm.read("select note_id from insightly.notes where _deleted_at is not null")
    assert marked == [{"note_id": gone}]


def test_backfill_reads_by_its_params(team: Team) -> None:
    task = team.run("backfill", entities=["contacts"], full=True)
    assert (task["state"], set(task["report"]["entities"])) == ("success", {"contacts"})
    assert task["report"]["entities"]["contacts"]["rows"] == team.crm.sandbox.store.count("contacts")
    task = team.run("backfill", entities=["tasks", "events"], since="2020-01-31", max_calls=1)
    assert (task["state"], task["report"]["status"], team.crm.sandbox.calls()) == ("success", "stopped", 1)
    (call,) = team.crm.sandbox.log
    assert call.query["updated_after_utc"] == "2020-01-31T00:00:00Z"
    assert "accounts" not in team.airflow.api("GET", "dags/insightly_backfill/details")["params"]
    for wrong in ({"max_calls": 0}, {"since": "yesterday"}, {"full": "no"}, {"entities": "contacts"}):
        body = {"logical_date": None, "conf": wrong}
        assert next(iter(wrong)) in team.airflow.refused("POST", "dags/insightly_backfill/dagRuns", body)


def test_verify_fails_on_a_difference_without_a_retry(team: Team) -> None:
    with team.variable(entities=["contacts"]):
        task = team.run("verify")
        assert (task["state"], task["report"]["status"]) == ("success", "done"), task["report"]
        contact = team.crm.sandbox.store.tables["contacts"].keys[5]
        with duckdb.connect(str(team.crm.database)) as connection:
            connection.execute("delete from insightly.contacts where contact_id = ?", [contact])
        task = team.run("verify")
    assert (task["state"], task["try_number"]) == ("failed", 1)
    assert str(contact) in str(task["report"]["entities"]["contacts"]["examples"])
    assert "differs from the API: contacts" in task["log"]


def test_duckdb_has_one_writer_and_failures_are_retried(team: Team) -> None:
    """The last test, because its tasks wait minutes for a retry."""
    airflow = team.airflow
    team.crm.sandbox.faults.add(Fault("object", match="Leads*", times=None))
    with team.variable(entities=["leads", "contacts"]):
        runs = {command: airflow.start(f"insightly_{command}") for command in ("sweep", "backfill", "sync")}
        for command, run in runs.items():
            airflow.wait(f"the retry of {command}", partial(waits, airflow, command, run))
    tries = [airflow.tasks(f"insightly_{command}", run)[command] for command, run in runs.items()]
    tries.sort(key=lambda task: str(task["start_date"]))
    assert all(before["end_date"] <= after["start_date"] for before, after in pairwise(tries))


def waits(airflow: Airflow, command: str, run: str) -> bool:
    return bool(airflow.tasks(f"insightly_{command}", run)[command]["state"] == "up_for_retry")


def test_key_is_in_no_file_of_airflow(team: Team) -> None:
    key = team.crm.sandbox.key
    forms = [key.encode(), base64.b64encode(f"{key}:".encode())[:40]]
    read = 0
    for path in team.airflow.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            read += 1
            assert not [form for form in forms if form in content], path
    assert read > 30
