"""Delta tables, read by DuckDB: every value equals the account's, whatever is done to it."""

import os
import re
import shutil
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pipelines.commands.status import status
from pipelines.destinations.base import Unreachable
from pipelines.destinations.locks import Busy
from sources.insightly import ENTITIES
from sources.insightly.errors import BadSetting
from tests.support.commands import delete, ledger, marked, refreshed, swept, verified
from tests.support.crm import ON_DELTA, Crm, DeltaCrm
from tests.support.expected import SQL_TYPES
from tests.support.kill import Call, run_and_die
from tests.support.masking import HASH_KEY
from tests.support.process import command, reach
from tests.support.push import ids, jsonl, people, pushed

MakeCrm = Callable[..., Crm]
pytestmark = ON_DELTA
NAMES = ("contacts", "notes", "lead_sources", "tags")


@pytest.mark.sample(0)
def test_delta_follows_edits_deletions_and_returns(crm: Crm) -> None:
    store = crm.sandbox.store
    crm.sync_done(*NAMES)
    crm.assert_equal(*NAMES)

    tagged = [row["CONTACT_ID"] for row in store.rows("contacts") if row["TAGS"] and row["LINKS"]]
    store.set_tags("contacts", tagged[0], [])
    store.set_tags("contacts", tagged[1], ["only one"])
    store.update("contacts", tagged[2], {"LINKS": [], "PHONE": None})
    store.delete("lead_sources", ids(crm, "lead_sources")[0])
    gone = delete(crm, "contacts", tagged[3], tagged[4])
    crm.sync_done(*NAMES)
    crm.assert_equal(*NAMES, deleted=True)

    swept(crm, *NAMES)
    deleted = sorted(row["CONTACT_ID"] for row in gone)
    assert marked(crm, "contacts") == deleted
    assert ledger(crm) == [("contacts", id_, "deleted", False) for id_ in deleted]
    verified(crm, *NAMES, full=True)

    store.put_raw("contacts", {**gone[0], "DATE_UPDATED_UTC": crm.clock().strftime("%Y-%m-%d %H:%M:%S")})
    crm.sync_done(*NAMES)
    assert marked(crm, "contacts") == [gone[1]["CONTACT_ID"]]
    assert {row[1]: row[3] for row in ledger(crm)} == {gone[0]["CONTACT_ID"]: True, gone[1]["CONTACT_ID"]: False}
    crm.assert_equal(*NAMES, deleted=True)
    report = status(crm.settings(api_key=None), crm.target, max_age=timedelta(hours=1))
    assert (report.exit_code, report.entities["contacts"].state) == (0, "ok")


@pytest.mark.sample(0)
def test_delta_restores_state_without_the_working_folder(crm: Crm) -> None:
    first = crm.sync_done(*NAMES)
    shutil.rmtree(crm.folder / "dlt")
    again = crm.sync_done(*NAMES)
    assert again.entities["contacts"].rows == 0
    assert again.entities["contacts"].calls == 1
    assert first.entities["contacts"].watermark is not None
    crm.assert_equal(*NAMES)


@pytest.mark.sample(0)
def test_delta_columns_have_their_types_before_a_value_comes(crm: Crm) -> None:
    crm.sync_done("contacts")
    contacts = ENTITIES["contacts"]
    types = {name: facts.type for name, facts in contacts.fields.items() if name not in contacts.arrays}
    expected = {crm.column(name): SQL_TYPES[kind] for name, kind in types.items()}
    assert expected.items() <= crm.columns("contacts").items()
    assert crm.columns("contacts")["_deleted_at"] == "TIMESTAMP WITH TIME ZONE"
    assert crm.count("contacts__dates") == sum(len(row["DATES"]) for row in crm.sandbox.store.rows("contacts"))


@pytest.mark.sample(0)
def test_delta_sweep_killed_between_commits_is_completed(crm: Crm) -> None:
    crm.first_sync("contacts")
    gone = sorted(row["CONTACT_ID"] for row in delete(crm, "contacts", *ids(crm, "contacts")[3:5]))
    run_and_die(crm, ["sweep", "contacts"], Call("pipelines.destinations.delta:DeltaClient.write", "after", 1))
    assert (marked(crm, "contacts"), [row[1] for row in ledger(crm)]) == ([], gone)
    swept(crm, "contacts")
    assert (marked(crm, "contacts"), [row[1] for row in ledger(crm)]) == (gone, gone)


@pytest.mark.sample(0)
@pytest.mark.parametrize(("when", "nth", "kept"), [("after", 2, True), ("before", 1, False), ("after", 4, False)])
def test_delta_killed_load_is_completed_by_the_next_run(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, when: str, nth: int, kept: bool
) -> None:
    monkeypatch.setattr("pipelines.destinations.lease.EXPIRY_SECONDS", 4)
    monkeypatch.setattr("pipelines.destinations.lease.BEAT_SECONDS", 0.2)
    crm.first_sync(*NAMES)
    for key in ids(crm, "contacts")[::2]:
        crm.sandbox.store.update("contacts", key, {"TITLE": "changed", "TAGS": [], "LINKS": []})
    crm.clock.advance()
    run_and_die(crm, ["sync", *NAMES], Call("pipelines.destinations.delta:ReplaceRows.run", when, nth))
    if not kept:
        shutil.rmtree(crm.folder / "dlt")
    crm.sync_done(*NAMES)
    crm.assert_equal(*NAMES)


