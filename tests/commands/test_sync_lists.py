"""Lists without a cursor, and single objects: equal to the account after each sync, whatever their length or order."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipelines.commands.sweep import sweep
from pipelines.commands.sync_selected import selection, sync_selected
from pipelines.commands.verify import verify
from pipelines.destinations.pipeline_state import resource_states
from pipelines.destinations.target import Target
from pipelines.sandbox import Fault
from pipelines.sandbox.api import account
from sources.insightly.api.client import Client
from sources.insightly.entities import ENTITIES
from sources.insightly.state.request import ReadRequest
from tests.support.crm import OPEN, Crm

MakeCrm = Callable[..., Crm]
LONG = {"page_size": 10}


@pytest.fixture(autouse=True)
def _short_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sources.insightly.paging.digests.BLOCK_LENGTH", 8)


def keys(crm: Crm, entity: str) -> list[int]:
    return list(crm.sandbox.store.tables[entity].keys)


def state_of(crm: Crm) -> dict[str, Any]:
    return resource_states(Target(database=str(crm.database)).pipeline())["emails"]


def marked(crm: Crm) -> list[int]:
    rows = crm.read("select email_id from insightly.emails where _deleted_at is not null order by 1")
    return [row["email_id"] for row in rows]


def edit(crm: Crm) -> int:
    """Adds, tags and deletes an e-mail without changing a date; returns the id of the deleted one."""
    store, (first, gone, *_, last) = crm.sandbox.store, keys(crm, "emails")
    store.set_tags("emails", first, ["seen"])
    store.update("emails", last, {"LINKS": [], "SUBJECT": "changed"})
    store.delete("emails", gone)
    store.create("emails", {"SUBJECT": "new"})
    return gone


# Lists without a date of change


def test_unchanged_list_writes_nothing_and_a_change_only_its_block(crm: Crm) -> None:
    first = crm.sync_done("emails", **LONG).entities["emails"]
    assert (first.rows, first.merged, first.calls) == (60, 60, 7)
    again = crm.sync_done("emails", **LONG).entities["emails"]
    assert (again.rows, again.merged, again.calls) == (60, 0, 7)
    crm.sandbox.store.set_tags("emails", keys(crm, "emails")[30], ["seen"])
    assert 0 < crm.sync_done("emails", page_size=17).entities["emails"].merged < 40
    crm.assert_equal("emails")


@pytest.mark.parametrize("mode", ["mark", pytest.param("remove", marks=pytest.mark.sample(0))])
def test_each_sync_finds_edits_and_deletions(crm: Crm, mode: str) -> None:
    crm.first_sync("emails", **LONG)
    gone = edit(crm)
    report = crm.sync_done("emails", deletions=mode, **LONG)
    assert report.entities["emails"].deleted == 1
    crm.assert_equal("emails", deleted=mode == "mark")
    assert marked(crm) == ([gone] if mode == "mark" else [])
    assert [(r["entity"], r["record_id"], r["reason"]) for r in crm.table("deletions")] == [("emails", gone, "deleted")]
    proof = verify(crm.settings(), Target(database=str(crm.database)), ["emails"], full=True)
    assert proof.entities["emails"].facts["proved"]


@pytest.mark.sample(0)
def test_record_that_reappears_unchanged_is_restored(crm: Crm) -> None:
    crm.first_sync("emails", **LONG)
    key = keys(crm, "emails")[20]
    row = crm.sandbox.store.get("emails", key) or {}
    crm.sandbox.store.delete("emails", key)
    # A sweep marks it, so that no sync has read the list without it.
    swept = sweep(crm.settings(**LONG), Target(database=str(crm.database)), ["emails"])
    assert (swept.entities["emails"].deleted, marked(crm)) == (1, [key])
    crm.sandbox.store.put_raw("emails", row)
    crm.sync_done("emails", **LONG)
    crm.assert_equal("emails")
    assert marked(crm) == []
    assert crm.table("deletions")[0]["restored_at"] is not None


@pytest.mark.sample(0)
def test_runs_with_few_calls_end_and_mark_only_then(crm: Crm) -> None:
    crm.first_sync("emails", **LONG)
    gone, before = edit(crm), state_of(crm)["full_at"]
    for run in range(30):
        report = crm.sync("emails", max_calls=3, **LONG)
        assert report.calls == crm.sandbox.calls() <= 3
        if report.exit_code == 0:
            break
        assert report.exit_code == 3
        if state_of(crm)["full_at"] == before:
            assert marked(crm) == []
        if run == 1:
            crm.sandbox.store.delete("emails", keys(crm, "emails")[-2])
    assert report.exit_code == 0
    assert run >= 2
    assert gone in marked(crm)
    crm.sync_done("emails", **LONG)
    crm.assert_equal("emails", deleted=True)
    assert len(marked(crm)) == 2


def test_first_read_in_small_chunks_is_complete(crm: Crm) -> None:
    report = crm.sync_done("emails", chunk_calls=2, page_size=16).entities["emails"]
    assert (report.rows, report.merged) == (60, 60)
    crm.assert_equal("emails")
    assert crm.sync_done("emails", chunk_calls=2, page_size=16).entities["emails"].merged == 0
    assert {"checkpoint", "again", "missing_ids"}.isdisjoint(state_of(crm))


def test_short_response_marks_nothing(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list that is suddenly empty, or that lacks records which can be read."""
    crm.first_sync("emails", **LONG)
    store = crm.sandbox.store
    table, all_keys = store.tables["emails"], list(store.tables["emails"].keys)
    table.keys = []
    empty = crm.sync("emails", **LONG)
    assert (empty.exit_code, empty.entities["emails"].state) == (1, "failed")
    assert "max_deleted_share" in (empty.reason or "")
    table.keys = [key for key in all_keys if key != all_keys[5]]
    unlisted = crm.sync_done("emails", **LONG).entities["emails"]
    assert any("not listed but readable: kept" in note for note in unlisted.schema_changes)
    assert marked(crm) == []
    table.keys = all_keys
    crm.sync_done("emails", **LONG)
    crm.assert_equal("emails")


