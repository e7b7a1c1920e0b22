"""The command `insightly marts`: views made, replaced and dropped; tables of the sync only read."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlglot
from dlt.destinations.exceptions import DatabaseTerminalException
from sqlglot import exp

from pipelines.cli.__main__ import main
from pipelines.destinations.target import NothingSynced, Target
from pipelines.engine.report import Report
from pipelines.views.build import create_views, refresh_after_sync, statements
from pipelines.views.dialect import ViewWriter
from pipelines.views.registry import Registry
from sources.insightly.errors import BadSetting
from tests.support.crm import Crm, read
from tests.support.process import Ran, command, reach

Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command in this process, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def ran(*arguments: str, **environment: str) -> Ran:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        code = main(arguments)
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return ran


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
    """All that the dataset of the sync holds."""
    names = read(crm.database, "select table_name from information_schema.tables where table_schema = 'insightly'")
    sql = 'select count(*) as n, sum(hash(t)) as told from insightly."{}" t'
    return [(row["table_name"], read(crm.database, sql.format(row["table_name"]))) for row in names]


@pytest.mark.sample(0)
def test_views_are_made_again_and_again_and_tables_stay(synced_crm: Crm) -> None:
    before = tables(synced_crm)
    report = create_views(target(synced_crm))
    marts = report.facts["marts"]
    assert (report.status, report.exit_code, report.calls) == ("done", 0, 0)
    made = {name for name, mart in marts.items() if mart["state"] == "made"}
    current = {"current_contacts", "current_leads"}
    assert made == {*current, "freshness", "lead_conversion_by_source", "tags_by_record_type"}
    assert views(synced_crm) == {*made, "_marts"}
    for name in made:
        rows = read(synced_crm.database, f"select * from insightly_marts.{name}")
        assert (marts[name]["rows"], marts[name]["view"]) == (len(rows), f"insightly_marts.{name}")
        assert len(rows) > 0
    skipped = {name: mart["reason"] for name, mart in marts.items() if mart["state"] != "made"}
    assert skipped["overdue_tasks"] == "needs tasks (never loaded)"
    assert all("needs" in reason for reason in skipped.values())
    assert marts["lead_conversion_by_source"]["without"] == ["lead_sources"]
    register = read(synced_crm.database, "select * from insightly_marts._marts order by mart")
    assert [(row["mart"], row["own"], row["answers"]) for row in register] == [
        (name, False, marts[name]["answers"]) for name in sorted(made)
    ]
    assert create_views(target(synced_crm)).facts["marts"] == marts
    assert views(synced_crm) == {*made, "_marts"}
    assert tables(synced_crm) == before


def test_a_view_has_the_custom_fields_of_its_table(synced_crm: Crm) -> None:
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


@pytest.mark.sample(0)
def test_own_marts_join_in_and_only_their_folder_takes_them_away(synced_crm: Crm, tmp_path: Path) -> None:
    folder = write_marts(
        tmp_path / "ours",
        rowers="-- Who rows?\n-- One row a contact.\nselect contact_id from current_contacts where hobby__c = 'Rowing'",
        vip="-- Optional: users\nselect tag_name from tags_by_record_type left join users on true",
        divers="select contact_id from contacts where diving__c",
    )
    marts = create_views(target(synced_crm), folder).facts["marts"]
    assert [marts[name]["state"] for name in ("rowers", "vip", "divers")] == ["made", "made", "skipped"]
    assert "diving__c" in marts["divers"]["reason"]
    assert marts["rowers"]["answers"] == "Who rows? One row a contact."
    assert (
        marts["rowers"]["rows"]
        == synced_crm.read("select count(*) as n from insightly.contacts where hobby__c = 'Rowing'")[0]["n"]
    )
    # Other people's views in the same place, and one over ours.
    with duckdb.connect(str(synced_crm.database)) as connection:
        connection.execute("create view insightly_marts.theirs as select * from insightly_marts.rowers")
    create_views(target(synced_crm))
    assert {"rowers", "vip", "theirs"} <= views(synced_crm)
    (Path(folder) / "vip.sql").unlink()
    create_views(target(synced_crm), folder)
    assert {"rowers", "theirs"} <= views(synced_crm)
    assert "vip" not in views(synced_crm)
    (Path(folder) / "rowers.sql").unlink()
    create_views(target(synced_crm), folder)
    assert "rowers" not in views(synced_crm)
    assert {"theirs", "freshness", "_marts"} <= views(synced_crm)


def test_a_mart_whose_table_went_is_dropped(synced_crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    create_views(target(synced_crm))
    kept = tmp_path / "marts"
    kept.mkdir()
    write_marts(kept, freshness="select entity from _sync_runs")
    monkeypatch.setattr("pipelines.views.build.bundled", lambda: kept)
    create_views(target(synced_crm))
    assert views(synced_crm) == {"freshness", "current_contacts", "current_leads", "_marts"}


def test_what_is_wrong_with_one_mart_is_told_and_the_others_are_made(synced_crm: Crm, tmp_path: Path) -> None:
    good = "select 1 as one"
    folder = write_marts(tmp_path / "ours", typo=good, overflow=good, unknown=good)
    assert create_views(target(synced_crm), folder).exit_code == 0
    write_marts(
        tmp_path / "ours",
        typo="selec 1",
        overflow="select contact_id from contacts where cast(contact_id as tinyint) > 0",
        unknown="select no_such_function(contact_id) as x from contacts",
    )
    report = create_views(target(synced_crm), folder)
    assert (report.status, report.exit_code) == ("failed", 1)
    states = {name: mart["state"] for name, mart in report.facts["marts"].items()}
    assert {name for name, state in states.items() if state == "failed"} == {"typo", "overflow", "unknown"}
    assert states["freshness"] == "made"
    assert all(name in (report.reason or "") for name in ("typo", "overflow", "unknown"))
    assert "no_such_function" in report.facts["marts"]["unknown"]["reason"]
    # A view that was right stays until its mart is right again, or gone.
    assert read(synced_crm.database, "select * from insightly_marts.typo") == [{"one": 1}]
    assert read(synced_crm.database, "select * from insightly_marts.unknown") == [{"one": 1}]


def test_a_table_in_the_way_is_left_alone(synced_crm: Crm) -> None:
    with duckdb.connect(str(synced_crm.database)) as connection:
        connection.execute("create schema insightly_marts")
        connection.execute("create table insightly_marts.freshness as select 1 as mine")
    report = create_views(target(synced_crm))
    assert (report.exit_code, report.facts["marts"]["freshness"]["state"]) == (1, "failed")
    assert read(synced_crm.database, "select * from insightly_marts.freshness") == [{"mine": 1}]


def test_where_no_views_can_be_is_told(synced_crm: Crm, tmp_path: Path) -> None:
    with pytest.raises(NothingSynced):
        create_views(Target(database=str(tmp_path / "none.duckdb")))
    assert not (tmp_path / "none.duckdb").exists()
    for where, told in (
        (Target(database=str(tmp_path / "insightly_marts.duckdb")), "rename it"),
        (Target("filesystem"), "has no views"),
        (Target("lancedb"), "has no SQL"),
    ):
        with pytest.raises(BadSetting, match=told):
            create_views(where)
    with pytest.raises(BadSetting, match="--folder"):
        create_views(target(synced_crm), str(tmp_path / "nowhere"))


def test_a_sync_makes_them_afterwards(crm: Crm, run: Run) -> None:
    where = ("--marts", "--json", "--database", "a.duckdb")
    ran = run("sync", "leads", "lead_sources", *where, **reach(crm.sandbox))
    assert (ran.code, ran.json["command"], ran.json["status"]) == (0, "sync", "done"), ran.err
    assert ran.json["marts"]["lead_conversion_by_source"]["state"] == "made"
    assert set(ran.json["entities"]) == {"leads", "lead_sources"}
    one = str(crm.sandbox.store.tables["leads"].keys[0])
    refreshed = run("sync", "leads", "--id", one, *where)
    assert (refreshed.code, refreshed.json["marts"]["freshness"]["state"]) == (0, "made"), refreshed.err
    # A budget that ends loads what was read, and the views show it.
    stopped = run("sync", "notes", "--max-calls", "0", *where)
    assert (stopped.code, stopped.json["status"]) == (3, "stopped")
    assert stopped.json["marts"]["lead_conversion_by_source"]["state"] == "made"


def test_after_a_sync_that_failed_views_stay_as_they_were(tmp_path: Path) -> None:
    report = Report("sync", "failed", "trouble", exit_code=1)
    refresh_after_sync(report, Target(database=str(tmp_path / "a.duckdb")))
    assert (report.facts, report.reason) == ({}, "trouble")


def test_each_account_has_views_of_its_own(crm: Crm, run: Run) -> None:
    prefix = "SOURCES__INSIGHTLY__INSTANCES__EMEA__"
    environment = {name.replace("SOURCES__INSIGHTLY__", prefix): value for name, value in reach(crm.sandbox).items()}
    assert run("sync", "notes", "--json", "--database", "a.duckdb", **environment).code == 0
    told = run("marts", "--json", "--database", "a.duckdb").json
    assert told["instances"]["emea"]["marts"]["current_notes"]["view"] == "insightly_emea_marts.current_notes"
    printed = run("marts", "--print")
    assert (printed.code, '"insightly_emea_marts"."current_notes"' in printed.out) == (0, True)
    two = run("marts", "--print", **{"SOURCES__INSIGHTLY__INSTANCES__APAC__API_KEY": "another"})
    assert (two.code, "--instance" in two.err) == (2, True)


def test_where_views_cannot_be_the_sync_says_so_before_it_begins(crm: Crm, tmp_path: Path, run: Run) -> None:
    where = ("--marts", "--json", "--database", "insightly_marts.duckdb")
    ran = run("sync", "leads", *where, **reach(crm.sandbox))
    assert (ran.code, crm.sandbox.log, list(tmp_path.glob("*.duckdb"))) == (2, [], [])
    assert "--database" in ran.json["reason"]


def test_a_sync_whose_marts_fail_fails(synced_crm: Crm) -> None:
    with duckdb.connect(str(synced_crm.database)) as connection:
        connection.execute("create schema insightly_marts; create table insightly_marts._marts as select 1 as mine")
    report = Report("sync")
    refresh_after_sync(report, target(synced_crm))
    assert (report.status, report.exit_code) == ("failed", 1)
    assert (report.reason or "").startswith("marts: no views can be created in insightly_marts: ")


def test_the_command_shows_what_it_made(synced_crm: Crm, tmp_path: Path, run: Run) -> None:
    folder = write_marts(tmp_path / "ours", wrong="selec 1")
    at = ("--database", str(synced_crm.database))
    shown = run("marts", *at, "--folder", folder)
    assert (shown.code, shown.err) == (1, "")
    for text in (
        "insightly_marts.freshness",
        "overdue_tasks skipped: needs tasks (never loaded)",
        "wrong failed: it is not",
    ):
        assert text in shown.out
    told = run("marts", "--json", *at)
    assert (told.code, len(told.out.splitlines()), told.json["command"]) == (0, 1, "marts")
    assert told.json["marts"]["freshness"]["rows"] == 3
    assert run("marts", "--json", "--database", "none.duckdb").json["reason"].startswith("nothing")
    wrong = run("marts", "--json", "--folder", "nowhere")
    assert (wrong.code, "nowhere" in wrong.json["reason"]) == (2, True)


def test_the_sql_of_a_destination_is_printed_without_it(tmp_path: Path) -> None:
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
    # What dlt itself keeps is in its own folder.
    assert {path.name for path in tmp_path.iterdir()} <= {"dlt"}


def test_where_there_are_no_schemas_names_are_those_of_dlt() -> None:
    assert "`insightly`.`_sync_runs`" in statements(Target("bigquery")).facts["marts"]["freshness"]["sql"]
    sql = statements(Target("clickhouse")).facts["marts"]["overdue_tasks"]["sql"]
    assert '"insightly___tasks"' in sql
    assert sql.startswith('CREATE OR REPLACE VIEW "insightly_marts___overdue_tasks"')


def test_what_nobody_tried_is_written_with_a_warning(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    folder = write_marts(tmp_path / "ours", wrong="selec 1")
    report = statements(Target("mssql"), folder)
    assert "not tested on mssql" in caplog.text
    assert report.facts["marts"]["freshness"]["sql"].startswith("CREATE OR ALTER VIEW")
    assert (report.exit_code, report.facts["marts"]["wrong"]["sql"]) == (1, None)


class Narrow:
    """A client of a database that replaces a view only by one of the same columns, and has one of others."""

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
def test_a_view_of_other_columns_is_dropped_and_made_in_one_transaction(dialect: str) -> None:
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


def test_a_view_that_others_hold_fast_is_told_and_the_rest_is_made(
    synced_crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = write_marts(tmp_path / "ours", one="select 1 as one", two="select 2 as two")
    create_views(target(synced_crm), folder)
    for name in ("one", "two"):
        (tmp_path / "ours" / f"{name}.sql").unlink()
    # DuckDB lets anything be dropped: what Postgres says where other views read it, a wrong kind says here.
    with duckdb.connect(str(synced_crm.database)) as connection:
        connection.execute("drop view insightly_marts.one; create table insightly_marts.one as select 1 as mine")
    report = create_views(target(synced_crm), folder)
    assert (report.exit_code, report.facts["marts"]["one"]["state"]) == (1, "failed")
    assert "two" not in views(synced_crm)
    register = read(synced_crm.database, "select mart from insightly_marts._marts")
    assert "one" in {row["mart"] for row in register}


def test_a_view_that_would_come_out_the_same_is_left_alone(
    synced_crm: Crm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replaced: list[str] = []
    monkeypatch.setattr(
        Registry, "_replace", lambda views, name, sql: (replaced.append(name), REPLACE(views, name, sql))
    )
    folder = write_marts(tmp_path / "ours", one="select 1 as one", two="select 2 as two")
    first = create_views(target(synced_crm), folder).facts["marts"]
    assert set(replaced) == {name for name, mart in first.items() if mart["state"] == "made"}
    replaced.clear()
    with duckdb.connect(str(synced_crm.database)) as connection:
        connection.execute("drop view insightly_marts.freshness")
    write_marts(tmp_path / "ours", two="select 22 as two")
    assert create_views(target(synced_crm), folder).facts["marts"] == first
    assert sorted(replaced) == ["freshness", "two"]
    assert read(synced_crm.database, "select * from insightly_marts.two") == [{"two": 22}]


REPLACE = Registry._replace
