"""A real Postgres: every value in its tables equals the account's, whatever is done to it.

The tests of other commands that are marked `everywhere` also run on Postgres, in `make test-all`.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg2
import pytest

from pipelines.commands.status import status
from pipelines.commands.sweep import sweep
from pipelines.commands.sync import sync
from pipelines.destinations.locks import Busy
from pipelines.destinations.merge_job import MergeJob
from pipelines.destinations.pipeline_state import resource_states
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from pipelines.engine.run_log import last_runs
from pipelines.sandbox import Fault, evolve
from pipelines.views.all_accounts import refresh
from sources.insightly import ENTITIES
from sources.insightly.errors import InsightlyError
from sources.insightly.fields import child_fields
from sources.insightly.state.request import ReadRequest
from tests.support.accounts import create_dataset, execute, refresh_views, type_of
from tests.support.commands import delete, ledger, marked, refreshed, swept, verified
from tests.support.crm import ON_POSTGRES, Crm, PostgresCrm
from tests.support.kill import Call, run_and_die
from tests.support.postgres import Postgres
from tests.support.process import command, reach
from tests.support.push import ids, jsonl, named, people, pushed, results
from tests.support.sync_kill import METHODS

pytestmark = ON_POSTGRES
OTHERS = "pid <> pg_backend_pid() and datname = current_database()"
CUT = f"select pg_terminate_backend(pid) from pg_stat_activity where {OTHERS}"
TYPES = {
    "integer": "bigint",
    "string": "character varying",
    "boolean": "boolean",
    "number": "numeric(38,9)",
    "datetime": "timestamp with time zone",
    "date": "date",
    "json": "character varying",
}


def swept_without_check(crm: Crm, *names: str) -> Report:
    return sweep(crm.settings(), crm.target, names)


def test_postgres_follows_edits_deletions_and_returns(crm: Crm) -> None:
    store, names = crm.sandbox.store, ("contacts", "opportunities", "notes", "lead_sources", "tags")
    crm.sync_done("core")
    crm.assert_equal()

    evolve(store, seed=4, steps=60)
    tagged = [row["CONTACT_ID"] for row in store.rows("contacts") if row["TAGS"]]
    store.set_tags("contacts", tagged[0], [])
    gone = delete(crm, "contacts", tagged[-1], tagged[-2])
    crm.sync_done(*names)
    assert tagged[0] not in [row["contact_id"] for row in crm.table("contacts__tags")]
    crm.assert_equal(*names, deleted=True)

    swept(crm, *names)
    assert marked(crm, "contacts") == sorted(row["CONTACT_ID"] for row in gone)
    assert {row[1] for row in ledger(crm) if row[0] == "contacts"} == set(marked(crm, "contacts"))
    report = verified(crm, *names, full=True)
    assert [name for name, entity in report.entities.items() if entity.facts["proved"]] == list(report.entities)

    restored = gone[0]["CONTACT_ID"]
    store.put_raw("contacts", {**gone[0], "DATE_UPDATED_UTC": crm.clock().strftime("%Y-%m-%d %H:%M:%S")})
    crm.sync_done("contacts")
    assert restored not in marked(crm, "contacts")
    assert [row[3] for row in ledger(crm) if row[1] == restored] == [True]
    crm.assert_equal("contacts", deleted=True)


def test_postgres_columns_have_their_types(crm: Crm) -> None:
    crm.sync_done("contacts", "opportunities")
    for entity in ("contacts", "opportunities"):
        columns = crm.columns(entity)
        fields = ENTITIES[entity].fields
        types = {name: facts.type for name, facts in fields.items() if name not in ENTITIES[entity].arrays}
        assert {crm.column(name): TYPES[kind] for name, kind in types.items()}.items() <= columns.items()
    tags = crm.columns("contacts__tags")
    assert tags == {
        **{crm.column(name): TYPES[facts.type] for name, facts in child_fields("TAGS").items()},
        "contact_id": "bigint",
        "list_idx": "bigint",
        "_is_empty": "boolean",
    }


@pytest.mark.sample(0)
def test_postgres_reads_single_records_again(crm: Crm) -> None:
    crm.first_sync("contacts")
    first, second, third = crm.sandbox.store.rows("contacts")[:3]
    before = resource_states(crm.target.pipeline())["contacts"]
    for row in (first, second):
        crm.sandbox.store.put_raw("contacts", {**row, "TITLE": "quietly changed", "TAGS": []})
    delete(crm, "contacts", third["CONTACT_ID"])
    refreshed(crm, "contacts", ids=[first["CONTACT_ID"], third["CONTACT_ID"]])
    refreshed(crm, "contacts", where=f"email_address={second['EMAIL_ADDRESS']}")
    assert marked(crm, "contacts") == [third["CONTACT_ID"]]
    crm.assert_equal("contacts", deleted=True)
    assert resource_states(crm.target.pipeline())["contacts"]["incremental"] == before["incremental"]


def test_postgres_push_from_file_and_query_is_done_once(synced_crm: Crm) -> None:
    crm = synced_crm
    source = jsonl(crm, people("Ann", "Bob"))
    assert results(pushed(crm, "contacts", source, "create")) == {"created": 2}
    assert "already done at" in (pushed(crm, "contacts", source, "create").entities["contacts"].reason or "")
    assert crm.sandbox.log == []
    crm.change("create table insightly.stale as select contact_id, 'old' as title from insightly.contacts limit 3")
    query = "select contact_id, title || '%' as title from insightly.stale order by contact_id"
    assert results(pushed(crm, "contacts", query, "update")) == {"updated": 3}
    assert results(pushed(crm, "contacts", jsonl(crm, named(crm, "Ann"), "ann.jsonl"), "delete")) == {"deleted": 1}
    log = crm.read(
        "select op, row_number, status, loaded_at is not null as loaded from insightly._push_log order by 1, 2"
    )
    assert [tuple(row.values()) for row in log] == [
        ("create", 1, "done", True),
        ("create", 2, "done", True),
        ("delete", 1, "done", True),
        *(("update", number, "done", True) for number in (1, 2, 3)),
    ]
    crm.assert_equal("contacts", deleted=True)
    assert {row["title"] for row in crm.table("contacts")} >= {"old%"}


def test_postgres_run_log_and_status(crm: Crm) -> None:
    crm.first_sync("contacts", "tags")
    swept(crm, "contacts")
    runs = crm.read("select command, entity, state from insightly._sync_runs order by 1, 2")
    expected = [("sweep", "contacts"), ("sync", "contacts"), ("sync", "tags")]
    assert [tuple(row.values()) for row in runs] == [(*each, "ok") for each in expected]
    report = status(crm.settings(api_key=None), crm.target, max_age=timedelta(hours=1))
    assert report.exit_code == 0
    assert report.entities["contacts"].rows == crm.count("contacts")
    crm.change("update insightly._sync_runs set started = started - interval '2 hours'")
    assert status(crm.settings(api_key=None), crm.target, max_age=timedelta(hours=1)).exit_code == 1


@pytest.mark.sample(0)
def test_postgres_datasets_and_databases_share_no_state(
    crm: PostgresCrm, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.first_sync("leads")
    other = Target("postgres", dataset="another")
    assert sync(crm.settings(), other, ["leads"]).entities["leads"].rows == crm.sandbox.store.count("leads")
    assert crm.read("select count(*) as n from another.leads") == [{"n": crm.count("leads")}]
    assert crm.sync_done("leads").entities["leads"].rows == 0
    digest = crm.target.digest
    elsewhere = replace(crm, url=postgres.database())
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", elsewhere.url)
    assert elsewhere.target.digest != digest
    assert elsewhere.sync_done("leads").entities["leads"].rows == elsewhere.sandbox.store.count("leads")
    elsewhere.assert_equal("leads")


def test_postgres_run_shares_connections_and_leaves_none_open(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, connect = list[psycopg2.extensions.connection](), psycopg2.connect

    def count(*args: Any, **options: Any) -> psycopg2.extensions.connection:
        opened.append(connect(*args, **options))
        return opened[-1]

    monkeypatch.setattr(psycopg2, "connect", count)
    crm.sync_done("contacts", "notes")
    assert len(opened) <= 4  # of the lock, of queries, and of two load jobs at once
    assert all(each.closed for each in opened)


@pytest.mark.sample(0)
def test_postgres_run_after_broken_connections_completes(crm: Crm) -> None:
    crm.first_sync("contacts", "notes")
    for key in ids(crm, "contacts")[::2]:
        crm.sandbox.store.update("contacts", key, {"TAGS": []})
    delete(crm, "contacts", ids(crm, "contacts")[1])
    crm.sandbox.faults.add(Fault("call", nth=2, action=lambda _: crm.change(CUT)))
    report = sweep(crm.settings(), crm.target, ["contacts", "notes"])
    assert (report.exit_code, "connection" in str(report.reason)) == (1, True)
    crm.sandbox.faults.clear()
    crm.sync_done("contacts", "notes")
    swept(crm, "contacts", "notes")
    verified(crm, "contacts", "notes", full=True)
    crm.assert_equal("contacts", "notes", deleted=True)


@pytest.mark.parametrize("run", [Crm.sync, swept_without_check], ids=["sync", "sweep"])
@pytest.mark.sample(0)
def test_postgres_server_that_stops_amid_a_run_is_reported(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, run: Callable[..., Report]
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise psycopg2.OperationalError("connection to server failed: Connection refused")

    def stop(_: object) -> None:
        crm.change(CUT)
        patch.setattr(psycopg2, "connect", refuse)

    crm.first_sync("contacts", "notes")
    crm.sandbox.store.update("contacts", ids(crm, "contacts")[0], {"TAGS": []})
    delete(crm, "contacts", ids(crm, "contacts")[1])
    crm.sandbox.faults.add(Fault("call", nth=2, action=stop))
    with monkeypatch.context() as patch:
        report = run(crm, "contacts", "notes")
    assert (report.exit_code, "connection" in str(report.reason)) == (1, True)
    crm.sandbox.faults.clear()
    crm.sync_done("contacts", "notes")
    swept(crm, "contacts", "notes")
    crm.assert_equal("contacts", "notes", deleted=True)


@pytest.mark.sample(0)
def test_postgres_views_show_the_tables_of_all_accounts(crm: Crm) -> None:
    for dataset in ("insightly", "insightly_emea"):
        sync(crm.settings(), Target("postgres", dataset), ["notes"])
    assert refresh(crm.target).failed == {}
    crm.sandbox.store.put_raw("notes", {**crm.sandbox.store.rows("notes")[0], "COLOUR": "red"})
    crm.sync_done("notes", request=ReadRequest(full=True))
    result = refresh(crm.target)
    assert (result.accounts, result.failed, "notes" in result.refreshed) == (["default", "emea"], {}, True)
    counted = crm.read("select instance, count(*) as n, count(colour) as red from insightly_all.notes group by 1")
    count = crm.sandbox.store.count("notes")
    assert {row["instance"]: (row["n"], row["red"]) for row in counted} == {"default": (count, 1), "emea": (count, 0)}


@pytest.mark.sample(0)
def test_postgres_view_that_others_depend_on_is_reported(crm: Crm) -> None:
    create_dataset(crm, "insightly_emea", contacts="contact_id bigint, size bigint")
    create_dataset(crm, "insightly_apac", contacts="contact_id bigint")
    refresh_views(crm)
    execute(crm, "create view public.sizes as select instance, size from insightly_all.contacts")
    execute(crm, "alter table insightly_apac.contacts add column hobby varchar")
    assert (refresh_views(crm).failed, type_of(crm, "contacts", "hobby")) == ({}, "character varying")
    execute(crm, "alter table insightly_apac.contacts add column size varchar")
    for _ in range(2):
        result = refresh_views(crm)
        assert (list(result.failed), "sizes" in result.failed["contacts"], result.views) == (["contacts"], True, 1)
    assert type_of(crm, "contacts", "size") == "bigint"
    execute(crm, "drop view public.sizes")
    assert (refresh_views(crm).refreshed, type_of(crm, "contacts", "size")) == (["contacts"], "character varying")


@pytest.mark.sample(0)
def test_postgres_reader_of_an_unchanged_view_blocks_no_run(crm: PostgresCrm) -> None:
    create_dataset(crm, "insightly_emea", contacts="contact_id bigint")
    create_dataset(crm, "insightly_apac", contacts="contact_id bigint")
    refresh_views(crm)
    with closing(psycopg2.connect(crm.url)) as reader, reader.cursor() as cursor:
        cursor.execute("select * from insightly_all.contacts")
        (row,) = crm.read("select current_database() as name")
        execute(crm, f"alter database {row['name']} set lock_timeout = '5s'")
        create_dataset(crm, "insightly_apac", leads="lead_id bigint")
        assert (refresh_views(crm).refreshed, refresh_views(crm).failed) == (["leads"], {})


COPY = "pipelines.destinations.postgres_client:PostgresMergeJob.provide_rows"
MERGE, END = METHODS["merge"], METHODS["note in _dlt_loads"]


@pytest.mark.parametrize(
    ("place", "when", "nth", "kept"),
    [
        (MERGE, "after", 2, True),
        *(
            pytest.param(*each, marks=pytest.mark.sample(0))
            for each in ((COPY, "after", 2, True), (MERGE, "before", 2, False), (END, "before", 1, True))
        ),
    ],
)
@pytest.mark.parametrize("run", [pytest.param("first", marks=pytest.mark.sample(0)), "second"])
def test_postgres_killed_load_is_completed_by_the_next_run(
    crm: Crm, run: str, place: str, when: str, nth: int, kept: bool
) -> None:
    names, store = ("contacts", "notes", "tags", "lead_sources"), crm.sandbox.store
    if run == "second":
        crm.sync_done(*names)
        for key in ids(crm, "contacts")[::2]:
            store.update("contacts", key, {"TITLE": "changed", "TAGS": [], "LINKS": []})
        store.delete("lead_sources", ids(crm, "lead_sources")[0])
    crm.clock.advance()
    run_and_die(crm, ["sync", *names], Call(place, when, nth))
    if run == "second":
        assert crm.count("lead_sources") > 0
    if not kept:
        shutil.rmtree(crm.folder / "dlt")
    crm.sync_done(*names)
    crm.assert_equal(*names)
    verified(crm, *names, full=True)


@pytest.mark.sample(0)
def test_postgres_command_prints_no_password(crm: PostgresCrm) -> None:
    settings = {**reach(crm.sandbox), "DESTINATION__POSTGRES__CREDENTIALS": crm.url.replace("unused", "s3cr3t")}
    ran = command("sync", "contacts", "--json", *crm.arguments(), cwd=crm.folder, **settings)
    assert (ran.code, ran.json["entities"]["contacts"]["rows"]) == (0, crm.sandbox.store.count("contacts"))
    printed = command("status", *crm.arguments(), cwd=crm.folder, **settings)
    assert (printed.code, "contacts" in printed.out) == (0, True)
    for url in ("postgresql://postgres:s3cr3t@localhost/nowhere?host=/nowhere", "s3cr3t"):
        settings["DESTINATION__POSTGRES__CREDENTIALS"] = url
        ran = command("sync", "contacts", "--json", *crm.arguments(), cwd=crm.folder, **settings)
        assert (ran.code, json.loads(ran.out)["status"]) == ((1, "failed") if "//" in url else (2, "failed"))
        assert "s3cr3t" not in ran.out + ran.err
        assert "Traceback" not in ran.err


@contextmanager
def other_machine(crm: PostgresCrm, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Another working folder, as on another machine or in another container."""
    with monkeypatch.context() as patch:
        patch.setenv("DLT_DATA_DIR", str(crm.folder / "other"))
        yield


