"""The command `insightly marts`: views are created, replaced and dropped; tables of the sync are only read."""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlglot
from dlt.destinations.exceptions import DatabaseTerminalException
from sqlglot import exp

from pipelines.cli.__main__ import main
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import Report
from pipelines.views.build import bundled, create_views, refresh_after_sync, statements
from pipelines.views.dialect import ViewWriter
from pipelines.views.registry import Registry
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm, read
from tests.support.process import Ran, command, reach

Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def ran(*arguments: str, **environment: str) -> Ran:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(arguments)
        result = capsys.readouterr()
        return Ran(code, result.out, result.err)

    return ran


@pytest.fixture
def few_marts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves four of the marts: planning all takes a second, and how views are registered does not depend on them."""
    folder = tmp_path / "few"
    folder.mkdir()
    for name in ("freshness", "lead_conversion_by_source", "overdue_tasks", "tags_by_record_type"):
        shutil.copy(bundled() / f"{name}.sql", folder)
    monkeypatch.setattr("pipelines.views.build.bundled", lambda: folder)


def target(crm: Crm) -> Target:
    return Target(database=str(crm.database))


def views(crm: Crm) -> set[str]:
    sql = "select table_name from information_schema.tables where table_schema = 'insightly_marts'"
    return {row["table_name"] for row in read(crm.database, sql)}


def write_marts(folder: Path, **marts: str) -> str:
    folder.mkdir(exist_ok=True)
    for name, sql in marts.items():
        (folder / f"{name}.sql").write_text(sql, encoding="utf-8")
    return str(folder)


def tables(crm: Crm) -> list[Any]:
    """The contents of the sync's dataset."""
    names = read(crm.database, "select table_name from information_schema.tables where table_schema = 'insightly'")
    sql = 'select count(*) as n, sum(hash(t)) as hash from insightly."{}" t'
    return [(row["table_name"], read(crm.database, sql.format(row["table_name"]))) for row in names]


@pytest.mark.sample(0)
def test_views_are_refreshed_and_tables_stay(synced_crm: Crm) -> None:
    before = tables(synced_crm)
    report = create_views(target(synced_crm))
    marts = report.facts["marts"]
    assert (report.status, report.exit_code, report.calls) == ("done", 0, 0)
    made = {name for name, mart in marts.items() if mart["state"] == "created"}
    assert made == {
        *("current_contacts", "current_leads", "contacts_wide", "leads_wide"),
        *("freshness", "lead_conversion_by_source", "record_links", "tags_by_record_type"),
    }
    assert views(synced_crm) == {*made, "_marts"}
    for name in made:
        rows = read(synced_crm.database, f"select * from insightly_marts.{name}")
        assert (marts[name]["rows"], marts[name]["view"]) == (len(rows), f"insightly_marts.{name}")
        assert len(rows) > 0
    skipped = {name: mart["reason"] for name, mart in marts.items() if mart["state"] != "created"}
    assert skipped["overdue_tasks"] == "needs tasks (never loaded)"
    # The links that it names the records of are loaded, but none of the tables that its rows are from.
    assert re.findall(r"\w+(?= \()", skipped["activities"]) == ["emails", "events", "notes", "tasks"]
    assert all("needs" in reason for reason in skipped.values())
    assert marts["lead_conversion_by_source"]["without"] == ["lead_sources"]
    listed = read(synced_crm.database, "select * from insightly_marts._marts order by mart")
    assert [(row["mart"], row["own"], row["answers"]) for row in listed] == [
        (name, False, marts[name]["answers"]) for name in sorted(made)
    ]
    assert create_views(target(synced_crm)).facts["marts"] == marts
    assert views(synced_crm) == {*made, "_marts"}
    assert tables(synced_crm) == before


@pytest.mark.usefixtures("few_marts")
def test_view_has_the_custom_fields_of_its_table(synced_crm: Crm) -> None:
    create_views(target(synced_crm))

    def columns() -> list[str]:
        return [row["column_name"] for row in read(synced_crm.database, "describe insightly_marts.current_contacts")]

    assert "hobby__c" in columns()
    assert not [name for name in columns() if name.startswith("_")]
    synced_crm.clock.advance(2)
    synced_crm.sandbox.store.define("CONTACT", "Shoe_Size__c", "NUMERIC")
    first = synced_crm.sandbox.store.tables["contacts"].keys[0]
    fields = [{"FIELD_NAME": "Shoe_Size__c", "FIELD_VALUE": 43, "CUSTOM_FIELD_ID": "Shoe_Size__c"}]
    synced_crm.sandbox.store.update("contacts", first, {"CUSTOMFIELDS": fields})
    synced_crm.sync_done("contacts")
    assert "shoe_size__c" not in columns()
    create_views(target(synced_crm))
    assert "shoe_size__c" in columns()