@pytest.mark.sample(0)
def test_delta_reads_single_records_again(crm: Crm) -> None:
    crm.first_sync("contacts")
    first, second, third = crm.sandbox.store.rows("contacts")[:3]
    for row in (first, second):
        crm.sandbox.store.put_raw("contacts", {**row, "TITLE": "quietly changed", "TAGS": []})
    delete(crm, "contacts", third["CONTACT_ID"])
    refreshed(crm, "contacts", ids=[first["CONTACT_ID"], third["CONTACT_ID"]])
    refreshed(crm, "contacts", where=f"email_address={second['EMAIL_ADDRESS']}")
    assert marked(crm, "contacts") == [third["CONTACT_ID"]]
    crm.assert_equal("contacts", deleted=True)


@pytest.mark.sample(0)
def test_delta_sync_masks_rows_loaded_before(crm: Crm) -> None:
    crm.first_sync("contacts")
    (gone,) = delete(crm, "contacts", next(r["CONTACT_ID"] for r in crm.sandbox.store.rows("contacts") if r["PHONE"]))
    swept(crm, "contacts")
    private: dict[str, Any] = {"hash": ["contacts.email_address"], "drop": ["contacts.phone"], "hash_key": HASH_KEY}
    crm.sync_done("contacts", **private)
    rows = crm.table("contacts")
    assert gone["CONTACT_ID"] in [row["contact_id"] for row in rows if row["_deleted_at"] is not None]
    assert not [row for row in rows if row["phone"] is not None or "@" in (row["email_address"] or "")]


def test_push_to_delta_is_refused(crm: Crm) -> None:
    crm.first_sync("contacts")
    with pytest.raises(BadSetting, match="keeps its ledger in an SQL database"):
        pushed(crm, "contacts", jsonl(crm, people("Ann")), "create")
    assert len(crm.sandbox.store.rows("contacts")) == crm.count("contacts")


@pytest.mark.sample(0)
def test_delta_folders_have_separate_state(crm: DeltaCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm.first_sync("notes")
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(crm.folder / "delta/inside"))
    assert crm.sync_done("notes").entities["notes"].rows == crm.sandbox.store.count("notes")


@pytest.mark.sample(0)
def test_delta_keeps_old_versions_until_vacuum(crm: DeltaCrm) -> None:
    crm.first_sync("notes")
    version = crm.tables("notes")["notes"].version()
    crm.sandbox.store.update("notes", ids(crm, "notes")[0], {"TITLE": "later"})
    crm.sync_done("notes")
    table = crm.tables("notes")["notes"]
    assert table.version() > version
    table.load_as_version(version)
    assert "later" not in table.to_pyarrow_table()["title"].to_pylist()
    table = crm.tables("notes")["notes"]
    table.optimize.compact()
    assert table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    crm.assert_equal("notes")


@pytest.mark.sample(0)
def test_delta_command(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = command("sync", "notes", "--json", *crm.arguments(), cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, ran.json["entities"]["notes"]["rows"]) == (0, crm.sandbox.store.count("notes"))
    monkeypatch.delenv("DESTINATION__FILESYSTEM__BUCKET_URL")
    ran = command("sync", "notes", "--json", *crm.arguments(), cwd=crm.folder, **reach(crm.sandbox))
    assert (ran.code, "bucket_url" in ran.json["reason"]) == (2, True)


@pytest.mark.parametrize("folder", ["taken", "taken/crm"])
def test_delta_folder_that_cannot_be_written_is_named(
    crm: DeltaCrm, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (crm.folder / "taken").touch()
    url = str(crm.folder / folder)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", url)
    setting = re.escape(f"destination.filesystem.bucket_url is {url!r}: Not a directory: {url}")
    with pytest.raises(BadSetting, match=f"{setting}.*; name a folder"), crm.target.lock():
        pass
    with pytest.raises(Unreachable, match=f"cannot be read: {setting}.*; name a folder"), crm.target.reading():
        pass


def test_delta_table_that_cannot_be_written_is_named(crm: DeltaCrm) -> None:
    crm.sync_done("lead_sources")
    (crm.folder / "delta/insightly/notes").touch()
    report = crm.sync("notes")
    assert report.exit_code == 1
    setting = f"destination.filesystem.bucket_url is '{crm.folder}/delta': "
    assert re.search(f"loading failed.*{setting}.*/delta/insightly/notes; name a folder", str(report.reason))


def test_delta_url_of_unknown_protocol_is_named_without_secrets(crm: DeltaCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", "s4://loader:s3cr3t@bucket/crm?sig=s3cr3t")
    for use in (crm.target.lock, crm.target.reading):
        with pytest.raises(BadSetting, match=r"bucket_url is 's4://\*\*\*@bucket/crm': there is no protocol s4"), use():
            pass


def test_delta_run_waits_for_a_run_of_another_machine(crm: DeltaCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    first = crm.target
    with first.lock():
        with monkeypatch.context() as other:
            other.setenv("DLT_DATA_DIR", str(crm.folder / "other"))
            with pytest.raises(Busy, match=rf"another run \(pid {os.getpid()} of .*, since 20"), crm.target.lock(0.01):
                pass
            with crm.target.lock(0.01, writes=False):
                pass
        first.adapter.check_lock()
        (lease,) = (crm.folder / "delta/_insightly_locks/insightly").iterdir()
        lease.unlink()
        with pytest.raises(Busy, match="expired"):
            first.adapter.check_lock()


def test_delta_lease_of_a_killed_run_expires(crm: DeltaCrm) -> None:
    locks = crm.folder / "delta/_insightly_locks/insightly"
    locks.mkdir(parents=True)
    (locks / "killed").write_text("pid 1 of ada on web1")
    with pytest.raises(Busy, match="ada on web1"), crm.target.lock(0.01):
        pass
    assert [file.name for file in locks.iterdir()] == ["killed"]
    old = time.time() - 46
    os.utime(locks / "killed", (old, old))
    with crm.target.lock(0.01):
        assert len(list(locks.iterdir())) == 1
    assert not list(locks.iterdir())
