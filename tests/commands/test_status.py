"""The rows of `_sync_runs`, and the report of `status`."""

from collections.abc import Callable
from datetime import timedelta
from errno import ENOSPC
from typing import Any

import pytest
from dlt.common.schema import Schema
from dlt.load.load import Load

from pipelines.cli.console import show
from pipelines.commands.plan import plan
from pipelines.commands.status import status
from pipelines.commands.sweep import sweep
from pipelines.commands.sync import sync
from pipelines.dashboard.build import build_page
from pipelines.destinations.system_tables import RUNS
from pipelines.destinations.target import NothingSynced, Unreachable
from pipelines.sandbox import Fault
from sources.insightly.errors import BadSetting
from sources.insightly.state.request import ReadRequest
from tests.support.crm import Crm
from tests.support.process import command, reach

HOUR = timedelta(hours=1)


def runs(crm: Crm) -> list[dict[str, object]]:
    return crm.read("select * from insightly._sync_runs order by started, entity")


def test_run_log_has_one_row_per_entity_and_run(crm: Crm) -> None:
    names = ("contacts", "lead_sources", "notes", "tags")
    first = crm.sync_done(*names)
    second = crm.sync_done(*names)
    rows = runs(crm)
    assert [row["entity"] for row in rows] == [*names, *names]
    assert len({row["run_id"] for row in rows}) == 2
    by_entity = {row["entity"]: row for row in rows[len(names) :]}
    for name, entity in second.entities.items():
        row = by_entity[name]
        assert (row["command"], row["state"], row["rows"], row["calls"]) == ("sync", "ok", entity.rows, entity.calls)
        assert row["calls_left_today"] == second.calls_left_today
        assert row["started"] <= row["finished"]  # type: ignore[operator]
    contacts = by_entity["contacts"]
    assert _iso(contacts["watermark_before"]) == first.entities["contacts"].watermark
    assert _iso(contacts["watermark_after"]) == second.entities["contacts"].watermark


def test_run_log_has_failed_and_skipped_entities(crm: Crm) -> None:
    crm.first_sync("contacts", "notes")
    crm.sandbox.faults.add(
        Fault("object", match="Notes*", times=None), Fault("forbidden", match="Contacts*", times=None)
    )
    crm.sync("contacts", "notes")
    last = {row["entity"]: row for row in runs(crm)[2:]}
    assert (last["contacts"]["state"], last["notes"]["state"]) == ("skipped", "failed")
    assert "403" in str(last["contacts"]["reason"])
    assert last["notes"]["watermark_after"] == last["notes"]["watermark_before"] is not None


def test_run_log_has_schema_changes(crm: Crm) -> None:
    crm.first_sync("notes")
    crm.sandbox.store.update("notes", crm.sandbox.store.tables["notes"].keys[0], {"MOOD": "good"})
    crm.sync_done("notes")
    assert "notes.mood" in str(runs(crm)[-1]["schema_changes"])


def test_run_in_the_future_counts_as_no_success(crm: Crm) -> None:
    crm.sync_done("contacts", "notes")
    crm.change("update insightly._sync_runs set started = started + interval 1 hour")
    report = status(crm.settings(), crm.target, ["contacts", "notes"], max_age=HOUR)
    assert (report.exit_code, list(report.entities)) == (1, ["contacts", "notes"])
    crm.sync_done("contacts")
    report = status(crm.settings(), crm.target, ["contacts", "notes"], max_age=HOUR)
    assert [entity.facts["stale"] for entity in report.entities.values()] == [False, True]


