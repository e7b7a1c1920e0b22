"""A live Airflow with several accounts and Postgres: which tasks run in parallel, and which wait."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from threading import Barrier
from typing import Any

import pytest

from pipelines.commands.sync import sync
from pipelines.commands.verify import verify
from pipelines.destinations.target import Target
from pipelines.sandbox import Fault, Sandbox
from sources.insightly.config.settings import resolve_settings
from tests.support.crm import OPEN, contents_of
from tests.support.postgres import Postgres, query
from tests.support.scheduler import BIN, Airflow, prepare

pytestmark = [pytest.mark.sample(0), pytest.mark.xdist_group("airflow")]

ENTITIES = {"emea": ["contacts", "notes"], "sales": ["contacts", "leads"], "activity": ["notes", "tasks"]}
"""By account; `sales` and `activity` are parts of one account and share a key."""
PASSWORD = "not-needed-but-secret"
BARRIER_SECONDS = 100.0
"""Seconds that the first call of an account waits for those of the others; less than the timeout of a client."""
OTHER_KEY = "6b4db0c5-1e57-4c0d-8ead-0123456789ab"


@dataclass
class Teams:
    airflow: Airflow
    emea: Sandbox
    shared: Sandbox
    url: str

    def finished(self, **runs: str) -> dict[str, dict[str, Any]]:
        """The tasks of finished runs, by DAG and name."""
        return {command: self.airflow.finished(f"insightly_{command}", run) for command, run in runs.items()}

    def succeeded(self, **runs: str) -> dict[str, dict[str, Any]]:
        """The tasks of runs of which no task failed; an error shows the log of what did."""
        tasks = self.finished(**runs)
        for command, run in runs.items():
            states = {name: task["state"] for name, task in tasks[command].items()}
            assert set(states.values()) == {"success"}, (states, self.airflow.log_of(f"insightly_{command}", run))
        return tasks

    def reports(self, command: str, run: str) -> dict[str, Any]:
        return {name: self.airflow.report_of(f"insightly_{command}", run, f"{command}_{name}") for name in ENTITIES}


@pytest.fixture(scope="module")
def teams(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Teams]:
    assert BIN.exists(), "make test-all installs Airflow"
    home = tmp_path_factory.mktemp("airflow") / "home"
    prepare(home)
    url = postgres.database()
    environment = {"INSIGHTLY_DESTINATION": "postgres", "INSIGHTLY_INSTANCES": " ".join(ENTITIES)}
    with (
        Sandbox(contents=contents_of(0.05), switches=OPEN, key=OTHER_KEY) as emea,
        Sandbox(contents=contents_of(0.05), switches=OPEN) as shared,
        Airflow(home, environment).running() as airflow,
    ):
        teams = Teams(airflow, emea, shared, url)
        for name in ("sales", "activity"):
            extra = {"base_url": shared.url, "entities": ENTITIES[name], "page_size": 4}
            connect(airflow, f"insightly_{name}", "generic", password=shared.key, extra=json.dumps(extra))
        # The third account is configured for dlt.
        section = f'[sources.insightly.instances.emea]\napi_key = "{OTHER_KEY}"\nbase_url = "{emea.url}"\n'
        section += f"entities = {json.dumps(ENTITIES['emea'])}\npage_size = 4\n"
        airflow.api("POST", "variables", {"key": "dlt_secrets_toml", "value": section})
        for pool in ("insightly", *(f"insightly_{name}" for name in ENTITIES)):
            airflow.api("POST", "pools", {"name": pool, "slots": 1})
        address, _, socket = url.partition("?host=")
        server = {"host": "localhost", "login": "postgres", "password": PASSWORD, "schema": address.rpartition("/")[2]}
        connect(airflow, "insightly_destination", "postgres", **server, extra=json.dumps({"host": socket}))
        airflow.wait("the DAGs", lambda: len(airflow.api("GET", "dags")["dags"]) == 4)
        yield teams


def connect(airflow: Airflow, name: str, kind: str, **parts: str) -> None:
    airflow.api("POST", "connections", {"connection_id": name, "conn_type": kind, **parts})


def test_accounts_run_in_parallel_and_share_the_rate_of_a_key(teams: Teams) -> None:
    together = Barrier(len(ENTITIES))
    faults = [
        Fault("call", f"{match}*", action=lambda _: together.wait(BARRIER_SECONDS)) for match in ("Contacts", "Notes")
    ]
    teams.emea.faults.add(faults[0])
    teams.shared.faults.add(*faults)
    run = teams.airflow.start("insightly_sync")
    tasks = teams.succeeded(sync=run)["sync"]
    assert not together.broken
    views = tasks.pop("views")
    times = {name: [call.time for call in teams.shared.log if reads(name, call.path)] for name in ("sales", "activity")}
    begin, end = max(map(min, times.values())), min(map(max, times.values()))
    for of_a_part in times.values():
        assert len(of_a_part) > 20
        assert sum(begin <= time < end for time in of_a_part) <= 5 * (end - begin) + 5
    for name, report in teams.reports("sync", run).items():
        assert (report["status"], list(report["entities"])) == ("done", sorted(ENTITIES[name]))
        store = (teams.emea if name == "emea" else teams.shared).store
        for entity in ENTITIES[name]:
            (row,) = query(teams.url, f"select count(*) as n from insightly_{name}.{entity}")
            assert row["n"] == store.count(entity)
    assert started(views) >= max(task["end_date"] for task in tasks.values())
    united = query(teams.url, "select distinct instance from insightly_all.contacts order by 1")
    assert [row["instance"] for row in united] == ["emea", "sales"]


def test_one_task_per_account_runs_and_keeps_watermarks(teams: Teams, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {entity: teams.shared.store.tables[entity].keys[1] for entity in ("leads", "tasks")}
    for entity, key in gone.items():
        teams.shared.store.delete(entity, key)
    runs = {command: teams.airflow.start(f"insightly_{command}") for command in ("sweep", "sync")}
    tasks = teams.succeeded(**runs)
    for name in ENTITIES:
        own = sorted((tasks[command][f"{command}_{name}"] for command in runs), key=started)
        assert all(before["end_date"] <= after["start_date"] for before, after in pairwise(own))
    for entity, key in gone.items():
        name = "sales" if entity == "leads" else "activity"
        (marked,) = query(teams.url, f"select * from insightly_{name}.{entity} where _deleted_at is not null")
        assert key in marked.values()
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", teams.url)
    for name, entities in ENTITIES.items():
        sandbox = teams.emea if name == "emea" else teams.shared
        settings = resolve_settings(api_key=sandbox.key, base_url=sandbox.url, requests_per_second=1000)
        target = Target("postgres").for_account(name)
        proof = verify(settings, target, entities)
        assert (proof.status, [entity.facts["proved"] for entity in proof.entities.values()]) == ("done", [True, True])
        unchanged = sync(settings, target, entities)
        assert (unchanged.status, [entity.calls for entity in unchanged.entities.values()]) == ("done", [1, 1])


def test_backfill_runs_for_named_accounts_and_shares_max_calls(teams: Teams) -> None:
    for sandbox in (teams.emea, teams.shared):
        sandbox.reset_log()
    run = teams.airflow.start("insightly_backfill", full=True, max_calls=5)
    teams.succeeded(backfill=run)
    assert (teams.emea.calls(), teams.shared.calls()) == (5, 5)
    calls = {name: report["calls"] for name, report in teams.reports("backfill", run).items()}
    assert calls == {"emea": 5, "sales": 3, "activity": 2}
    run = teams.airflow.start("insightly_backfill", instances=["sales"])
    states = {name: task["state"] for name, task in teams.finished(backfill=run)["backfill"].items()}
    assert states == {"backfill_emea": "skipped", "backfill_sales": "success", "backfill_activity": "skipped"}


def test_no_secret_is_in_a_file(teams: Teams) -> None:
    for path in teams.airflow.home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            found = [name for name in (PASSWORD, OTHER_KEY, teams.shared.key) if name.encode() in content]
            assert not found, path


def test_task_sends_few_calls_to_airflow(teams: Teams) -> None:
    lookups = (teams.airflow.home / "logs/api-server.log").read_text(encoding="utf-8").count("/execution/variables/")
    assert 0 < lookups < 1_000  # of 17 tasks; if dlt looked up each setting there would be 12,000


def reads(name: str, path: str) -> bool:
    return any(path.lower().startswith(f"/{entity}") for entity in ENTITIES[name])


def started(task: dict[str, Any]) -> str:
    return str(task["start_date"])