@pytest.mark.usefixtures("few_marts")
@pytest.mark.sample(0)
def test_own_marts_are_dropped_only_with_their_folder(synced_crm: Crm, tmp_path: Path) -> None:
    folder = write_marts(
        tmp_path / "own",
        rowers="-- Who rows?\n-- One row a contact.\nselect contact_id from current_contacts where hobby__c = 'Rowing'",
        vip="-- Optional: users\nselect tag_name from tags_by_record_type left join users on true",
        divers="select contact_id from contacts where diving__c",
    )
    marts = create_views(target(synced_crm), folder).facts["marts"]
    assert [marts[name]["state"] for name in ("rowers", "vip", "divers")] == ["created", "created", "skipped"]
    assert "diving__c" in marts["divers"]["reason"]
    assert marts["rowers"]["answers"] == "Who rows? One row a contact."
    assert (
        marts["rowers"]["rows"]
        == synced_crm.read("select count(*) as n from insightly.contacts where hobby__c = 'Rowing'")[0]["n"]
    )
    # A view of somebody else in the same dataset, over one of this program.
    synced_crm.change("create view insightly_marts.foreign_view as select * from insightly_marts.rowers")
    create_views(target(synced_crm))
    assert {"rowers", "vip", "foreign_view"} <= views(synced_crm)
    (Path(folder) / "vip.sql").unlink()
    create_views(target(synced_crm), folder)
    assert {"rowers", "foreign_view"} <= views(synced_crm)
    assert "vip" not in views(synced_crm)
    (Path(folder) / "rowers.sql").unlink()
    create_views(target(synced_crm), folder)
    assert "rowers" not in views(synced_crm)
    assert {"foreign_view", "freshness", "_marts"} <= views(synced_crm)