def test_status_reports_the_last_runs_without_a_call(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    synced = crm.sync_done("contacts", "notes")
    crm.sandbox.reset_log()
    report = status(crm.settings(api_key=None), crm.target)
    assert crm.sandbox.log == []
    assert list(report.entities) == ["contacts", "notes"]
    contacts = report.entities["contacts"]
    assert (contacts.state, contacts.rows, contacts.watermark) == (
        "ok",
        synced.entities["contacts"].rows,
        synced.entities["contacts"].watermark,
    )
    assert report.calls_left_today == synced.calls_left_today
    assert report.facts["account"] == "Sandbox Trading"
    assert contacts.facts["last_sweep"] is None
    show(report)
    assert "never" in capsys.readouterr().out


def test_status_fails_if_a_sync_is_older_than_max_age(crm: Crm) -> None:
    crm.first_sync("contacts", "notes")
    target, settings = crm.target, crm.settings()
    assert status(settings, target, max_age=HOUR).exit_code == 0
    crm.change("update insightly._sync_runs set started = started - interval 2 hour where entity = 'notes'")
    stale = status(settings, target, max_age=HOUR)
    assert (stale.exit_code, stale.status) == (1, "failed")
    assert (stale.entities["contacts"].facts["stale"], stale.entities["notes"].facts["stale"]) == (False, True)
    assert "notes" in (stale.reason or "")
    assert status(settings, target, max_age=3 * HOUR).exit_code == 0
    assert status(settings, target, ["contacts"], max_age=HOUR).exit_code == 0


def test_status_counts_only_a_complete_sync(crm: Crm) -> None:
    crm.sync("contacts", page_size=5, max_calls=3)
    report = status(crm.settings(), crm.target, max_age=HOUR)
    assert (report.exit_code, report.entities["contacts"].state) == (1, "partial")
    assert report.entities["contacts"].facts["last_complete_sync"] is None
    crm.sync_done("contacts", request=ReadRequest())
    assert status(crm.settings(), crm.target, max_age=HOUR).exit_code == 0


def test_status_of_an_unavailable_entity_is_not_stale(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("missing", match="Product*", times=None))
    crm.sync("core")
    report = status(crm.settings(), crm.target, max_age=HOUR)
    assert (report.exit_code, report.entities["products"].state) == (0, "skipped")


def test_status_creates_nothing_if_nothing_was_synced(crm: Crm) -> None:
    with pytest.raises(NothingSynced, match="run insightly sync first"):
        status(crm.settings(), crm.target)
    assert not crm.database.exists()


def test_commands_print_their_tables(crm: Crm) -> None:
    crm.first_sync("contacts", "notes")
    at, settings = ("--database", str(crm.database)), reach(crm.sandbox)
    sweep = command("sweep", "contacts", *at, cwd=crm.folder, **settings)
    assert (sweep.code, "ids read" in sweep.out) == (0, True)
    plan = command("sweep", "contacts", "--plan", "--tags", "--json", *at, cwd=crm.folder, **settings)
    tags = len(crm.sandbox.store.tag_names("contacts"))
    assert (plan.code, plan.json["entities"]["contacts"]["calls"]) == (0, 1 + 1 + tags)
    assert plan.json["entities"]["contacts"]["total"] == crm.sandbox.store.count("contacts")
    verify = command("verify", "contacts", *at, cwd=crm.folder, **settings)
    assert (verify.code, "proved" in verify.out) == (0, True)
    shown = command("status", "--json", *at, cwd=crm.folder)
    assert (shown.code, shown.json["command"]) == (0, "status")
    assert shown.json["entities"]["contacts"]["last_verify"] is not None
    stale = command("status", "--max-age", "0s", *at, cwd=crm.folder)
    assert (stale.code, "--max-age" in stale.out) == (1, True)


def _iso(timestamp: object) -> str:
    return timestamp.strftime("%Y-%m-%dT%H:%M:%SZ")  # type: ignore[attr-defined,no-any-return]


def test_status_and_dashboard_read_what_reached_the_destination(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a full disk, the working folder knows tables that the file does not have."""
    load = Load.load_single_package

    def load_until_full(self: Load, load_id: str, schema: Schema) -> None:
        if RUNS in schema.tables:
            raise OSError(ENOSPC, "No space left on device")
        load(self, load_id, schema)

    with monkeypatch.context() as patch:
        patch.setattr(Load, "load_single_package", load_until_full)
        assert "No space left" in (crm.sync("notes").reason or "")
    assert crm.columns(RUNS) == {}
    with pytest.raises(NothingSynced, match="run insightly sync first"):
        status(crm.settings(), crm.target)
    assert build_page(crm.target, HOUR).health is None
    planned = plan(crm.settings(), crm.target, ["notes"], ReadRequest())
    assert planned.entities["notes"].facts["total"] == crm.sandbox.store.count("notes")
    crm.sync_done("notes")
    assert status(crm.settings(), crm.target).entities["notes"].state == "ok"


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(1)
@pytest.mark.parametrize("run", [sync, sweep])
def test_dropped_system_tables_are_named_and_the_next_run_creates_them(crm: Crm, run: Callable[..., Any]) -> None:
    crm.first_sync("notes")
    crm.change("drop table insightly._sync_runs; drop table insightly.deletions")
    with pytest.raises(Unreachable, match=r"_sync_runs.*; insightly sync creates this table again"):
        status(crm.settings(), crm.target)
    with pytest.raises(Unreachable, match=r"_sync_runs.*; insightly sync creates this table again"):
        build_page(crm.target, HOUR)
    assert run(crm.settings(), crm.target, ["notes"]).exit_code == 0
    assert [row["command"] for row in runs(crm)] == [run.__name__]
    assert crm.count("deletions") == 0
    assert build_page(crm.target, HOUR).health is not None


@pytest.mark.everywhere("postgres", quick=True)
@pytest.mark.parametrize("table", ["_dlt_loads", "_dlt_pipeline_state"])
def test_next_sync_reads_everything_again_if_a_table_of_dlt_was_dropped(crm: Crm, table: str) -> None:
    crm.first_sync("notes")
    crm.change(f"drop table insightly.{table}")
    with pytest.raises(NothingSynced):
        status(crm.settings(), crm.target)
    assert not crm.read(f"select 1 from information_schema.tables where table_name = '{table}'")
    assert crm.sync_done("notes").entities["notes"].rows == crm.count("notes")
    assert crm.sync_done("notes").entities["notes"].rows == 0
    crm.assert_equal("notes")


@pytest.mark.parametrize("statement", ["drop table", "delete from"])
def test_dataset_that_lost_its_schema_is_refused_with_the_reason(crm: Crm, statement: str) -> None:
    crm.first_sync("notes")
    crm.change(f"{statement} insightly._dlt_version")
    refused = r"--dataset is 'insightly': its table _dlt_version has lost the schema of the other tables; restore it"
    with pytest.raises(BadSetting, match=refused):
        status(crm.settings(), crm.target)
    with pytest.raises(BadSetting, match=refused):
        crm.sync("notes")


def test_status_counts_the_rows_of_the_tables(crm: Crm) -> None:
    crm.first_sync("notes")
    total = crm.count("notes")
    key = crm.sandbox.store.tables["notes"].keys[0]
    crm.sandbox.store.update("notes", key, {"TITLE": "changed"})
    crm.sync_done("notes")
    crm.change(f"update insightly.notes set _deleted_at = now() where note_id <> {key} and note_id % 2 = 0")
    deleted = crm.read("select count(*) as n from insightly.notes where _deleted_at is not null")[0]["n"]
    notes = status(crm.settings(), crm.target).entities["notes"]
    assert (notes.rows, notes.deleted, notes.facts["received"]) == (total - deleted, deleted, 1)
    assert deleted > 0


def test_status_of_a_named_entity_that_was_never_synced_is_stale(crm: Crm) -> None:
    crm.first_sync("notes")
    assert list(status(crm.settings(), crm.target, max_age=HOUR).entities) == ["notes"]
    report = status(crm.settings(), crm.target, ["notes", "contacts"], max_age=HOUR)
    assert (report.exit_code, report.entities["contacts"].facts["stale"]) == (1, True)
    assert report.entities["contacts"].reason == "never synced: run insightly sync"


def test_status_shows_the_last_failure(crm: Crm, capsys: pytest.CaptureFixture[str]) -> None:
    crm.first_sync("contacts", "notes")
    report = status(crm.settings(), crm.target)
    assert report.facts["last_failure"] is None
    crm.sandbox.faults.add(Fault("object", match="Notes*", times=1))
    crm.sync("contacts", "notes")
    failure = status(crm.settings(), crm.target).facts["last_failure"]
    assert (failure["command"], failure["entities"], failure["open"]) == ("sync", ["notes"], True)
    assert "Notes" in failure["reason"]
    crm.sync_done("contacts", "notes")
    report = status(crm.settings(), crm.target, max_age=HOUR)
    assert report.facts["last_failure"]["open"] is False
    show(report)
    out = capsys.readouterr().out
    assert "last failure: sync of notes" in out
    assert "ago, done since: " in out
    assert out.count("fresh") == 1 + 2
