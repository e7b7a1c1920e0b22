"""Several accounts: separate rows, state, calls and failures, and one report."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from dlt.common.runtime.run_context import switched_run_context

from pipelines.cli.__main__ import main
from pipelines.commands.each_account import combine, run_for_each
from pipelines.destinations.locks import Busy
from pipelines.destinations.target import Target
from pipelines.engine.report import EntityReport, Report
from pipelines.sandbox import Contents, Sandbox
from pipelines.sandbox.http.service import Service
from tests.support.crm import OPEN, Clock, Crm, attached
from tests.support.expected import Row
from tests.support.process import command

KEYS = {name: f"{index:08d}-1111-4111-8111-111111111111" for index, name in enumerate(("default", "emea", "apac"), 1)}
ENVELOPE = {"command", "status", "reason", "entities", "calls", "calls_left_today", "seconds"}


@dataclass
class Accounts:
    """Accounts in one database; each has its own contacts, with the same ids."""

    place: Crm
    patch: pytest.MonkeyPatch
    capture: pytest.CaptureFixture[str]
    clock: Clock = field(default_factory=Clock)
    boxes: dict[str, Sandbox] = field(default_factory=dict)
    seen: Mapping[int, set[str]] = field(default_factory=lambda: defaultdict(set))

    @property
    def folder(self) -> Path:
        return self.place.folder

    @property
    def database(self) -> Path:
        return self.place.database

    def setting(self, account: str, name: str, value: object) -> None:
        section = "" if account == "default" else f"INSTANCES__{account.upper()}__"
        self.patch.setenv(f"SOURCES__INSIGHTLY__{section}{name.upper()}", str(value))

    def add(self, account: str, contacts: int, **fields: Any) -> Sandbox:
        box = Sandbox(contents=Contents(instance={"INSTANCE_NAME": account, "INSTANCE_SUBDOMAIN": account}),
                      switches=OPEN, clock=self.clock, key=KEYS[account])  # fmt: skip
        for number in range(contacts):
            box.store.create("contacts", {"FIRST_NAME": f"{account} {number}", **fields})
        self.boxes[account] = box.start()
        self.setting(account, "api_key", box.key)
        self.setting(account, "base_url", box.url)
        return box

    def run(self, *arguments: str) -> Any:
        """Runs a command an hour later; returns the JSON that it prints, with the exit code as `code`."""
        self.clock.advance()
        with switched_run_context(str(self.folder)):
            code = main([*arguments, "--json", *(self.place.arguments() if arguments[0] != "check" else [])])
        output, _ = self.capture.readouterr()
        (line,) = output.splitlines()
        return {**json.loads(line), "code": code}

    def read(self, sql: str) -> list[Row]:
        return self.place.read(sql)

    def counts(self) -> dict[str, int]:
        sql = "select table_schema from information_schema.tables where table_name = 'contacts'"
        return {
            (name := row["table_schema"]): self.read(f"select count(*) as n from {name}.contacts")[0]["n"]
            for row in self.read(f"{sql} and table_type = 'BASE TABLE' and table_schema not like '%_staging'")
        }


@pytest.fixture
def accounts(
    make_crm: Callable[..., Crm], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Accounts]:
    made = Accounts(make_crm(), monkeypatch, capsys)
    monkeypatch.setenv("SOURCES__INSIGHTLY__REQUESTS_PER_SECOND", "1000")
    answer = Service.answer

    def noting(self: Service, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Any:
        made.seen[id(self)].add(headers["authorization"])
        return answer(self, method, target, headers, body)

    monkeypatch.setattr(Service, "answer", noting)
    yield made
    for box in made.boxes.values():
        box.stop()
        keys = made.seen[id(box)]
        assert len(keys) <= 1, "a service saw the key of another"


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_each_account_has_its_own_dataset(accounts: Accounts) -> None:
    accounts.add("default", 2)
    accounts.add("emea", 3)
    accounts.add("apac", 4)
    report = accounts.run("sync", "contacts")
    assert (report["code"], report["status"], report["reason"]) == (0, "done", None)
    assert accounts.counts() == {"insightly": 2, "insightly_emea": 3, "insightly_apac": 4}
    assert accounts.read("select count(distinct first_name) as n from insightly_emea.contacts") == [{"n": 3}]
    assert set(report) == {*ENVELOPE, "instances", "all_accounts", "code"}
    assert list(report["instances"]) == ["default", "apac", "emea"]
    assert list(report["entities"]) == ["default.contacts", "apac.contacts", "emea.contacts"]
    for name, one in report["instances"].items():
        assert set(one) == ENVELOPE
        assert one["entities"]["contacts"] == report["entities"][f"{name}.contacts"]
        assert one["calls"] == accounts.boxes[name].calls()
    assert report["calls"] == sum(one["calls"] for one in report["instances"].values())
    accounts.boxes["emea"].store.create("contacts", {"FIRST_NAME": "new"})
    again = accounts.run("sync", "contacts")
    assert [one["entities"]["contacts"]["rows"] for one in again["instances"].values()] == [0, 0, 1]
    assert accounts.counts() == {"insightly": 2, "insightly_emea": 4, "insightly_apac": 4}


@pytest.mark.sample(0)
@pytest.mark.everywhere("postgres")
def test_union_views_match_columns_by_name(accounts: Accounts) -> None:
    for account, kind, value in (("emea", "TEXT", "chess"), ("apac", "NUMERIC", 44)):
        hobby = {"FIELD_NAME": "Hobby__c", "FIELD_VALUE": value}
        box = accounts.add(account, 2, CUSTOMFIELDS=[hobby], TAGS=[{"TAG_NAME": f"of {account}"}])
        box.store.define("CONTACT", "Hobby__c", kind)
    report = accounts.run("sync", "contacts")
    assert report["all_accounts"]["accounts"] == ["apac", "emea"]
    assert report["all_accounts"]["views"] == len(report["all_accounts"]["refreshed"]) > 4
    hobbies = "select distinct instance, hobby__c from insightly_all.contacts order by 1"
    number, text = (row["hobby__c"] for row in accounts.read(hobbies))
    assert (float(number), text) == (44.0, "chess")
    tags = accounts.read("select instance, tag_name, count(*) as n from insightly_all.contacts__tags group by 1, 2")
    assert {tuple(row.values()) for row in tags} == {("emea", "of emea", 2), ("apac", "of apac", 2)}
    emea = accounts.boxes["emea"].store
    emea.update("contacts", emea.rows("contacts")[0]["CONTACT_ID"], {"SHOE_SIZE": 44})
    again = accounts.run("sync", "contacts", "--instance", "emea")
    assert again["all_accounts"]["refreshed"] == ["contacts"]
    sizes = accounts.read("select instance, shoe_size, count(*) as n from insightly_all.contacts group by 1, 2")
    assert {tuple(row.values()) for row in sizes} == {("emea", 44, 1), ("emea", None, 1), ("apac", None, 2)}


@pytest.mark.everywhere("postgres")
def test_failing_account_does_not_stop_the_others(accounts: Accounts) -> None:
    accounts.add("default", 2)
    accounts.add("emea", 3)
    accounts.add("apac", 4)
    accounts.boxes["apac"].switches = replace(OPEN, quota=1)
    accounts.boxes["apac"].limits.used += 1
    stopped = accounts.run("sync", "contacts")
    assert (stopped["code"], stopped["status"]) == (3, "stopped")
    assert stopped["instances"]["apac"]["status"] == "stopped"
    assert stopped["calls_left_today"] == 0
    assert accounts.counts() == {"insightly": 2, "insightly_emea": 3}
    accounts.setting("default", "api_key", "99999999-1111-4111-8111-111111111111")
    accounts.seen.clear()
    accounts.boxes["emea"].store.create("contacts", {"FIRST_NAME": "new"})
    failed = accounts.run("sync", "contacts")
    assert (failed["code"], failed["status"]) == (1, "failed")
    assert failed["reason"].startswith("default: GET /Instance: 401")
    assert "; apac: " in failed["reason"]
    assert [one["status"] for one in failed["instances"].values()] == ["failed", "stopped", "done"]
    assert accounts.counts() == {"insightly": 2, "insightly_emea": 4}
    accounts.setting("apac", "page_size", 0)
    wrong = accounts.run("sync", "contacts")
    assert (wrong["code"], wrong["status"], wrong["instances"]["emea"]["status"]) == (2, "failed", "done")
    assert "sources.insightly.instances.apac.page_size" in wrong["instances"]["apac"]["reason"]
    assert set(wrong["instances"]["apac"]) == ENVELOPE


def test_unexpected_error_fails_only_its_account(caplog: pytest.LogCaptureFixture) -> None:
    def work(name: str) -> Report:
        return Report("sync", calls=3) if name == "b" else Report("sync", calls=1 // 0)

    report = run_for_each("sync", ["a", "b"], work, lambda name, report: None)
    assert (report.exit_code, report.status, report.calls) == (1, "failed", 3)
    assert "ZeroDivisionError" in caplog.text


def test_interruption_ends_the_run_and_reports_finished_accounts() -> None:
    def work(name: str) -> Report:
        if name == "b":
            raise KeyboardInterrupt
        return Report("sync", entities={"notes": EntityReport("ok")})

    report = run_for_each("sync", ["a", "b", "c"], work, lambda name, report: None)
    assert (report.exit_code, report.status, list(report.facts["instances"])) == (130, "failed", ["a", "b"])
    assert list(report.entities) == ["a.notes"]


@pytest.mark.parametrize(
    ("codes", "worst", "status"),
    [
        ((0, 0), 0, "done"),
        ((0, 3), 3, "stopped"),
        ((3, 4), 4, "failed"),
        ((1, 4, 3), 1, "failed"),
        ((1, 2, 3, 4), 2, "failed"),
    ],
)
def test_combined_exit_code_is_the_worst(codes: tuple[int, ...], worst: int, status: str) -> None:
    reports = {
        str(code): Report("verify", exit_code=code, reason=f"because {code}" if code else None) for code in codes
    }
    report = combine("verify", reports)
    assert (report.exit_code, report.status) == (worst, status)
    assert report.reason == ("; ".join(f"{code}: because {code}" for code in codes if code) or None)


def test_combined_report_adds_calls_and_takes_lowest_calls_left() -> None:
    plan = Report("sync", calls=2, calls_left_today=9, facts={"plan": {"calls": 5, "seconds": 0.5}})
    report = combine("sync", {"a": plan, "b": replace(plan, calls_left_today=4), "c": Report("sync")})
    assert (report.calls, report.calls_left_today, report.facts["plan"]) == (4, 4, {"calls": 10, "seconds": 1.0})


@pytest.mark.sample(0)
def test_only_named_accounts_get_calls(accounts: Accounts) -> None:
    accounts.add("default", 2)
    accounts.add("emea", 3)
    accounts.add("apac", 4)
    one = accounts.run("sync", "contacts", "--instance", "emea")
    assert set(one) == {*ENVELOPE, "all_accounts", "code"}
    assert list(one["entities"]) == ["contacts"]
    assert accounts.counts() == {"insightly_emea": 3}
    two = accounts.run("sync", "contacts", "--instance", "emea", "--instance", "default")
    assert list(two["instances"]) == ["emea", "default"]
    assert accounts.counts() == {"insightly_emea": 3, "insightly": 2}
    assert accounts.boxes["apac"].log == []
    unknown = accounts.run("sync", "contacts", "--instance", "latam")
    assert unknown["code"] == 2
    assert [part for part in ("latam", "default, apac, emea") if part not in unknown["reason"]] == []


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_every_command_runs_for_all_accounts_or_one(accounts: Accounts) -> None:
    accounts.add("emea", 3)
    accounts.add("apac", 4)
    checked = accounts.run("check")
    assert {name: one["account"]["INSTANCE_NAME"] for name, one in checked["instances"].items()} == {
        "emea": "emea",
        "apac": "apac",
    }
    plan = accounts.run("sync", "contacts", "--plan")
    assert (plan["plan"]["calls"], plan["entities"]["emea.contacts"]["total"]) == (4, 3)
    assert not accounts.place.made()
    accounts.run("sync", "contacts")
    accounts.boxes["apac"].store.delete("contacts", accounts.boxes["apac"].store.rows("contacts")[0]["CONTACT_ID"])
    differs = accounts.run("verify", "contacts")
    assert (differs["code"], differs["entities"]["apac.contacts"]["differences"]) == (4, 1)
    swept = accounts.run("sweep", "contacts")
    assert [entity["deleted"] for entity in swept["entities"].values()] == [1, 0]
    assert accounts.run("verify", "contacts", "--instance", "apac")["code"] == 0
    report = accounts.run("status")
    assert list(report["entities"]) == ["apac.contacts", "emea.contacts"]
    assert report["instances"]["emea"]["destination"].endswith("dataset insightly_emea")
    assert accounts.run("status", "--max-age", "0s", "--instance", "emea")["code"] == 1


@pytest.mark.everywhere("postgres")
def test_single_account_options_need_an_account_name(accounts: Accounts) -> None:
    accounts.add("emea", 1)
    rows = accounts.folder / "new.csv"
    rows.write_text("first_name\nAda\n")
    push = ("push", "contacts", str(rows), "--op", "create")
    assert accounts.run(*push)["code"] == 0  # there is only one
    accounts.add("apac", 1)
    for refused in (push, ("sync", "contacts", "--id", "1")):
        report = accounts.run(*refused)
        assert (report["code"], "name one account for this: apac, emea" in report["reason"]) == (2, True)
    done = accounts.run(*push, "--instance", "apac")
    assert (done["code"], done["entities"]["contacts"]["push"]["results"]["created"]) == (0, 1)
    assert [box.store.count("contacts") for box in accounts.boxes.values()] == [2, 2]
    pushed = accounts.read("select record_id from insightly_apac._push_log where status = 'done'")
    assert len(pushed) == 1


@pytest.mark.sample(0)
def test_max_calls_limits_each_account(accounts: Accounts) -> None:
    accounts.add("emea", 12)
    accounts.add("apac", 12)
    accounts.setting("default", "page_size", 5)
    report = accounts.run("sync", "contacts", "--max-calls", "2")
    assert (report["code"], [box.calls() for box in accounts.boxes.values()]) == (3, [2, 2])
    done = accounts.run("sync", "contacts")
    assert (done["code"], accounts.counts()) == (0, {"insightly_apac": 12, "insightly_emea": 12})


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_each_dataset_refuses_another_account(accounts: Accounts) -> None:
    accounts.add("emea", 1)
    accounts.add("apac", 1)
    accounts.run("sync", "contacts")
    emea, apac = accounts.boxes["emea"], accounts.boxes["apac"]
    accounts.setting("emea", "api_key", apac.key)
    accounts.setting("emea", "base_url", apac.url)
    report = accounts.run("sync", "contacts")
    assert report["code"] == 2
    assert report["instances"]["apac"]["status"] == "done"
    assert "sources.insightly.instances.emea.api_key is 'a key of apac" in report["instances"]["emea"]["reason"]
    assert "contains the account emea" in report["instances"]["emea"]["reason"]
    assert emea.calls("/Contacts") == 1


def test_sync_is_reported_even_if_the_views_fail(accounts: Accounts) -> None:
    accounts.add("emea", 3)
    with attached(accounts.database, read_only=False) as connection:
        connection.execute("create schema insightly_all; create table insightly_all.contacts (x int)")
    report = accounts.run("sync", "contacts")
    assert (report["code"], report["instances"]["emea"]["status"]) == (1, "done")
    assert "insightly_all.contacts: " in report["reason"]
    with attached(accounts.database, read_only=False) as connection:
        connection.execute("drop schema insightly_all cascade")
    assert accounts.run("sync", "contacts")["code"] == 0


def test_one_account_without_instances_keeps_its_dataset(accounts: Accounts) -> None:
    accounts.add("default", 2)
    report = accounts.run("sync", "contacts")
    assert set(report) == {*ENVELOPE, "code"}
    with attached(accounts.database) as connection:
        assert connection.sql("from duckdb_views() where schema_name like 'insightly%'").fetchall() == []


def test_console_prints_each_account_and_totals(accounts: Accounts) -> None:
    accounts.add("emea", 3)
    accounts.add("apac", 4)
    with switched_run_context(str(accounts.folder)):
        assert main(["sync", "contacts", "--database", str(accounts.database)]) == 0
        output, _ = accounts.capture.readouterr()
        assert main(["check"]) == 0
    lines = [line.split() for line in output.splitlines()]
    assert [line[0] for line in lines if "─" in "".join(line)] == ["apac", "emea", "2"]
    assert [line[2] for line in lines if line[0] == "contacts"] == ["4", "3"]
    assert "views over apac, emea" in output
    assert lines[-1][0] == "done"


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_two_processes_load_accounts_into_one_database(accounts: Accounts, tmp_path: Path) -> None:
    accounts.add("emea", 30)
    accounts.add("apac", 40)
    for box in accounts.boxes.values():
        box.switches = replace(OPEN, latency=0.1)
    accounts.setting("default", "page_size", 10)
    accounts.setting("default", "chunk_calls", 1)

    def sync(name: str) -> Any:
        where = (*accounts.place.arguments(), "--json")
        return command("sync", "contacts", "--instance", name, *where, cwd=tmp_path)

    with ThreadPoolExecutor() as both:
        ran = list(both.map(sync, accounts.boxes))
    assert [each.code for each in ran] == [0, 0], [each.err for each in ran]
    assert accounts.counts() == {"insightly_emea": 30, "insightly_apac": 40}
    assert accounts.read("select count(*) as n from insightly_all.contacts") == [{"n": 70}]


def test_one_lock_covers_all_datasets_of_a_file(tmp_path: Path) -> None:
    target = Target(database=str(tmp_path / "a.duckdb"))
    assert (target.for_account("emea").dataset, target.for_account("default"), target.for_account(None)) == (
        "insightly_emea",
        target,
        target,
    )
    with (
        target.for_account("emea").lock(),
        pytest.raises(Busy, match=r"a\.duckdb"),
        target.for_account("apac").lock(wait=0.01),
    ):
        pass
    assert len({target.for_account(name).digest for name in ("emea", "apac", None)}) == 3


@pytest.mark.everywhere("postgres")
def test_jobs_run_accounts_at_the_same_time_on_a_server(accounts: Accounts) -> None:
    boxes = [accounts.add(name, number) for number, name in enumerate(KEYS, 2)]
    accounts.setting("apac", "api_key", "99999999-1111-4111-8111-111111111111")
    arguments = ("sync", "contacts", "--jobs", "3", "--json", *accounts.place.arguments())
    ran = command(*arguments, cwd=accounts.folder)
    if type(accounts.place) is Crm:
        assert (ran.code, [box.calls() for box in boxes]) == (2, [0, 0, 0])
        assert "--jobs is 3: a DuckDB file has one writer" in ran.json["reason"]
        return
    assert (ran.code, [one["status"] for one in ran.json["instances"].values()]) == (1, ["done", "failed", "done"])
    assert ran.json["reason"].startswith("apac: GET /Instance: 401")
    assert accounts.counts() == {"insightly": 2, "insightly_emea": 3}
    accounts.setting("apac", "api_key", KEYS["apac"])
    accounts.seen.clear()
    again = command(*arguments, cwd=accounts.folder)
    assert (again.code, again.err, accounts.counts()["insightly_apac"]) == (0, "", 4)
