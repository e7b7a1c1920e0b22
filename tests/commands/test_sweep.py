"""The sweep over HTTP: it marks only deleted records, restores reappeared ones, and repairs tags."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from pipelines.sandbox import Fault, Store
from sources.insightly import ENTITIES
from sources.insightly.errors import ConfigurationError
from sources.insightly.paging.probe import grid
from sources.insightly.state.request import ReadRequest
from tests.support.commands import MakeCrm, delete, ledger, marked, swept
from tests.support.crm import Crm, contents_of


def ids(crm: Crm, entity: str) -> list[int]:
    return list(crm.sandbox.store.tables[entity].keys)


def paths(crm: Crm) -> list[str]:
    return [call.path for call in crm.sandbox.log]


@contextmanager
def nothing_marked(crm: Crm) -> Iterator[None]:
    yield
    assert marked(crm, "contacts") == []
    assert ledger(crm) == []


# Deleted records


def test_sweep_of_unchanged_account_costs_one_call_per_table(crm: Crm) -> None:
    crm.first_sync()
    report = swept(crm)
    assert report.calls == sum(ENTITIES[name].read == "incremental" for name in report.entities) == len(paths(crm))
    assert sum(entity.deleted for entity in report.entities.values()) == 0


@pytest.mark.everywhere("postgres", "delta")
def test_sweep_marks_and_logs_deleted_records(crm: Crm) -> None:
    names = ("contacts", "leads", "notes")
    crm.first_sync(*names)
    contacts, notes = ids(crm, "contacts"), ids(crm, "notes")
    delete(crm, "contacts", contacts[0], contacts[17], contacts[-1])
    delete(crm, "notes", notes[5])
    report = swept(crm, *names)
    assert marked(crm, "contacts") == [contacts[0], contacts[17], contacts[-1]]
    assert marked(crm, "notes") == [notes[5]]
    assert [row[:3] for row in ledger(crm)] == [
        *(("contacts", contacts[at], "deleted") for at in (0, 17, -1)),
        ("notes", notes[5], "deleted"),
    ]
    assert (report.entities["contacts"].deleted, report.entities["notes"].deleted) == (3, 1)
    again = swept(crm, *names)
    assert (again.calls, len(ledger(crm))) == (len(names), 4)


def test_sweep_reads_few_pages_of_a_long_list(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.5)
    crm.first_sync("contacts", page_size=10)
    gone = sorted(random.Random(3).sample(ids(crm, "contacts"), 3))
    delete(crm, "contacts", *gone)
    swept(crm, "contacts", page_size=10)
    assert marked(crm, "contacts") == gone
    pages = [path for path in paths(crm) if path == "/Contacts"]
    assert len(pages) < 25 < len(grid(500, 10)) == 56
    assert sorted(set(paths(crm)) - {"/Contacts"}) == [f"/Contacts/{key}" for key in gone]


def test_sweep_marks_by_the_list_what_the_api_returns_in_lists_only(crm: Crm) -> None:
    crm.first_sync("marketing_visits")
    gone = ids(crm, "marketing_visits")[:3]
    delete(crm, "marketing_visits", *gone)
    swept(crm, "marketing_visits")
    assert [(name, id_, reason) for name, id_, reason, *_ in ledger(crm)] == [
        ("marketing_visits", id_, "unlisted") for id_ in gone
    ]
    assert marked(crm, "marketing_visits") == gone
    assert set(paths(crm)) == {"/MarketingVisits"}


@pytest.mark.everywhere("postgres", "delta")
def test_sweep_removes_rows_and_child_rows_by_setting(crm: Crm) -> None:
    crm.first_sync("contacts")
    full = next(row for row in crm.sandbox.store.rows("contacts") if row["TAGS"] and row["LINKS"])
    delete(crm, "contacts", full["CONTACT_ID"])
    swept(crm, "contacts", deletions="remove")
    assert ledger(crm) == [("contacts", full["CONTACT_ID"], "deleted", False)]
    crm.assert_equal("contacts")
    for array in ("tags", "links", "dates"):
        assert full["CONTACT_ID"] not in [row["contact_id"] for row in crm.table(f"contacts__{array}")]


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(1)
@pytest.mark.parametrize("mode", ["mark", "remove"])
def test_sweep_removes_only_child_rows_without_a_record(crm: Crm, mode: str) -> None:
    """A kill between the loads of two tables leaves them if the record is deleted before the next run."""
    crm.first_sync("contacts")
    full = next(row for row in crm.sandbox.store.rows("contacts") if row["TAGS"] and row["LINKS"])
    delete(crm, "contacts", full["CONTACT_ID"])
    swept(crm, "contacts", deletions="mark")
    crm.change("insert into insightly.contacts__tags (contact_id, list_idx, tag_name) values (7, 0, 'x')")
    crm.change("insert into insightly.contacts__links (contact_id, list_idx) values (7, 0), (8, 0), (8, 1)")
    notes = swept(crm, "contacts", deletions=mode).entities["contacts"].schema_changes
    assert notes == ["4 child rows without a parent row are removed"]
    crm.assert_equal("contacts", deleted=True)
    assert full["CONTACT_ID"] in [row["contact_id"] for row in crm.table("contacts__links")]
    assert swept(crm, "contacts").entities["contacts"].schema_changes == []


def test_sweep_distinguishes_hidden_from_deleted(crm: Crm) -> None:
    crm.first_sync("contacts")
    key, other = ids(crm, "contacts")[3:5]
    delete(crm, "contacts", key, other)
    crm.sandbox.faults.add(Fault("forbidden", match=f"Contacts/{key}"))
    swept(crm, "contacts")
    assert ledger(crm) == [("contacts", key, "hidden", False), ("contacts", other, "deleted", False)]


def test_thorough_sweep_finds_deletion_masked_by_an_unknown_record(crm: Crm) -> None:
    store = crm.sandbox.store
    old = store.rows("notes")[10]
    store.delete("notes", old["NOTE_ID"])
    crm.first_sync("notes", page_size=5)
    delete(crm, "notes", ids(crm, "notes")[10])
    store.put_raw("notes", old)
    swept(crm, "notes", page_size=5)
    assert marked(crm, "notes") == []
    swept(crm, "notes", thorough=True, page_size=5)
    assert len(marked(crm, "notes")) == 1
    crm.assert_equal("notes", deleted=True)


def test_sweep_compares_only_records_since_start_date(crm: Crm) -> None:
    stamps = sorted(row["DATE_UPDATED_UTC"] for row in crm.sandbox.store.rows("contacts"))
    crm.first_sync("contacts", start_date=stamps[20].replace(" ", "T") + "Z")
    loaded = crm.count("contacts")
    assert 0 < loaded < len(stamps)
    key = next(row["CONTACT_ID"] for row in crm.sandbox.store.rows("contacts") if row["DATE_UPDATED_UTC"] == stamps[-1])
    delete(crm, "contacts", key)
    report = swept(crm, "contacts")
    assert marked(crm, "contacts") == [key]
    assert crm.count("contacts") == loaded
    assert report.entities["contacts"].merged == 0


# Guards


@pytest.mark.everywhere("postgres", "delta")
def test_sweep_refuses_a_large_loss_unless_forced(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.2)
    crm.first_sync("contacts", "notes")
    gone = ids(crm, "contacts")[:160]
    delete(crm, "contacts", *gone)
    with nothing_marked(crm):
        report = swept(crm, code=1)
        assert report.entities["contacts"].state == "failed"
        assert report.entities["notes"].state == "ok"
        reason = report.entities["contacts"].reason or ""
        assert "160 of 200" in reason
        assert "max_deleted_share (0.2)" in reason
        assert "insightly sweep contacts --force" in reason
    swept(crm, "contacts", force=True)
    assert marked(crm, "contacts") == gone
    assert len([path for path in paths(crm) if path != "/Contacts"]) == 20


def test_sweep_refuses_all_if_one_of_the_sample_is_readable(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.2)
    crm.first_sync("contacts")
    gone = delete(crm, "contacts", *ids(crm, "contacts")[:160])

    def come_back(store: Store) -> None:
        for row in gone:
            store.put_raw("contacts", row)

    crm.sandbox.faults.add(Fault("call", match="Contacts/*", nth=1, action=come_back))
    with nothing_marked(crm):
        report = swept(crm, "contacts", code=1, force=True, max_connections=1)
        assert "can be read" in (report.reason or "")


def test_sweep_keeps_an_unlisted_record_that_is_readable(crm: Crm) -> None:
    crm.first_sync("contacts")
    row = delete(crm, "contacts", ids(crm, "contacts")[4])[0]
    crm.sandbox.faults.add(
        Fault("call", match="Contacts/*", action=lambda store: store.put_raw("contacts", row)),
    )
    with nothing_marked(crm):
        report = swept(crm, "contacts")
        assert any("not listed but readable: kept" in note for note in report.entities["contacts"].schema_changes)


@pytest.mark.sample(1)
@pytest.mark.parametrize("kind", ["forbidden", "missing"])
def test_sweep_of_a_forbidden_collection_marks_nothing(crm: Crm, kind: str) -> None:
    crm.first_sync("contacts", "notes")
    delete(crm, "contacts", *ids(crm, "contacts")[:3])
    crm.sandbox.faults.add(Fault(kind, match="Contacts", times=None))
    with nothing_marked(crm):
        report = swept(crm, "contacts", "notes", code=1)
        assert report.entities["contacts"].state == "skipped"
        assert report.entities["notes"].state == "ok"


@pytest.mark.sample(2)
@pytest.mark.parametrize("calls", range(6))
def test_sweep_at_max_calls_marks_only_confirmed_records(crm: Crm, calls: int) -> None:
    crm.first_sync("contacts")
    gone = ids(crm, "contacts")[10:13]
    delete(crm, "contacts", *gone)
    report = swept(crm, "contacts", code=3 if calls < 4 else 0, max_calls=calls)
    assert len(paths(crm)) == min(calls, 4)
    assert len(marked(crm, "contacts")) == max(min(calls, 4) - 1, 0) == report.entities["contacts"].deleted
    swept(crm, "contacts")
    assert marked(crm, "contacts") == gone


def test_sweep_skips_an_incompletely_loaded_entity(crm: Crm) -> None:
    crm.sync("contacts", page_size=5, max_calls=3)
    report = swept(crm, "contacts", code=1)
    assert report.entities["contacts"].state == "skipped"
    assert "insightly sync" in (report.reason or "")
    assert report.calls == 0


def test_sweep_does_not_create_a_destination(crm: Crm) -> None:
    with pytest.raises(Exception, match="run insightly sync first"):
        swept(crm)
    assert not crm.made()


def test_sweep_refuses_another_account(crm: Crm, make_crm: MakeCrm) -> None:
    crm.first_sync("contacts")
    contents = replace(contents_of(0.05), instance={"INSTANCE_NAME": "Other", "INSTANCE_SUBDOMAIN": "other"})
    other = make_crm(contents=contents, key="00000000-0000-0000-0000-00000000aaaa")
    with pytest.raises(ConfigurationError, match="Other"):
        swept(other)


# Reappeared and missing records


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(2)
@pytest.mark.parametrize("mode", ["mark", "remove"])
@pytest.mark.parametrize(
    ("by", "moved"),
    [("sync", True), ("sweep", True), ("sweep", False)],
    ids=["sync sees its new stamp", "sweep", "sweep sees its old stamp"],
)
def test_sweep_restores_a_reappeared_record(crm: Crm, mode: str, moved: bool, by: str) -> None:
    crm.first_sync("contacts")
    key = ids(crm, "contacts")[7]
    row = delete(crm, "contacts", key)[0]
    swept(crm, "contacts", deletions=mode)
    crm.sandbox.store.put_raw("contacts", row)
    if moved:
        crm.sandbox.store.touch("contacts", key)
    if by == "sync":
        crm.sync_done("contacts")
    else:
        swept(crm, "contacts", deletions=mode)
    assert marked(crm, "contacts") == []
    assert ledger(crm) == [("contacts", key, "deleted", True)]
    crm.assert_equal("contacts")


@pytest.mark.everywhere("postgres", "delta")
def test_sweep_reads_missing_records_with_child_rows(crm: Crm) -> None:
    rows = delete(crm, "organisations", *ids(crm, "organisations")[2:6])
    crm.first_sync("organisations")
    for row in rows:
        crm.sandbox.store.put_raw("organisations", row)
    report = swept(crm, "organisations")
    assert report.entities["organisations"].merged == 4
    crm.assert_equal("organisations")


def test_sweep_reads_many_missing_records_by_their_list(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.2)
    rows = delete(crm, "contacts", *ids(crm, "contacts")[50:150])
    first = crm.sync_done("contacts")
    for row in rows:
        crm.sandbox.store.put_raw("contacts", row)
    report = swept(crm, "contacts")
    assert report.calls < 6
    assert report.entities["contacts"].watermark >= first.entities["contacts"].watermark  # type: ignore[operator]
    crm.assert_equal("contacts")


@pytest.mark.parametrize("count", [3, 60])
def test_sweep_reads_new_records_by_one_search(make_crm: MakeCrm, count: int) -> None:
    crm = make_crm(scale=0.1)
    crm.first_sync("contacts")
    for _ in range(count):
        crm.sandbox.store.create("contacts", {"FIRST_NAME": "New"})
    swept(crm, "contacts")
    assert paths(crm).count("/Contacts/Search") == 1
    assert len(paths(crm)) < 5
    crm.assert_equal("contacts")


def test_sweep_leaves_new_records_to_the_sync_if_older_ones_are_missing(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.05)
    (row,) = delete(crm, "contacts", ids(crm, "contacts")[7])
    crm.sync_done("contacts")
    crm.sandbox.store.put_raw("contacts", row)
    for _ in range(15):
        crm.sandbox.store.create("contacts", {"FIRST_NAME": "New"})
    report = swept(crm, "contacts").entities["contacts"]
    assert [path for path in paths(crm) if path.startswith("/Contacts/")] == [f"/Contacts/{row['CONTACT_ID']}"]
    assert "15 records are newer than the last sync: the next one reads them" in report.schema_changes
    crm.sync_done("contacts")
    crm.assert_equal("contacts")


# Full syncs


@pytest.mark.everywhere("postgres", "delta")
def test_full_sync_marks_missing_records(crm: Crm) -> None:
    crm.first_sync("contacts")
    gone = ids(crm, "contacts")[5:8]
    delete(crm, "contacts", *gone)
    report = crm.sync_done("contacts", request=ReadRequest(full=True))
    assert (report.entities["contacts"].deleted, marked(crm, "contacts")) == (3, gone)


@pytest.mark.sample(0)
def test_full_sync_over_several_runs_marks_missing_records(crm: Crm) -> None:
    crm.first_sync("contacts")
    gone = ids(crm, "contacts")[5:8]
    delete(crm, "contacts", *gone)
    assert crm.sync("contacts", request=ReadRequest(full=True), page_size=7, max_calls=4).exit_code == 3
    crm.sync_done("contacts", page_size=7)
    assert marked(crm, "contacts") == gone


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(0)
@pytest.mark.parametrize("again", [True, False], ids=["--full again", "plain"])
def test_repeated_full_sync_with_max_calls_ends_and_marks(crm: Crm, again: bool) -> None:
    """No run has the calls for a sweep too, and a finished entity does not start again."""
    crm.first_sync("contacts", "notes", "lead_sources")
    gone = ids(crm, "contacts")[5:11]
    delete(crm, "contacts", *gone)
    crm.sandbox.store.update("notes", ids(crm, "notes")[0], {"TITLE": "unseen"}, touch=False)
    rows, runs = 0, 0
    request = ReadRequest(full=True)
    while (
        report := crm.sync("contacts", "notes", "lead_sources", request=request, page_size=10, max_calls=4)
    ).exit_code:
        assert (report.exit_code, report.calls <= 4) == (3, True)
        rows, runs, request = rows + report.entities["contacts"].rows, runs + 1, ReadRequest(full=again)
        assert runs < 9
    assert rows == crm.sandbox.store.count("contacts")
    assert marked(crm, "contacts") == gone
    crm.assert_equal("contacts", "notes", "lead_sources", deleted=True)
    again = crm.sync_done("contacts", "notes", "lead_sources", request=ReadRequest(full=True))
    assert [entity.rows for entity in again.entities.values()] == [
        crm.sandbox.store.count(name) for name in ("contacts", "lead_sources", "notes")
    ]


@pytest.mark.sample(0)
def test_full_sync_ends_despite_readable_unlisted_records(crm: Crm) -> None:
    crm.first_sync("contacts")
    rows = delete(crm, "contacts", *ids(crm, "contacts")[5:11])

    def come_back(store: Store) -> None:
        for row in rows:
            store.put_raw("contacts", row)

    crm.sandbox.faults.add(Fault("call", match="Contacts/*", nth=1, action=come_back))
    runs = 1
    while crm.sync("contacts", request=ReadRequest(full=True), max_calls=4).exit_code:
        runs += 1
        assert runs < 4
    assert marked(crm, "contacts") == []
    assert crm.sync_done("contacts").calls == 1


@pytest.mark.sample(0)
def test_full_sync_with_a_failed_entity_starts_again(crm: Crm) -> None:
    crm.first_sync("contacts", "products")
    crm.sandbox.faults.add(Fault("missing", match="Product*", times=None))
    for _ in range(2):
        report = crm.sync("contacts", "products", request=ReadRequest(full=True))
        assert (report.exit_code, report.entities["contacts"].rows) == (1, crm.sandbox.store.count("contacts"))


@pytest.mark.sample(0)
def test_since_during_an_unfinished_full_sync_is_reported(crm: Crm) -> None:
    crm.first_sync("contacts")
    gone = ids(crm, "contacts")[5]
    delete(crm, "contacts", gone)
    crm.sync("contacts", request=ReadRequest(full=True), page_size=10, max_calls=4)
    report = crm.sync_done("contacts", request=ReadRequest(since="2026-06-01T00:00:00Z"), page_size=10)
    assert any("--since 2026-06-01T00:00:00Z" in note for note in report.entities["contacts"].schema_changes)
    assert marked(crm, "contacts") == [gone]


@pytest.mark.sample(0)
def test_full_sync_refuses_a_large_loss(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.2)
    crm.first_sync("contacts")
    delete(crm, "contacts", *ids(crm, "contacts")[:160])
    with nothing_marked(crm):
        report = crm.sync("contacts", request=ReadRequest(full=True))
        assert (report.exit_code, report.entities["contacts"].state) == (1, "failed")
        assert "max_deleted_share" in (report.reason or "")


# Edits during a sweep


@pytest.mark.sample(1)
@pytest.mark.parametrize("thorough", [False, True])
@pytest.mark.parametrize("kind", ["delete_before", "create"])
def test_sweep_marks_no_live_record_if_rows_move_meanwhile(crm: Crm, kind: str, thorough: bool) -> None:
    crm.first_sync("contacts", page_size=5)
    delete(crm, "contacts", *ids(crm, "contacts")[20:23])
    crm.sandbox.faults.add(Fault(kind, match="Contacts", nth=2, times=3, count=2))
    swept(crm, "contacts", thorough=thorough, page_size=5, max_connections=1)
    assert set(marked(crm, "contacts")).isdisjoint(ids(crm, "contacts"))
    swept(crm, "contacts", thorough=True)
    crm.sync_done("contacts")
    crm.assert_equal("contacts", deleted=True)
    loaded = {row["contact_id"] for row in crm.table("contacts")}
    assert set(marked(crm, "contacts")) == loaded - set(ids(crm, "contacts"))


# Tags


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(0)
@pytest.mark.parametrize("tags", ["auto", "endpoint"])
def test_tag_sweep_repairs_tags_that_changed_no_date(crm: Crm, tags: str) -> None:
    store: Store = crm.sandbox.store
    tagged = ("contacts", "leads", "organisations", "projects", "opportunities")
    crm.first_sync(*tagged, tags=tags)
    for entity in tagged[:3]:
        keys = ids(crm, entity)
        store.set_tags(entity, keys[0], ["brand new", "a & b", "Grün", 'O\'Neil "x"'], touch=False)
        store.set_tags(entity, keys[1], [], touch=False)
        store.set_tags(entity, keys[2], store.tag_names(entity)[:1], touch=False)
    assert crm.sync_done(*tagged, tags=tags).entities["contacts"].rows == 0
    report = swept(crm, with_tags=True, tags=tags)
    assert report.entities["contacts"].merged >= 2
    crm.assert_equal(*tagged)


@pytest.mark.sample(0)
def test_tag_sweep_does_not_reload_correct_tags(crm: Crm) -> None:
    crm.first_sync()
    report = swept(crm, with_tags=True)
    assert sum(entity.merged for entity in report.entities.values()) == 0
    assert not [path for path in paths(crm) if path.split("/")[-1].isdigit()]


def test_tag_sweep_skips_tags_that_are_off(crm: Crm) -> None:
    crm.first_sync("leads", tags="off")
    report = swept(crm, "leads", with_tags=True, tags="off")
    assert report.calls == 1
    assert any("tags" in note for note in report.entities["leads"].schema_changes)


@pytest.mark.everywhere("postgres", "delta")
@pytest.mark.sample(0)
def test_sweep_starts_with_the_least_recently_swept_entity(crm: Crm) -> None:
    crm.first_sync("contacts", "notes", "tasks")
    swept(crm, "contacts", "notes", "tasks", code=3, max_calls=1)
    swept(crm, "contacts", "notes", "tasks", code=3, max_calls=1)
    assert paths(crm) == ["/Notes"]


@pytest.mark.everywhere("postgres", "delta")
def test_sweep_is_written_to_the_run_log(crm: Crm) -> None:
    crm.first_sync("contacts")
    delete(crm, "contacts", ids(crm, "contacts")[0])
    swept(crm, "contacts")
    rows = crm.read("select command, entity, state, deleted, calls from insightly._sync_runs order by started")
    assert [tuple(row.values()) for row in rows] == [
        ("sync", "contacts", "ok", 0, 2),
        ("sweep", "contacts", "ok", 1, 2),
    ]
