"""Runs over HTTP into DuckDB: whatever happens on the way, the destination ends up equal to the account."""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import dlt
import pytest
from dlt.common.storages import load_package
from dlt.load.load import Load
from dlt.pipeline.exceptions import PipelineStepFailed

from pipelines.commands.status import status
from pipelines.destinations.base import Unreachable
from pipelines.destinations.recovery import recover_pipeline
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from pipelines.sandbox import Contents, Fault, Sandbox, Store, evolve
from pipelines.sandbox.store.table import dump
from sources.insightly import ENTITIES, chunk, insightly
from sources.insightly.errors import BadSetting, ConfigurationError
from sources.insightly.resources import incremental
from sources.insightly.state.request import ReadRequest
from sources.insightly.state.times import parse
from tests.support.commands import verified
from tests.support.crm import EVERY_WAY_TO_TAGS, OPEN, Clock, Crm
from tests.support.expected import CORE, normalize

MakeCrm = Callable[..., Crm]
INCREMENTAL = [name for name in CORE if ENTITIES[name].read == "incremental"]


def changed_since(crm: Crm, entity: str, watermark: str | None) -> int:
    """Records of the account whose DATE_UPDATED_UTC is later than `watermark`."""
    assert watermark is not None
    return sum(parse(row["DATE_UPDATED_UTC"]) > parse(watermark) for row in crm.sandbox.store.rows(entity))


def watermarks(report: Report) -> dict[str, str | None]:
    return {name: entity.watermark for name, entity in report.entities.items()}


def queries(crm: Crm, path: str) -> list[dict[str, str]]:
    """The queries of the last run's calls to `path`."""
    return [call.query for call in crm.sandbox.log if call.path == path]


def set_custom(store: Store, entity: str, key: int, name: str, value: Any) -> None:
    row = store.get(entity, key)
    assert row is not None
    others = [item for item in row["CUSTOMFIELDS"] if item["FIELD_NAME"] != name]
    item = {"FIELD_NAME": name, "FIELD_VALUE": value, "CUSTOM_FIELD_ID": name}
    store.update(entity, key, {"CUSTOMFIELDS": [*others, item]})


def first_key(crm: Crm, entity: str) -> Any:
    return crm.sandbox.store.tables[entity].keys[0]


@contextmanager
def unchanged(crm: Crm, *tables: str) -> Iterator[None]:
    before = [crm.table(name) for name in tables]
    yield
    assert [crm.table(name) for name in tables] == before


# Changed records


@EVERY_WAY_TO_TAGS
def test_sync_reads_only_changed_records(crm: Crm) -> None:
    first = crm.sync_done()
    evolve(crm.sandbox.store, seed=1, steps=25)
    second = crm.sync_done()
    received = {name: second.entities[name].rows for name in INCREMENTAL}
    assert received == {name: changed_since(crm, name, first.entities[name].watermark) for name in INCREMENTAL}
    assert 10 < sum(received.values()) < 60
    crm.assert_equal(deleted=True)
    third = crm.sync_done()
    assert sum(third.entities[name].rows for name in INCREMENTAL) == 0


@EVERY_WAY_TO_TAGS
def test_lost_working_folder_changes_nothing(crm: Crm) -> None:
    first = crm.sync_done("contacts", "lead_sources")
    shutil.rmtree(crm.folder / "dlt")
    crm.sandbox.store.touch("contacts", first_key(crm, "contacts"))
    second = crm.sync_done("contacts", "lead_sources")
    assert second.entities["contacts"].rows == 1
    assert second.entities["lead_sources"].merged == 0
    assert queries(crm, "/Contacts/Search")[0]["updated_after_utc"] == first.entities["contacts"].watermark
    crm.assert_equal("contacts", "lead_sources")


@pytest.mark.sample(0)
@EVERY_WAY_TO_TAGS
def test_many_chunks_give_the_same_tables(crm: Crm) -> None:
    report = crm.sync_done("contacts", "notes", "pipelines", "tags", chunk_calls=2, page_size=7)
    assert report.entities["contacts"].rows == crm.sandbox.store.count("contacts")
    assert len(crm.read("select * from insightly._dlt_loads")) > 2
    crm.assert_equal("contacts", "notes", "pipelines", "tags")


@pytest.mark.parametrize("entity", ["contacts", "notes"])
def test_rows_of_some_size_are_a_chunk(crm: Crm, monkeypatch: pytest.MonkeyPatch, entity: str) -> None:
    monkeypatch.setattr(chunk, "SIZE", 1)
    monkeypatch.setattr(incremental, "BATCH_BYTES", 1)
    crm.sync_done(entity, page_size=7)
    assert len(crm.read("select * from insightly._dlt_loads")) > 2
    crm.assert_equal(entity)