def test_postgres_run_waits_for_a_run_of_another_machine(crm: PostgresCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    with crm.target.lock(), other_machine(crm, monkeypatch):
        for dataset in ("insightly", "Insightly"):
            with pytest.raises(Busy, match=rf"pid {os.getpid()} of .* database user postgres.* since 20"):
                Target("postgres", dataset).lock(wait=0.01).__enter__()
        with Target("postgres", "another").lock(wait=0.01):
            pass
    with other_machine(crm, monkeypatch), crm.target.lock(wait=0.01):
        pass


REFUSED_BY_COPY = {
    "alter column first_name type bigint using null": "invalid input syntax",
    "drop column first_name": 'column "first_name" of relation "contacts" does not exist',
}


@pytest.mark.parametrize("change", REFUSED_BY_COPY)
def test_postgres_load_that_cannot_succeed_is_not_tried_again(
    crm: Crm, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    crm.first_sync("contacts")
    crm.change(f"alter table insightly.contacts {change}")
    crm.sandbox.store.update("contacts", ids(crm, "contacts")[0], {"FIRST_NAME": "Zoë"})
    files, run = list[str](), MergeJob.run

    def count(job: MergeJob) -> None:
        files.append(job._file_path)
        run(job)

    monkeypatch.setattr(MergeJob, "run", count)
    report = crm.sync("contacts")
    assert REFUSED_BY_COPY[change] in str(report.reason)
    assert len(files) == len(set(files))


def test_postgres_loads_beside_columns_that_a_user_has_added(crm: Crm) -> None:
    crm.first_sync("contacts")
    crm.change("alter table insightly.contacts add team text not null default 'none', add row_number serial")
    key = ids(crm, "contacts")[0]
    crm.sandbox.store.update("contacts", key, {"FIRST_NAME": "Zoë"})
    crm.sync_done("contacts")
    changed = crm.read(f"select first_name, team from insightly.contacts where contact_id = {key}")
    assert changed == [{"first_name": "Zoë", "team": "none"}]


def test_postgres_is_read_beside_a_run(crm: PostgresCrm) -> None:
    crm.first_sync("notes")
    with crm.target.lock(), crm.target.reading(wait=0.01) as pipeline:
        assert ("notes", "sync") in last_runs(pipeline)


def test_postgres_run_that_lost_its_lock_takes_it_again_or_stops(
    crm: PostgresCrm, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'insightly pid%'"
    first, second = crm.target, crm.target
    with first.lock():
        crm.change(cut)
        first.adapter.check_lock()
        crm.change(cut)
        with other_machine(crm, monkeypatch), second.lock(wait=5), pytest.raises(Busy, match="was closed"):
            first.adapter.check_lock()


LOADER_LACKS = {
    "revoke insert on insightly.contacts from loader": r"loader lacks INSERT on insightly.contacts: grant insert",
    "revoke usage, create on schema insightly from loader": r"loader lacks USAGE on schema insightly, CREATE on",
    "alter table insightly.contacts owner to postgres; grant all on insightly.contacts to loader": (
        r"insightly.contacts belongs to postgres.*alter table insightly.contacts owner to loader"
    ),
    "revoke temporary on database {database} from public": r"loader lacks TEMPORARY on database {database}: grant temp",
    "alter role loader set default_transaction_read_only = on": "the database is read-only",
}


@pytest.mark.sample(0)
def test_postgres_says_which_right_is_missing(crm: PostgresCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    url, name = crm.url, crm.read("select current_database() as name")[0]["name"]
    crm.change("create role loader login")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", url.replace("postgres:unused", "loader:unused"))
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    row = crm.sandbox.store.rows("contacts")[0]
    try:
        report = crm.sync("contacts")
        assert f"user loader lacks CREATE on database {name}: grant create on database {name}" in str(report.reason)
        crm.change(f"grant create on database {name} to loader")
        crm.sync_done("contacts")
        for number, (change, expected) in enumerate(LOADER_LACKS.items()):
            crm.change("alter schema insightly owner to postgres; grant all on schema insightly to loader")
            crm.change(change.format(database=name))
            crm.sandbox.store.put_raw("contacts", {**row, f"COLOUR{number}": "red"})
            try:
                reason = str(crm.sync("contacts", request=ReadRequest(full=True)).reason)
            except InsightlyError as error:
                reason = str(error)
            assert re.search(expected.format(database=name), reason), reason
            assert "\n" not in reason
            crm.change("alter table insightly.contacts owner to loader; alter role loader reset all")
            crm.change(f"grant insert on insightly.contacts to loader; grant temporary on database {name} to public")
        crm.change("grant all on schema insightly to loader")
        crm.sync_done("contacts")
    finally:
        crm.change("drop owned by loader; drop role loader")


@pytest.mark.sample(0)
def test_postgres_names_the_session_that_locks_a_table(crm: PostgresCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm.first_sync("contacts")
    crm.sandbox.store.update("contacts", ids(crm, "contacts")[0], {"TITLE": "changed"})
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", f"{crm.url}&options=-clock_timeout%3D100ms")
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    with closing(psycopg2.connect(crm.url, application_name="report")) as other, other.cursor() as cursor:
        cursor.execute("lock table insightly.contacts in share mode")
        reason = str(crm.sync("contacts").reason)
        pid = other.info.backend_pid
    assert re.search(rf"insightly.contacts is locked by .* pid {pid}, database user postgres, report, idle in", reason)
    crm.sync_done("contacts")
    crm.assert_equal("contacts")


def test_options_of_the_credentials_may_be_several(crm: PostgresCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    options = "&options=-clock_timeout%3D100ms%20-cwork_mem%3D8MB"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", crm.url + options)
    adapter = crm.target.adapter
    with adapter.lock("insightly", 0, True), crm.target.pipeline().sql_client() as client:
        shown = [client.execute_sql(f"show {name}") for name in ("lock_timeout", "work_mem", "statement_timeout")]
    assert shown == [[("100ms",)], [("8MB",)], [("1h",)]]


def test_sync_connects_through_the_socket_in_the_query(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(crm, PostgresCrm)
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", crm.url.replace(":unused@localhost/", ":@/"))
    crm.sync_done("lead_sources")
    crm.assert_equal("lead_sources")