@pytest.mark.sample(0)
@pytest.mark.parametrize(
    "fault",
    ["forbidden", *(pytest.param(kind, marks=pytest.mark.sample(0)) for kind in ("missing", "reset", "object"))],
)
def test_failure_within_a_list_keeps_the_table_and_is_resumed(crm: Crm, fault: str) -> None:
    crm.first_sync("emails", **LONG)
    edit(crm)
    crm.sandbox.faults.add(Fault(fault, match="Emails", nth=4, times=None))
    assert crm.sync("emails", max_connections=1, **LONG).exit_code == 1
    assert marked(crm) == []
    crm.sandbox.faults.clear()
    crm.sync_done("emails", **LONG)
    crm.assert_equal("emails", deleted=True)


@pytest.mark.parametrize("nth", [pytest.param(1, marks=pytest.mark.sample(0)), 3])
def test_unsorted_list_is_read_in_full(crm: Crm, nth: int) -> None:
    crm.first_sync("emails", **LONG)
    gone = edit(crm)
    crm.sandbox.faults.add(Fault("unsorted", match="Emails", nth=nth, times=None))
    report = crm.sync_done("emails", **LONG)
    assert (report.entities["emails"].deleted, marked(crm)) == (1, [gone])
    assert not any("not listed but readable: kept" in note for note in report.entities["emails"].schema_changes)
    crm.assert_equal("emails", deleted=True)


@pytest.mark.sample(0)
def test_full_sync_writes_also_what_an_unfinished_read_skipped(crm: Crm) -> None:
    crm.sync_done("emails", **LONG)
    assert crm.sync("emails", max_calls=4, **LONG).exit_code == 3
    full = crm.sync_done("emails", request=ReadRequest(full=True), **LONG).entities["emails"]
    assert (full.rows, full.merged) == (60, 60)


@pytest.mark.parametrize("how", ["ids", pytest.param("where", marks=pytest.mark.sample(0))])
def test_selected_records_are_checked_by_the_next_sync(crm: Crm, how: str) -> None:
    crm.first_sync("emails", **LONG)
    store, key = crm.sandbox.store, keys(crm, "emails")[7]
    before = store.get("emails", key) or {}
    store.update("emails", key, {"SUBJECT": "for a while"})
    arguments = {"ids": ([str(key)], None), "where": (None, ["SUBJECT=for a while"])}[how]
    selected = selection(crm.settings(), ["emails"], *arguments, ReadRequest())
    assert sync_selected(crm.settings(), Target(database=str(crm.database)), selected).entities["emails"].merged == 1
    crm.assert_equal("emails")
    store.put_raw("emails", before)
    crm.sync_done("emails", **LONG)
    crm.assert_equal("emails")


@pytest.mark.sample(0)
def test_endpoint_tags_are_read_only_for_changed_blocks(crm: Crm) -> None:
    crm.sync_done("emails", tags="endpoint", **LONG)
    assert crm.sandbox.calls("Emails/") == 60
    crm.assert_equal("emails")
    assert crm.sync_done("emails", tags="endpoint", **LONG).entities["emails"].calls == 7
    crm.sandbox.store.create("emails", {"TAGS": [{"TAG_NAME": "new"}]})
    crm.sync_done("emails", tags="endpoint", **LONG)
    assert 1 <= crm.sandbox.calls("Emails/") < 40
    crm.assert_equal("emails")


def test_plan_counts_the_pages_of_the_full_list(crm: Crm) -> None:
    from pipelines.commands.plan import plan

    crm.first_sync("emails", "teams", **LONG)
    estimate = plan(crm.settings(**LONG), Target(database=str(crm.database)), ["emails", "teams"], ReadRequest())
    assert {name: (entity.facts["total"], entity.calls) for name, entity in estimate.entities.items()} == {
        "emails": (60, 7),
        "teams": (3, 1),
    }