@EVERY_WAY_TO_TAGS
def test_new_custom_field_becomes_a_typed_column(crm: Crm) -> None:
    crm.first_sync("contacts")
    crm.sandbox.store.define("CONTACT", "Height__c", "NUMERIC")
    set_custom(crm.sandbox.store, "contacts", first_key(crm, "contacts"), "Height__c", 1.83)
    report = crm.sync_done("contacts")
    assert crm.columns("contacts")["height__c"] == "DECIMAL(38,9)"
    assert any("contacts.height__c" in change for change in report.entities["contacts"].schema_changes)
    assert [row["height__c"] for row in crm.table("contacts") if row["height__c"]] == [Decimal("1.83")]
    crm.assert_equal("contacts")


@EVERY_WAY_TO_TAGS
def test_unknown_json_key_becomes_a_column(crm: Crm) -> None:
    crm.first_sync("notes")
    key = first_key(crm, "notes")
    crm.sandbox.store.update("notes", key, {"FAVOURITE_COLOUR": "blue", "SHELF_COUNT": 7})
    report = crm.sync_done("notes")
    assert crm.columns("notes")["shelf_count"] == "BIGINT"
    notes = " ".join(report.entities["notes"].schema_changes)
    assert "notes.favourite_colour" in notes
    assert "notes.shelf_count" in notes
    crm.assert_equal("notes")


@EVERY_WAY_TO_TAGS
def test_emptied_array_leaves_no_child_rows(crm: Crm) -> None:
    crm.first_sync("organisations")
    full = next(r for r in crm.sandbox.store.rows("organisations") if r["TAGS"] and r["LINKS"] and r["EMAILDOMAINS"])
    arrays: dict[str, list[Any]] = {name: [] for name in ENTITIES["organisations"].arrays}
    crm.sandbox.store.update("organisations", full["ORGANISATION_ID"], arrays)
    crm.sync_done("organisations")
    for array in arrays:
        assert full["ORGANISATION_ID"] not in [
            r["organisation_id"] for r in crm.table(f"organisations__{array}".lower())
        ]
    crm.assert_equal("organisations")


@EVERY_WAY_TO_TAGS
def test_shortened_array_leaves_no_old_child_rows(crm: Crm) -> None:
    crm.sandbox.store.set_tags("contacts", first_key(crm, "contacts"), ["a", "b", "c"])
    crm.first_sync("contacts")
    crm.sandbox.store.set_tags("contacts", first_key(crm, "contacts"), ["c", "d"])
    crm.sync_done("contacts")
    crm.assert_equal("contacts")


def test_definitions_are_requested_before_further_pages(crm: Crm) -> None:
    crm.sync_done("contacts", page_size=10, requests_per_second=25)
    paths = [call.path for call in crm.sandbox.log if call.path != "/Instance"]
    assert paths[:2] == ["/Contacts", "/CustomFields/Contacts"]
    assert paths.count("/CustomFields/Contacts") == 1


def test_custom_field_definitions_are_a_table(crm: Crm) -> None:
    crm.sync_done("contacts", "leads")
    loaded = {(r["field_for"], r["field_name"], r["field_type"]) for r in crm.table("custom_fields")}
    definitions = crm.sandbox.store.definitions
    wanted = {
        (r["FIELD_FOR"], r["FIELD_NAME"], r["FIELD_TYPE"]) for r in definitions if r["FIELD_FOR"] in ("CONTACT", "LEAD")
    }
    assert loaded == wanted
    options = [r["option_value"] for r in crm.table("custom_fields__custom_field_options") if r["field_for"] == "LEAD"]
    assert options == ["Spring", "Summer", "Autumn", "Winter"]


# Tags


@pytest.mark.sample(0)
@pytest.mark.parametrize(
    ("mode", "embedded", "calls_a_record"), [("auto", True, 0), ("endpoint", True, 1), ("auto", False, 1)]
)
def test_tags_are_equal_in_every_mode(make_crm: MakeCrm, mode: str, embedded: bool, calls_a_record: int) -> None:
    crm = make_crm(switches=replace(OPEN, embed_tags=embedded))

    def tag_calls() -> int:
        return sum(call.path.endswith("/Tags") and call.path != "/Tags" for call in crm.sandbox.log)

    crm.sync_done("projects", tags=mode)
    assert tag_calls() == calls_a_record * crm.sandbox.store.count("projects")
    crm.assert_equal("projects")
    crm.sandbox.store.set_tags("projects", first_key(crm, "projects"), ["urgent", "new"])
    crm.sync_done("projects", tags=mode)
    assert tag_calls() == calls_a_record
    crm.assert_equal("projects")