@pytest.mark.usefixtures("few_marts")
def test_view_of_a_removed_mart_is_dropped(synced_crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    create_views(target(synced_crm))
    kept = tmp_path / "marts"
    kept.mkdir()
    write_marts(kept, freshness="select entity from _sync_runs")
    monkeypatch.setattr("pipelines.views.build.bundled", lambda: kept)
    create_views(target(synced_crm))
    assert views(synced_crm) == {"freshness", "current_contacts", "current_leads", "_marts"}


@pytest.mark.usefixtures("few_marts")
def test_invalid_mart_is_reported_and_others_are_created(synced_crm: Crm, tmp_path: Path) -> None:
    good = "select 1 as one"
    folder = write_marts(tmp_path / "own", typo=good, overflow=good, unknown=good)
    assert create_views(target(synced_crm), folder).exit_code == 0
    write_marts(
        tmp_path / "own",
        typo="selec 1",
        overflow="select contact_id from contacts where cast(contact_id as tinyint) > 0",
        unknown="select no_such_function(contact_id) as x from contacts",
    )
    report = create_views(target(synced_crm), folder)
    assert (report.status, report.exit_code) == ("failed", 1)
    states = {name: mart["state"] for name, mart in report.facts["marts"].items()}
    assert {name for name, state in states.items() if state == "failed"} == {"typo", "overflow", "unknown"}
    assert states["freshness"] == "created"
    assert all(name in (report.reason or "") for name in ("typo", "overflow", "unknown"))
    assert "no_such_function" in report.facts["marts"]["unknown"]["reason"]
    # The view of a mart that was valid stays until the mart is valid again or removed.
    assert read(synced_crm.database, "select * from insightly_marts.typo") == [{"one": 1}]
    assert read(synced_crm.database, "select * from insightly_marts.unknown") == [{"one": 1}]


@pytest.mark.usefixtures("few_marts")
def test_table_with_the_name_of_a_view_is_not_touched(synced_crm: Crm) -> None:
    synced_crm.change("create schema insightly_marts")
    synced_crm.change("create table insightly_marts.freshness as select 1 as one")
    report = create_views(target(synced_crm))
    assert (report.exit_code, report.facts["marts"]["freshness"]["state"]) == (1, "failed")
    assert read(synced_crm.database, "select * from insightly_marts.freshness") == [{"one": 1}]


def test_destination_without_views_is_refused(synced_crm: Crm, tmp_path: Path) -> None:
    with pytest.raises(NothingSynced):
        create_views(Target(database=str(tmp_path / "none.duckdb")))
    assert not (tmp_path / "none.duckdb").exists()
    for where, message in (
        (Target("filesystem"), "has no views"),
        (Target("lancedb"), "has no SQL"),
    ):
        with pytest.raises(BadSetting, match=message):
            create_views(where)
    with pytest.raises(BadSetting, match="--folder"):
        create_views(target(synced_crm), str(tmp_path / "nowhere"))


@pytest.mark.usefixtures("few_marts")
def test_sync_refreshes_the_views(crm: Crm, run: Run) -> None:
    where = ("--marts", "--json", "--database", "a.duckdb")
    ran = run("sync", "leads", "lead_sources", *where, **reach(crm.sandbox))
    assert (ran.code, ran.json["command"], ran.json["status"]) == (0, "sync", "done"), ran.err
    assert ran.json["marts"]["lead_conversion_by_source"]["state"] == "created"
    assert set(ran.json["entities"]) == {"leads", "lead_sources"}
    one = str(crm.sandbox.store.tables["leads"].keys[0])
    refreshed = run("sync", "leads", "--id", one, *where)
    assert (refreshed.code, refreshed.json["marts"]["freshness"]["state"]) == (0, "created"), refreshed.err
    # A run that stops at its budget loads what it read, and the views show it.
    stopped = run("sync", "notes", "--max-calls", "0", *where)
    assert (stopped.code, stopped.json["status"]) == (3, "stopped")
    assert stopped.json["marts"]["lead_conversion_by_source"]["state"] == "created"


def test_failed_sync_leaves_the_views(tmp_path: Path) -> None:
    report = Report("sync", "failed", "trouble", exit_code=1)
    refresh_after_sync(report, Target(database=str(tmp_path / "a.duckdb")))
    assert (report.facts, report.reason) == ({}, "trouble")


@pytest.mark.usefixtures("few_marts")
def test_each_account_has_its_own_views(crm: Crm, run: Run) -> None:
    prefix = "SOURCES__INSIGHTLY__INSTANCES__EMEA__"
    environment = {name.replace("SOURCES__INSIGHTLY__", prefix): value for name, value in reach(crm.sandbox).items()}
    assert run("sync", "notes", "--json", "--database", "a.duckdb", **environment).code == 0
    result = run("marts", "--json", "--database", "a.duckdb").json
    assert result["instances"]["emea"]["marts"]["current_notes"]["view"] == "insightly_emea_marts.current_notes"
    printed = run("marts", "--print")
    assert (printed.code, '"insightly_emea_marts"."current_notes"' in printed.out) == (0, True)
    two = run("marts", "--print", **{"SOURCES__INSIGHTLY__INSTANCES__APAC__API_KEY": "another"})
    assert (two.code, "--instance" in two.err) == (2, True)


def test_sync_with_marts_is_refused_early_without_views(crm: Crm, tmp_path: Path, run: Run) -> None:
    where = ("--marts", "--json", "--database", "insightly_marts.duckdb")
    ran = run("sync", "leads", *where, **reach(crm.sandbox))
    assert (ran.code, crm.sandbox.log, list(tmp_path.glob("*.duckdb"))) == (2, [], [])
    assert "--database" in ran.json["reason"]


@pytest.mark.usefixtures("few_marts")
def test_sync_fails_if_its_marts_fail(synced_crm: Crm) -> None:
    synced_crm.change("create schema insightly_marts; create table insightly_marts._marts as select 1 as one")
    report = Report("sync")
    refresh_after_sync(report, target(synced_crm))
    assert (report.status, report.exit_code) == ("failed", 1)
    assert (report.reason or "").startswith("marts: no views can be created in insightly_marts: ")


@pytest.mark.usefixtures("few_marts")
def test_command_shows_the_created_views(synced_crm: Crm, tmp_path: Path, run: Run) -> None:
    folder = write_marts(tmp_path / "own", wrong="selec 1")
    at = ("--database", str(synced_crm.database))
    shown = run("marts", *at, "--folder", folder)
    assert (shown.code, shown.err) == (1, "")
    for text in (
        "insightly_marts.freshness",
        "overdue_tasks skipped: needs tasks (never loaded)",
        "wrong failed: it is not",
    ):
        assert text in shown.out
    result = run("marts", "--json", *at)
    assert (result.code, len(result.out.splitlines()), result.json["command"]) == (0, 1, "marts")
    assert result.json["marts"]["freshness"]["rows"] == 3
    assert run("marts", "--json", "--database", "none.duckdb").json["reason"].startswith("nothing")
    wrong = run("marts", "--json", "--folder", "nowhere")
    assert (wrong.code, "nowhere" in wrong.json["reason"]) == (2, True)


def test_sql_is_printed_without_the_destination(tmp_path: Path) -> None:
    printed = command("marts", "--print", "--destination", "snowflake", "--dataset", "crm", cwd=tmp_path)
    assert (printed.code, printed.err) == (0, "")
    statements = [each for each in sqlglot.parse(printed.out, read="snowflake") if each is not None]
    assert {(each.this.db, each.this.name) for each in statements} >= {
        ("CRM_MARTS", "FRESHNESS"),
        ("CRM_MARTS", "CURRENT_TICKETS"),
        ("CRM_MARTS", "STAGE_STAYS"),
    }
    assert all(isinstance(each, exp.Create) for each in statements)
    assert "-- Which tasks are overdue" in printed.out
    # dlt keeps its own files in its folder.
    assert {path.name for path in tmp_path.iterdir()} <= {"dlt"}


@pytest.mark.usefixtures("few_marts")
def test_names_without_schemas_are_those_of_dlt() -> None:
    assert "`insightly`.`_sync_runs`" in statements(Target("bigquery")).facts["marts"]["freshness"]["sql"]
    sql = statements(Target("clickhouse")).facts["marts"]["overdue_tasks"]["sql"]
    assert '"insightly___tasks"' in sql
    assert sql.startswith('CREATE OR REPLACE VIEW "insightly_marts___overdue_tasks"')


@pytest.mark.usefixtures("few_marts")
def test_untested_dialect_is_written_with_a_warning(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    folder = write_marts(tmp_path / "own", wrong="selec 1")
    report = statements(Target("mssql"), folder)
    assert "not tested on mssql" in caplog.text
    assert report.facts["marts"]["freshness"]["sql"].startswith("CREATE OR ALTER VIEW")
    assert (report.exit_code, report.facts["marts"]["wrong"]["sql"]) == (1, None)


class Narrow:
    """A client of a database that replaces a view only with one of the same columns."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    @contextmanager
    def begin_transaction(self) -> Iterator[None]:
        self.ran.append("begin")
        yield
        self.ran.append("commit")

    def execute_sql(self, sql: str) -> None:
        self.ran.append(sql)
        if len(self.ran) == 1:
            raise DatabaseTerminalException(Exception("cannot change name of view column"))


@pytest.mark.parametrize("dialect", ["postgres", "duckdb"])
def test_view_with_other_columns_is_recreated_in_a_transaction(dialect: str) -> None:
    writer = ViewWriter(dialect, str, lambda name: ("crm", name), lambda name: ("crm_marts", name))
    client = Narrow()
    registry = Registry(client, writer, "_marts", ("mart", "own", "answers"))
    if dialect == "postgres":
        registry._replace("one", "create ...")
        assert client.ran == ["create ...", "begin", 'DROP VIEW IF EXISTS "crm_marts"."one"', "create ...", "commit"]
    else:
        with pytest.raises(DatabaseTerminalException):
            registry._replace("one", "create ...")
        assert client.ran == ["create ..."]


@pytest.mark.usefixtures("few_marts")
def test_view_that_cannot_be_dropped_is_reported(
    synced_crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_marts(tmp_path / "own", one="select 1 as one", two="select 2 as two")
    create_views(target(synced_crm), folder)
    for name in ("one", "two"):
        (tmp_path / "own" / f"{name}.sql").unlink()
    # DuckDB drops any view. A table in its place fails as on Postgres a view that others read.
    synced_crm.change("drop view insightly_marts.one; create table insightly_marts.one as select 1 as one")
    report = create_views(target(synced_crm), folder)
    assert (report.exit_code, report.facts["marts"]["one"]["state"]) == (1, "failed")
    assert "two" not in views(synced_crm)
    listed = read(synced_crm.database, "select mart from insightly_marts._marts")
    assert "one" in {row["mart"] for row in listed}


@pytest.mark.usefixtures("few_marts")
def test_unchanged_view_is_not_replaced(synced_crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    replaced: list[str] = []
    monkeypatch.setattr(
        Registry, "_replace", lambda views, name, *sql: (replaced.append(name), REPLACE(views, name, *sql))
    )
    folder = write_marts(tmp_path / "own", one="select 1 as one", two="select 2 as two")
    first = create_views(target(synced_crm), folder).facts["marts"]
    assert set(replaced) == {name for name, mart in first.items() if mart["state"] == "created"}
    replaced.clear()
    synced_crm.change("drop view insightly_marts.freshness")
    write_marts(tmp_path / "own", two="select 22 as two")
    assert create_views(target(synced_crm), folder).facts["marts"] == first
    assert sorted(replaced) == ["freshness", "two"]
    assert read(synced_crm.database, "select * from insightly_marts.two") == [{"two": 22}]


REPLACE = Registry._replace