@pytest.mark.sample(0)
def test_members_and_activities_follow_their_parents(crm: Crm) -> None:
    crm.first_sync("teams", "activity_sets")
    store = crm.sandbox.store
    team, activities = keys(crm, "teams")[0], keys(crm, "activity_sets")[0]
    store.update("teams", team, {"TEAMMEMBERS": []}, touch=False)
    steps = (store.get("activity_sets", activities) or {})["ACTIVITIES"]
    store.update("activity_sets", activities, {"ACTIVITIES": steps[1:]})
    crm.sync_done("teams", "activity_sets")
    crm.assert_equal("teams", "activity_sets")


# Lists that are replaced, and their keys


def test_list_with_two_key_fields_is_read_in_any_order(crm: Crm) -> None:
    store = crm.sandbox.store
    for number in range(25):
        store.create("follows", {"RECORD_TYPE": ("CONTACT", "LEAD")[number % 2], "RECORD_ID": number // 2})
    crm.sync_done("follows", page_size=7)
    crm.assert_equal("follows")
    store.delete("follows", store.tables["follows"].keys[3])
    crm.sandbox.faults.add(Fault("unsorted", match="Follows", times=None))
    report = crm.sync_done("follows", page_size=7).entities["follows"]
    assert report.rows == store.count("follows") == crm.count("follows")
    crm.assert_equal("follows")


def test_list_with_a_text_key_is_written_only_if_it_changed(crm: Crm) -> None:
    crm.sync_done("custom_objects")
    crm.sandbox.store.update("custom_objects", "Site_Visit__c", {"PLURAL_LABEL": "Places"})
    assert crm.sync_done("custom_objects").entities["custom_objects"].merged == 2
    crm.assert_equal("custom_objects")


# Objects


@pytest.mark.sample(1)
@pytest.mark.parametrize("shape", ["object", "list"])
def test_account_and_permissions_are_tables(make_crm: MakeCrm, shape: Any) -> None:
    crm = make_crm(switches=replace(OPEN, permissions=shape, forbidden=frozenset({"leads"})))
    crm.sync_done("instance", "permissions")
    crm.assert_equal("instance", "permissions")
    assert [r["instance_name"] for r in crm.table("instance")] == ["Sandbox Trading"]
    assert [r["can_read"] for r in crm.table("permissions") if r["object_type"] == "LEAD"] == [False]
    crm.sandbox.switches = replace(crm.sandbox.switches, forbidden=frozenset())
    assert crm.sync_done("instance", "permissions").entities["permissions"].merged > 0
    crm.assert_equal("instance", "permissions")
    proof = verify(crm.settings(), Target(database=str(crm.database)), ["instance", "permissions"])
    assert proof.exit_code == 0


# Definitions of custom fields


def test_definitions_of_every_object_are_loaded_by_name(crm: Crm) -> None:
    report = crm.sync_done("custom_fields")
    assert report.entities["custom_fields"].rows == len(crm.sandbox.store.definitions)
    crm.assert_equal("custom_fields")
    definitions = crm.sandbox.store.definitions
    definitions[:] = [row for row in definitions if row["FIELD_FOR"] != "LEAD" and row["FIELD_NAME"] != "Hobby__c"]
    crm.sync_done("custom_fields")
    crm.assert_equal("custom_fields")
    assert verify(crm.settings(), Target(database=str(crm.database)), ["custom_fields"]).exit_code == 0


@pytest.mark.parametrize("kind", ["forbidden", "invalid_json"])
def test_definitions_refused_to_an_entity_are_loaded_later(
    crm: Crm, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(Client.__init__.__kwdefaults__, "sleep", lambda _: None)
    # As many as the attempts for one entity; a refusal is not tried again.
    times = 1 if kind == "forbidden" else 4
    crm.sandbox.faults.add(Fault(kind, "*CustomFields/Contacts", times=times))
    report = crm.sync("contacts", "custom_fields")
    assert report.entities["contacts"].state == ("ok" if kind == "forbidden" else "failed")
    assert report.entities["custom_fields"].state == "ok"
    crm.assert_equal("custom_fields")
    assert sum(call.path == "/CustomFields/Contacts" for call in crm.sandbox.log) == times + 1


def test_definitions_do_not_depend_on_the_reading_entity(crm: Crm) -> None:
    definitions = crm.sandbox.store.definitions
    crm.sync_done("contacts")
    old = [dict(row) for row in definitions]
    definitions[0]["FIELD_LABEL"] = "Pastime"
    crm.sync_done("custom_fields")
    definitions[:] = old
    crm.sandbox.store.touch("contacts", keys(crm, "contacts")[0])
    crm.sync_done("contacts")
    assert "Pastime" not in {row["field_label"] for row in crm.table("custom_fields")}


def test_object_name_may_differ_from_its_key(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    quotes = replace(ENTITIES["quotes"])
    vars(quotes)["field_for"] = "QUOTATION"
    monkeypatch.setattr(account, "_CUSTOMIZED", [quotes])
    for row in crm.sandbox.store.definitions:
        row["FIELD_FOR"] = {"QUOTE": "QUOTATION"}.get(row["FIELD_FOR"], row["FIELD_FOR"])
    crm.sync_done("quotes")
    assert {row["field_for"] for row in crm.table("custom_fields")} == {"QUOTATION"}
    assert crm.columns("quotes")["approved__c"] == "BOOLEAN"