def test_kill_costs_no_more_tag_calls_than_a_chunk_has(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm, load, at_load = make_crm(scale=0.12, switches=replace(OPEN, embed_tags=False)), Target.load, list[int]()

    def count_calls(target: Target, pipeline: dlt.Pipeline) -> None:
        at_load.append(crm.sandbox.calls())
        load(target, pipeline)

    monkeypatch.setattr(Target, "load", count_calls)
    crm.sync_done("contacts", chunk_calls=60)
    crm.assert_equal("contacts")
    assert crm.count("contacts") == 120
    assert [after - before for before, after in pairwise([0, *at_load])] == [62, 60, 3]
    assert sum(call.path.endswith("/Tags") for call in crm.sandbox.log) == 120


def test_unneeded_tags_cost_no_call(make_crm: MakeCrm) -> None:
    crm = make_crm(switches=replace(OPEN, embed_tags=False))
    crm.sync_done("projects", tags="embedded")
    assert crm.sandbox.calls() == 3  # the account, the list, the definitions
    assert crm.count("projects") == crm.sandbox.store.count("projects")
    assert crm.count("projects__tags") == 0


@pytest.mark.sample(0)
@pytest.mark.parametrize("embedded", [True, False])
def test_tags_that_are_off_are_not_read_or_written(make_crm: MakeCrm, embedded: bool) -> None:
    crm = make_crm(switches=replace(OPEN, embed_tags=embedded))
    crm.sync_done("leads", tags="auto")
    loaded = crm.table("leads__tags")
    store = crm.sandbox.store
    for entity in ("leads", "projects"):
        store.set_tags(entity, first_key(crm, entity), ["later"])
    report = crm.sync_done(tags="off")
    assert [call.path for call in crm.sandbox.log if "Tags" in call.path] == []
    assert tuple(report.entities) == tuple(name for name in CORE if name != "tags")
    assert report.entities["leads"].rows == 1
    assert crm.table("leads__tags") == loaded
    assert crm.columns("projects__tags") == crm.columns("tags") == {}
    assert crm.columns("projects__links")
    assert not [name for name in crm.columns("projects") if "tags" in name]
    crm.sync_done("tags", tags="off")
    crm.assert_equal("tags")


def test_record_deleted_before_its_tags_are_read_is_reported(crm: Crm) -> None:
    key = first_key(crm, "projects")
    crm.sandbox.faults.add(Fault("missing", match=f"Projects/{key}/Tags"))
    report = crm.sync_done("projects", tags="endpoint")
    assert any("deleted before their tags were read: 1" in note for note in report.entities["projects"].schema_changes)


# Lists that are read in full


def test_reference_list_is_written_only_if_it_changed(crm: Crm) -> None:
    store = crm.sandbox.store
    crm.first_sync("lead_sources")
    store.update("lead_sources", first_key(crm, "lead_sources"), {"LEAD_SOURCE": "Fair"})
    store.delete("lead_sources", store.tables["lead_sources"].keys[-1])
    assert crm.sync_done("lead_sources").entities["lead_sources"].merged == store.count("lead_sources")
    crm.assert_equal("lead_sources")
    assert crm.sync_done("lead_sources").entities["lead_sources"].merged == 0
    for key in list(store.tables["lead_sources"].keys):
        store.delete("lead_sources", key)
    crm.sync_done("lead_sources", max_deleted_share=1)
    assert crm.count("lead_sources") == 0


def test_removed_tag_names_leave_the_table(crm: Crm) -> None:
    crm.first_sync("tags")
    for key in crm.sandbox.store.tables["projects"].keys:
        crm.sandbox.store.set_tags("projects", key, [])
    crm.sync_done("tags")
    assert "projects" not in {row["record_type"] for row in crm.table("tags")}
    crm.assert_equal("tags")


# Invalid values


def test_invalid_value_is_kept_as_text(crm: Crm) -> None:
    key = first_key(crm, "leads")
    set_custom(crm.sandbox.store, "leads", key, "Budget__c", "quite a lot")
    report = crm.sync_done("leads")
    row = next(row for row in crm.table("leads") if row["lead_id"] == key)
    assert (row["budget__c"], row["budget__c__v_text"]) == (None, "quite a lot")
    assert any("budget__c__v_text" in note for note in report.entities["leads"].schema_changes)


def test_entity_without_records_has_its_tables(make_crm: MakeCrm) -> None:
    crm = make_crm(scale=0.005)
    for key in list(crm.sandbox.store.tables["notes"].keys):
        crm.sandbox.store.delete("notes", key)
    crm.sync_done("notes")
    assert (crm.count("notes"), crm.count("notes__links")) == (0, 0)
    assert {"note_id", "title", "_deleted_at"} <= crm.columns("notes").keys()


def test_column_collision_fails_only_its_entity(crm: Crm) -> None:
    for name in ("Shoe_Size__c", "ShoeSize__c"):
        crm.sandbox.store.define("CONTACT", name, "TEXT")
    assert normalize("Shoe_Size__c") == normalize("ShoeSize__c")
    report = crm.sync("contacts", "notes")
    assert (report.status, report.exit_code) == ("failed", 1)
    assert report.entities["contacts"].state == "failed"
    assert "Shoe_Size__c" in (report.entities["contacts"].reason or "")
    assert "ShoeSize__c" in (report.entities["contacts"].reason or "")
    assert report.entities["notes"].state == "ok"
    crm.assert_equal("notes")


# Permissions


@pytest.mark.parametrize("kind", ["forbidden", "missing"])
def test_forbidden_entity_is_skipped(make_crm: MakeCrm, kind: str) -> None:
    crm = make_crm(switches=replace(OPEN, **{kind: frozenset({"products"})}))
    report = crm.sync_done(entities=["products", "notes"])
    assert report.entities["products"].state == "skipped"
    assert report.entities["products"].reason
    assert report.entities["notes"].state == "ok"
    assert crm.columns("products") == {}
    named = crm.sync("products", "notes")
    assert (named.exit_code, named.entities["products"].state) == (1, "skipped")


def test_entity_that_becomes_forbidden_keeps_table_and_watermark(crm: Crm) -> None:
    before = crm.sync_done("products", "currencies")
    crm.sandbox.switches = replace(OPEN, forbidden=frozenset({"products"}), missing=frozenset({"currencies"}))
    with unchanged(crm, "products", "currencies"):
        assert crm.sync("products", "currencies").exit_code == 1
    crm.sandbox.switches = OPEN
    crm.sync_done("products", "currencies")
    assert queries(crm, "/Product/Search")[0]["updated_after_utc"] == before.entities["products"].watermark
    crm.assert_equal("products", "currencies")


def test_refused_key_writes_nothing(crm: Crm) -> None:
    refused = crm.sync("notes", api_key="00000000-0000-0000-0000-000000000000")
    assert (refused.status, refused.exit_code) == ("failed", 1)
    assert "401" in (refused.reason or "")
    assert crm.columns("notes") == {}
    first = crm.sync_done("notes")
    with unchanged(crm, "notes", "_dlt_pipeline_state"):
        assert crm.sync("notes", api_key="00000000-0000-0000-0000-000000000000").exit_code == 1
    crm.sync_done("notes")
    assert queries(crm, "/Notes/Search")[0]["updated_after_utc"] == first.entities["notes"].watermark


# Destinations and accounts


def test_first_calls_are_sent_while_a_new_file_is_opened(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {"/Instance", "/Notes", "/Product", "/CustomFields/Product"}

    def recover_late(target: Target) -> dlt.Pipeline:
        deadline = time.monotonic() + 10
        while len(crm.sandbox.log) < len(first) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert {call.path for call in crm.sandbox.log} == first
        return recover_pipeline(target)

    monkeypatch.setattr("pipelines.engine.runner.recover_pipeline", recover_late)
    crm.sync_done("products", "notes")
    assert [len(queries(crm, path)) for path in first] == [1] * len(first)
    crm.assert_equal("notes", "products")


def test_no_call_is_sent_while_an_option_of_dlt_moves_the_rows(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINES__INSIGHTLY__DEV_MODE", "true")
    with pytest.raises(BadSetting, match=r"pipelines\.dev_mode"):
        crm.sync("notes")
    assert crm.sandbox.log == []


def test_file_that_cannot_be_opened_does_not_wait_for_the_first_calls(
    crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Target) -> dlt.Pipeline:
        deadline = time.monotonic() + 10
        while len(crm.sandbox.log) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        raise Unreachable("the file cannot be opened")

    crm.sandbox.faults.add(Fault("503", times=None))
    monkeypatch.setattr("pipelines.engine.runner.recover_pipeline", fail)
    started = time.monotonic()
    with pytest.raises(Unreachable):
        crm.sync("notes")
    assert time.monotonic() - started < 5
    assert len(crm.sandbox.log) == 2


def test_failed_load_is_not_reported_as_done(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no space left")

    with monkeypatch.context() as broken:
        broken.setattr("dlt.load.load.Load.run", fail)
        report = crm.sync("notes")
    assert (report.exit_code, report.entities["notes"].state, report.entities["notes"].watermark) == (1, "failed", None)
    assert report.reason == "loading failed; rows loaded before are kept: no space left"
    crm.sync_done("notes")
    crm.assert_equal("notes")


def test_failed_load_of_a_later_chunk_reports_committed_rows(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    real, loads = Load.run, count(1)

    def fail_second(*args: Any) -> Any:
        if next(loads) == 2:
            raise OSError("no space left")
        return real(*args)

    with monkeypatch.context() as broken:
        broken.setattr(Load, "run", fail_second)
        report = crm.sync("notes", page_size=10, chunk_calls=3)
    notes = report.entities["notes"]
    assert (report.exit_code, notes.state, notes.merged) == (1, "failed", crm.count("notes"))
    assert notes.merged > 0


@EVERY_WAY_TO_TAGS
def test_two_destinations_share_no_watermark(crm: Crm) -> None:
    crm.sync_done("notes")
    other = crm.folder / "other.duckdb"
    report = crm.sync_done("notes", database=other)
    assert report.entities["notes"].rows == crm.sandbox.store.count("notes")
    crm.assert_equal("notes", database=other)


@EVERY_WAY_TO_TAGS
def test_deleted_database_is_filled_again(crm: Crm) -> None:
    crm.first_sync("contacts", "lead_sources")
    crm.database.unlink()
    crm.sync_done("contacts", "lead_sources")
    crm.assert_equal("contacts", "lead_sources")


def test_sync_refuses_another_account(crm: Crm, make_crm: MakeCrm) -> None:
    crm.sync_done("notes")
    other = make_crm(key="11111111-1111-1111-1111-111111111111")
    other.sandbox.store.instance.update(INSTANCE_NAME="Other Ltd", INSTANCE_SUBDOMAIN="other")
    with unchanged(crm, "notes", "_dlt_pipeline_state"), pytest.raises(ConfigurationError) as refused:
        other.sync("notes")
    assert refused.value.exit_code == 2
    assert "Sandbox Trading" in str(refused.value)
    assert "Other Ltd" in str(refused.value)
    assert other.sandbox.calls() == 1


def test_another_key_of_the_same_account_is_accepted(crm: Crm, make_crm: MakeCrm) -> None:
    first = crm.sync_done("notes")
    moved = make_crm(key="11111111-1111-1111-1111-111111111111")
    moved.sync_done("notes")
    assert queries(moved, "/Notes/Search")[0]["updated_after_utc"] == first.entities["notes"].watermark
    moved.sync_done("notes")
    assert queries(moved, "/Instance") == []


# Budgets


@pytest.mark.sample(0)
@pytest.mark.parametrize("tags", ["auto", "endpoint"])
def test_runs_with_few_calls_complete_everything(crm: Crm, tags: str) -> None:
    """No run sends more than `max_calls`, and each run continues where the last one stopped."""
    names = ("notes", "projects", "lead_sources")
    for _ in range(40):
        report = crm.sync(*names, max_calls=4, page_size=10, tags=tags)
        assert report.calls == crm.sandbox.calls() <= 4
        if report.exit_code == 0:
            break
        assert (report.status, report.exit_code) == ("stopped", 3)
        assert report.reason
    assert report.status == "done"
    crm.assert_equal(*names)


def test_too_few_max_calls_to_complete_anything_are_named(crm: Crm) -> None:
    reasons = [crm.sync("contacts", max_calls=1).reason for _ in range(3)]
    too_few = "sources.insightly.max_calls is 1, too few to complete anything; raise it"
    assert reasons[1:] == [too_few, too_few]
    assert (crm.sync("contacts", max_calls=2, page_size=10).reason or "").endswith("Run again to continue, or raise it")
    assert crm.sync("contacts", max_calls=9).status == "done"


def test_max_calls_of_zero_sends_nothing(crm: Crm) -> None:
    report = crm.sync("notes", max_calls=0)
    assert (report.exit_code, crm.sandbox.calls()) == (3, 0)


@pytest.mark.sample(0)
def test_days_with_few_calls_complete_everything(make_crm: MakeCrm) -> None:
    crm = make_crm(switches=replace(OPEN, quota=5))
    names = ("notes", "contacts", "currencies")
    for _ in range(20):
        crm.sandbox.limits.reset()
        report = crm.sync(*names, page_size=15)
        assert sum(call.status == 200 for call in crm.sandbox.log) <= 5
        if report.exit_code == 0:
            break
        assert (report.status, report.exit_code, report.calls_left_today) == ("stopped", 3, 0)
    assert report.status == "done"
    crm.assert_equal(*names)


def test_first_run_of_all_entities_leaves_the_quota_reserve(make_crm: MakeCrm) -> None:
    crm = make_crm(switches=replace(OPEN, quota=100))
    report = crm.sync(quota_reserve=98)
    assert (report.exit_code, report.calls, report.calls_left_today) == (3, 2, 98)


def test_quota_reserve_is_left_for_other_programs(make_crm: MakeCrm) -> None:
    crm = make_crm(switches=replace(OPEN, quota=100))
    crm.sandbox.limits.used += 90
    report = crm.sync("contacts", quota_reserve=5, page_size=5, max_connections=1)
    assert (report.status, report.exit_code) == ("stopped", 3)
    assert crm.sandbox.calls() <= 5
    assert report.calls_left_today is not None
    assert report.calls_left_today >= 5


# start_date, since and full


@pytest.mark.sample(0)
def test_earlier_start_date_reads_more_and_a_later_one_does_not(crm: Crm) -> None:
    def loaded() -> int:
        return crm.count("notes")

    crm.sync_done("notes", start_date="2026-06-01")
    assert loaded() == changed_since(crm, "notes", "2026-06-01") < crm.sandbox.store.count("notes")
    crm.sync_done("notes", start_date="2025-06-01")
    assert loaded() == changed_since(crm, "notes", "2025-06-01") < crm.sandbox.store.count("notes")
    later = crm.sync_done("notes", start_date="2026-06-01").entities["notes"]
    assert (later.rows, loaded()) == (0, changed_since(crm, "notes", "2025-06-01"))
    assert any("2026-06-01" in note for note in later.schema_changes)
    crm.sync_done("notes")
    crm.assert_equal("notes")
    assert crm.sync_done("notes").entities["notes"].rows == 0


def test_since_reads_again_and_keeps_the_watermark(crm: Crm) -> None:
    first = crm.sync_done("notes").entities["notes"]
    again = crm.sync_done("notes", request=ReadRequest(since="2026-06-01T00:00:00Z")).entities["notes"]
    assert again.rows == changed_since(crm, "notes", "2026-06-01") > 0
    assert (again.watermark or "") > (first.watermark or "")
    crm.clock.advance(-24)
    assert crm.sync_done("notes").entities["notes"].watermark == again.watermark


@pytest.mark.sample(0)
def test_full_sync_repairs_changes_without_a_date(crm: Crm) -> None:
    crm.first_sync("contacts", "tags")
    crm.sandbox.store.set_tags("contacts", first_key(crm, "contacts"), ["unseen"], touch=False)
    assert crm.sync_done("contacts").entities["contacts"].rows == 0
    report = crm.sync_done("contacts", "lead_sources", request=ReadRequest(full=True))
    assert report.entities["contacts"].rows == crm.sandbox.store.count("contacts")
    crm.assert_equal("contacts")
    assert crm.sync_done("contacts").entities["contacts"].rows == 0


@pytest.mark.sample(0)
def test_stopped_full_sync_resumes_as_full(crm: Crm) -> None:
    crm.first_sync("notes")
    keys = crm.sandbox.store.tables["notes"].keys
    for key in (keys[0], keys[-1]):
        crm.sandbox.store.update("notes", key, {"TITLE": "unseen"}, touch=False)
    assert crm.sync("notes", request=ReadRequest(full=True), page_size=10, max_calls=2).exit_code == 3
    crm.sync_done("notes", page_size=10)
    crm.assert_equal("notes")
    assert crm.sync_done("notes").entities["notes"].rows == 0


# Edits during a sync


@EVERY_WAY_TO_TAGS
def test_edits_during_a_sync_lose_no_live_row(crm: Crm) -> None:
    crm.first_sync("contacts")
    store = crm.sandbox.store
    for key in store.tables["contacts"].keys[::2]:
        store.update("contacts", key, {"TITLE": "changed"})

    def edit(store: Store) -> None:
        keys = store.tables["contacts"].keys
        store.delete("contacts", keys[2])
        store.update("contacts", keys[1], {"TITLE": "changed meanwhile"})

    crm.sandbox.faults.add(Fault("call", match="Contacts/Search", nth=2, times=3, action=edit))
    crm.sync_done("contacts", page_size=5)
    crm.sync_done("contacts", page_size=5)
    crm.assert_equal("contacts", deleted=True)


def test_unsorted_list_is_read_in_full(crm: Crm) -> None:
    crm.sandbox.faults.add(Fault("unsorted", match="Notes", times=None))
    crm.sync_done("notes", page_size=20)
    crm.assert_equal("notes")


def test_watermark_is_the_server_clock_at_the_start_of_the_walk(crm: Crm) -> None:
    """Even if the walk takes hours, and the run before ended later."""
    crm.sandbox.faults.add(Fault("call", match="Notes*", nth=2, times=None, action=lambda _: crm.clock.advance()))
    report = crm.sync_done("notes", page_size=20, lookback_seconds=60)
    began = crm.clock.now - timedelta(hours=crm.sandbox.calls("Notes") - 1)
    early = began - timedelta(seconds=60) - parse(report.entities["notes"].watermark or "")
    assert timedelta(0) <= early < timedelta(minutes=10)


def test_watermark_survives_chunks_of_several_runs(crm: Crm) -> None:
    began = crm.clock.now + timedelta(hours=1)
    for _ in range(10):
        if (report := crm.sync("notes", page_size=20, max_calls=2)).exit_code != 3:
            break
        crm.clock.advance(10)
    assert report.status == "done"
    reached = parse(report.entities["notes"].watermark or "")
    assert began - timedelta(minutes=15) < reached <= began - timedelta(minutes=5)


def test_local_clock_is_used_without_a_date_header(make_crm: MakeCrm, caplog: pytest.LogCaptureFixture) -> None:
    crm = make_crm(switches=replace(OPEN, date_header=False))
    crm.sync_done("notes")
    assert "Date" in caplog.text
    crm.assert_equal("notes")


# The source alone


def alone(crm: Crm, **settings: Any) -> dlt.Pipeline:
    pipeline = dlt.pipeline("alone", destination=dlt.destinations.duckdb(str(crm.database)), dataset_name="insightly")
    account = {"api_key": crm.sandbox.key, "base_url": crm.sandbox.url, "requests_per_second": 1000}
    pipeline.run(insightly(**account, **settings))
    return pipeline


def test_source_alone_reads_everything(crm: Crm) -> None:
    names = ["contacts", "tags", "lead_sources"]
    alone(crm, entities=names, chunk_calls=1, page_size=7)
    crm.assert_equal(*names)
    crm.clock.advance()
    crm.sandbox.store.set_tags("contacts", first_key(crm, "contacts"), ["later"])
    crm.sandbox.reset_log()
    alone(crm, entities=names)
    assert crm.sandbox.calls("Contacts/Search") == 1
    assert crm.sandbox.calls("Contacts") == 1
    crm.assert_equal(*names)


@pytest.mark.sample(0)
@pytest.mark.everywhere("postgres", "delta")
def test_run_of_a_clock_that_was_ahead_is_continued(
    make_crm: Callable[..., Crm], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """dlt restores the state with the greatest load id, and load ids are times."""
    crm, clock = make_crm(), load_package.increasing_precise_time
    monkeypatch.setattr(clock, "_last", clock._last)
    with monkeypatch.context() as patch:
        patch.setattr("dlt.common.time.precise_time", lambda: time.time() + 3600)
        crm.sync("notes", page_size=10, chunk_calls=2, max_calls=5)
    clock._last = time.time()  # as in the process of the next run
    assert 0 < crm.sync_done("notes").entities["notes"].rows < 50
    clock._last = time.time()
    keys = crm.sandbox.store.tables["notes"].keys
    crm.sandbox.store.update("notes", keys[0], {"MOOD": "good"})
    if crm.target.adapter.sql:  # dlt restores the schema with the latest time
        crm.change(f"update insightly._dlt_version set inserted_at = '{datetime.now(UTC) + timedelta(hours=1)}'")
    assert crm.sync_done("notes").entities["notes"].rows == 1
    clock._last = time.time()
    crm.sandbox.store.update("notes", keys[1], {"MOOD": "bad"})
    report = crm.sync_done("notes").entities["notes"]
    assert (report.rows, report.schema_changes) == (1, [])
    crm.assert_equal("notes")
    assert "in the future" in caplog.text


def test_building_the_source_sends_nothing_and_needs_no_key(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__INSIGHTLY__BASE_URL", crm.sandbox.url)
    assert tuple(insightly(entities="core").resources) == CORE == tuple(insightly().resources)[:17]
    assert list(insightly(entities=["notes", "contacts"]).resources) == ["contacts", "notes"]
    assert crm.sandbox.log == []


@pytest.mark.sample(0)
def test_state_stays_small_if_all_records_have_one_date(tmp_path: Path) -> None:
    stamp = {"DATE_CREATED_UTC": "2026-10-01 00:00:00", "DATE_UPDATED_UTC": "2026-10-01 00:00:00"}
    blank = dict.fromkeys(ENTITIES["notes"].fields) | stamp | {"LINKS": []}
    contents = Contents(tables={"notes": {key: dump(blank | {"NOTE_ID": key}) for key in range(1, 5001)}})
    clock = Clock()
    with Sandbox(contents=contents, switches=OPEN, clock=clock) as sandbox:
        crm = Crm(sandbox, tmp_path, clock)
        crm.sync_done("notes", start_date="2026-01-01")
        crm.sync_done("notes", request=ReadRequest(since="2026-01-01T00:00:00Z"), start_date="2026-01-01")
        assert crm.count("notes") == 5000
        state = crm.target.pipeline().state
        assert len(json.dumps(state, default=str)) < 10_000


@pytest.mark.sample(0)
@pytest.mark.everywhere("postgres")
def test_keys_in_two_rows_are_repaired_by_the_next_sync(make_crm: MakeCrm) -> None:
    crm, names = make_crm(0.01), ("contacts", "emails", "tags", "countries")
    crm.first_sync(*names)
    gone = crm.sandbox.store.tables["contacts"].keys[0]
    for table in (*names, "contacts__tags", "contacts__links"):
        crm.change(f"insert into insightly.{table} select * from insightly.{table}")
    crm.sandbox.store.delete("contacts", gone)
    crm.change(f"update insightly.contacts set _deleted_at = now() where contact_id = {gone}")
    notes = {name: entity.schema_changes for name, entity in crm.sync_done(*names).entities.items()}
    assert all(any("repaired" in note for note in notes[name]) for name in names)
    assert any("delete the surplus rows" in note for note in notes["contacts"])
    crm.assert_equal("contacts", deleted=True)
    crm.assert_equal(*names[1:])
    again = crm.sync_done("contacts").entities["contacts"]
    assert (again.rows, again.schema_changes) == (0, notes["contacts"][-1:])


def test_keys_of_a_table_are_checked_once_a_day(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    class Tomorrow(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=1)

    def repaired() -> list[str]:
        entities = crm.sync_done("emails", "tags").entities
        return [name for name, entity in entities.items() if any("repaired" in note for note in entity.schema_changes)]

    crm.first_sync("emails", "tags")
    crm.sync_done("emails")
    for table in ("emails", "tags"):
        crm.change(f"insert into insightly.{table} select * from insightly.{table}")
    assert repaired() == ["tags"]
    monkeypatch.setattr("pipelines.commands.sync.datetime", Tomorrow)
    assert repaired() == ["emails"]
    crm.assert_equal("emails", "tags")


def test_source_refuses_the_dataset_of_the_command_by_name(crm: Crm) -> None:
    crm.sync_done("lead_sources", "notes")
    crm.sandbox.reset_log()
    with pytest.raises(PipelineStepFailed, match=r"dataset_name is 'insightly': the command insightly loads .*alone"):
        alone(crm, entities=["lead_sources", "notes"])
    assert crm.sandbox.log == []
    verified(crm, "lead_sources", "notes", full=True)


def test_dataset_that_another_pipeline_has_loaded_since_is_named(
    crm: Crm, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As an earlier version of the source did, which refused no dataset."""
    crm.sync_done("lead_sources", "notes")
    monkeypatch.setattr("sources.insightly.resources.build.refuse_dataset_of_command", lambda: None)
    alone(crm, entities=["lead_sources"])
    crm.sync_done("lead_sources", "notes")
    assert "the dlt pipeline alone has loaded this dataset; name another one for it" in caplog.text


def test_command_refuses_the_dataset_of_another_pipeline_by_name(crm: Crm) -> None:
    alone(crm, entities=["lead_sources"])
    crm.sandbox.reset_log()
    with pytest.raises(BadSetting, match=r"--dataset is 'insightly': the dlt pipeline alone has loaded"):
        crm.sync("lead_sources")
    assert crm.sandbox.log == []


@pytest.mark.everywhere("postgres", quick=True)
@pytest.mark.parametrize("synced_before", [False, True])
def test_foreign_tables_are_refused_before_anything_is_written(crm: Crm, synced_before: bool) -> None:
    if synced_before:
        crm.sync_done("lead_sources")
    crm.change("create schema if not exists insightly")
    for table in ("countries", "contacts__tags", "notes"):
        crm.change(f"create table insightly.{table} (id int, name varchar(20))")
    for table in ("countries", "contacts__tags"):
        crm.change(f"insert into insightly.{table} values (1, 'own')")
    crm.sandbox.reset_log()
    with pytest.raises(BadSetting, match=r"--dataset is 'insightly': .* tables contacts__tags, countries;"):
        crm.sync("countries", "contacts")
    assert crm.sandbox.log == []
    assert crm.read("select * from insightly.countries") == [{"id": 1, "name": "own"}]


DLT_TABLES = ("insightly._dlt_version", "insightly._dlt_loads", "insightly._dlt_pipeline_state")


def refuse_foreign(crm: Crm, table: str) -> None:
    named = table.replace('"', "")
    named = named if "_staging" in named else named.partition(".")[2]
    crm.change(f"create schema {table.partition('.')[0]}")
    crm.change(f"create table {table} (version int)")
    crm.change(f"insert into {table} values (1)")
    crm.sandbox.reset_log()
    with pytest.raises(BadSetting, match=rf"--dataset is 'insightly': .* its tables {re.escape(named)};"):
        crm.sync("countries")
    assert crm.sandbox.log == []
    assert len(crm.read(f"select * from {table}")) == 1


@pytest.mark.everywhere("postgres", quick=True)
@pytest.mark.parametrize("table", ["insightly_staging.countries", *DLT_TABLES])
def test_foreign_tables_of_staging_and_of_dlt_are_refused(crm: Crm, table: str) -> None:
    refuse_foreign(crm, table)
    if "_dlt" in table:
        with pytest.raises(BadSetting, match="--dataset"):
            status(crm.settings(), crm.target)


@pytest.mark.parametrize("table", ['insightly."Countries"', '"Insightly"."COUNTRIES"'])
def test_foreign_table_in_other_case_is_refused_on_duckdb(crm: Crm, table: str) -> None:
    refuse_foreign(crm, table)
