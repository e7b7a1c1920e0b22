"""Custom objects: discovered by a run, one table each, kept up to date like any entity."""

import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import dlt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.commands.plan import plan, plan_sweep
from pipelines.commands.status import status
from pipelines.commands.sweep import sweep
from pipelines.commands.sync_selected import selection, sync_selected
from pipelines.commands.verify import verify
from pipelines.destinations.target import Target
from pipelines.engine.report import Report
from sources.insightly import insightly
from sources.insightly.entities import ENTITIES, OBJECTS, RECORDS
from sources.insightly.errors import BadSetting
from sources.insightly.rows.custom_objects import objects_of
from sources.insightly.selection import select
from sources.insightly.state.request import ReadRequest
from tests.support.crm import OPEN, Crm, isolated_crm
from tests.support.expected import normalize
from tests.support.kill import Sent, run_and_die
from tests.support.process import command, reach

VISITS, WARRANTIES = "Site_Visit__c", "Warranty__c"
ALL = (OBJECTS, RECORDS)
PAGING = {"page_size": 3, "chunk_calls": 2, "max_connections": 2}


@pytest.fixture
def crm(make_crm: Callable[..., Crm]) -> Crm:
    return make_crm()


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the custom objects of an account."""
    with isolated_crm(tmp_path_factory.mktemp("loaded")) as crm:
        crm.sync_done(*ALL)
        return crm.database


@pytest.fixture
def synced(crm: Crm, loaded: Path) -> Crm:
    """An account whose custom objects are loaded."""
    shutil.copy(loaded, crm.database)
    crm.clock.advance()
    crm.sandbox.reset_log()
    return crm


def target(crm: Crm) -> Target:
    return Target(database=str(crm.database))


def states(report: Report) -> dict[str, str]:
    return {name: entity.state for name, entity in report.entities.items()}


def paths(crm: Crm) -> list[str]:
    return [call.path for call in crm.sandbox.log]


def add_record(crm: Crm, name: str, **custom: Any) -> int:
    fields = [{"FIELD_NAME": field, "FIELD_VALUE": value, "CUSTOM_FIELD_ID": field} for field, value in custom.items()]
    made = crm.sandbox.store.create(name, {"RECORD_NAME": "added", "CUSTOMFIELDS": fields})
    return int(made["RECORD_ID"])


def first_key(crm: Crm, name: str) -> int:
    return int(crm.sandbox.store.tables[name].keys[0])


# Discovery


def objects(*names: Any, existing: dict[str, str] | None = None) -> tuple[dict[str, str], list[str]]:
    found, refused = objects_of([{"OBJECT_NAME": name} for name in names], existing or {}, normalize)
    return {table: entity.object_name for table, entity in found.items()}, refused


def test_custom_object_is_an_entity_with_its_own_paths() -> None:
    found, refused = objects_of([{"OBJECT_NAME": VISITS}, {"OBJECT_NAME": VISITS}], {}, normalize)
    assert refused == []
    (entity,) = found.values()
    assert (entity.name, entity.path, entity.search_path) == ("site_visit__c", VISITS, f"{VISITS}/Search")
    assert (entity.get, entity.create, entity.update, entity.delete) == (
        f"{VISITS}/{{id}}", VISITS, VISITS, f"{VISITS}/{{id}}",
    )  # fmt: skip
    assert (entity.key, entity.field_for, entity.custom_fields) == (("RECORD_ID",), "SITE_VISIT__C", True)
    assert entity.fields == ENTITIES[RECORDS].fields
    assert entity.read == "incremental"
    assert not entity.cursor_documented


HOSTILE = [
    *("../Users", "Fruit__c/../Users", "//evil.example/x", "a b__c", "Fruit__c?top=1", "Fruit__c#", "%2e%2e__c"),
    *("Fruit.c", "Früchte__c", "Fruit__c\n", "9Lives__c", "_x__c", "x" * 80 + "__c", "", " "),
    *(None, True, 5, {}, ["Fruit__c"]),
]


@pytest.mark.parametrize("name", HOSTILE, ids=repr)
def test_hostile_object_name_is_refused_alone(name: Any) -> None:
    found, (sentence,) = objects(name, "Fruit__c")
    assert found == {"fruit__c": "Fruit__c"}
    assert "is not loaded" in sentence


@given(
    st.lists(st.one_of(st.text(max_size=20), st.from_regex(r"[A-Za-z0-9_]{1,12}__c", fullmatch=True), st.integers()))
)
def test_every_object_has_its_own_table_and_path(names: list[Any]) -> None:
    found, refused = objects(*names)
    assert len(found) + len(refused) >= len({name for name in names if isinstance(name, str)})
    for table, name in found.items():
        assert normalize(table) == table == normalize(name)
        assert table not in ENTITIES
        assert name.isascii()
        assert name.replace("_", "").isalnum()
    assert len({name.lower() for name in found.values()}) == len(found)


@pytest.mark.parametrize(
    ("name", "owner"),
    [
        ("Contacts", "contacts"),
        ("Contacts__Tags", "contacts"),
        ("contacts_history", "contacts"),
        ("Deletions", "ledger"),
        ("Product", "products"),
        ("Users", "users"),
    ],
)
def test_object_name_that_is_taken_is_refused_with_both_names(name: str, owner: str) -> None:
    found, (sentence,) = objects(name, "Fruit__c")
    assert found == {"fruit__c": "Fruit__c"}
    assert repr(name) in sentence
    assert owner in sentence


def test_objects_that_share_a_table_are_refused_with_both_names() -> None:
    found, refused = objects("SiteVisit__c", VISITS, "Fruit__c", "fruit__C")
    assert found == {}
    assert len(refused) == 4
    assert all("SiteVisit__c" in sentence and VISITS in sentence for sentence in refused[:2])


def test_table_stays_with_its_object() -> None:
    assert objects("SiteVisit__c", VISITS, existing={"site_visit__c": VISITS})[0] == {"site_visit__c": VISITS}
    found, (sentence,) = objects("SiteVisit__c", existing={"site_visit__c": VISITS})
    assert found == {}
    assert VISITS in sentence
    assert objects("site_visit__C", existing={"site_visit__c": VISITS}) == ({"site_visit__c": "site_visit__C"}, [])


def test_objects_are_selected_by_name() -> None:
    assert select("Fruit__c, contacts") == ("contacts", "Fruit__c")
    assert RECORDS in select("all")
    for name in ("Fruit_c", "../x__c", "9__c", "Fruit"):
        with pytest.raises(BadSetting, match="custom object by its API name, such as Fruit__c"):
            select(name)


# Tables


def test_object_tables_equal_the_account(crm: Crm) -> None:
    report = crm.sync_done(*ALL)
    assert states(report) == dict.fromkeys((*ALL, "site_visit__c", "warranty__c"), "ok")
    assert report.calls == len(crm.sandbox.log) == 1 + 1 + 2 * 2
    assert crm.sandbox.calls("CustomObjects") == 1
    crm.assert_equal(OBJECTS, VISITS, WARRANTIES)
    types = crm.columns("site_visit__c")
    wanted = {"visited_on__c": "DATE", "starts_at__c": "TIMESTAMP WITH TIME ZONE", "distance_km__c": "DECIMAL(38,9)"}
    wanted |= {"billable__c": "BOOLEAN", "customer__c": "BIGINT", "topics__c": "VARCHAR", "record_id": "BIGINT"}
    assert {name: types[name] for name in wanted} == wanted
    assert {row["field_for"] for row in crm.table("custom_fields")} == {"SITE_VISIT__C", "WARRANTY__C"}
    joined = crm.read(f"select count(*) as n from insightly.custom_objects where object_name in ('{VISITS}')")
    assert joined == [{"n": 1}]
    assert [row["entity"] for row in crm.table("_sync_runs")].count("site_visit__c") == 1


@pytest.mark.sample(0)
def test_unchanged_run_costs_a_call_per_object_and_one_for_discovery(synced: Crm) -> None:
    report = synced.sync_done(*ALL)
    assert {name: entity.calls for name, entity in report.entities.items()} == {
        OBJECTS: 1, RECORDS: 0, "site_visit__c": 1, "warranty__c": 1,
    }  # fmt: skip
    assert sum(entity.rows for entity in report.entities.values()) == 2  # the definitions
    assert synced.sync_done(RECORDS).entities[RECORDS].calls == 1
    by_name = synced.sync_done("Site_Visit__c")
    assert (list(by_name.entities), by_name.calls) == (["site_visit__c"], 1)


def test_only_changed_object_records_are_read(synced: Crm) -> None:
    store, before = synced.sandbox.store, synced.count("site_visit__c")
    store.update(VISITS, first_key(synced, VISITS), {"RECORD_NAME": "changed"})
    add_record(synced, VISITS, Result__c="Good")
    report = synced.sync_done(*ALL)
    assert (report.entities["site_visit__c"].rows, report.entities["warranty__c"].rows) == (2, 0)
    assert synced.count("site_visit__c") == before + 1
    since = [call.query["updated_after_utc"] for call in synced.sandbox.log if call.path.endswith("/Search")]
    assert len(since) == 2
    synced.assert_equal(VISITS, WARRANTIES)


def test_new_object_and_new_field_are_loaded_by_the_next_run(synced: Crm) -> None:
    store = synced.sandbox.store
    store.define_object("Fruit__c")
    store.define("FRUIT__C", "Ripe__c", "BIT")
    store.define("SITE_VISIT__C", "Score__c", "NUMERIC")
    add_record(synced, "Fruit__c", Ripe__c=True)
    add_record(synced, VISITS, Score__c=4.5)
    report = synced.sync_done(*ALL)
    assert states(report)["fruit__c"] == "ok"
    assert report.entities["site_visit__c"].schema_changes == ["new column site_visit__c.score__c (number)"]
    synced.assert_equal("Fruit__c", VISITS, WARRANTIES, OBJECTS)
    assert synced.columns("fruit__c")["ripe__c"] == "BOOLEAN"


def test_deleted_object_keeps_table_and_state(synced: Crm) -> None:
    store, definition = synced.sandbox.store, synced.sandbox.store.get(OBJECTS, WARRANTIES)
    rows, kept = synced.table("warranty__c"), list(store.tables[WARRANTIES].raw.values())
    store.remove_object(WARRANTIES)
    for _ in range(2):
        report = synced.sync_done(*ALL)
        gone = report.entities["warranty__c"]
        assert (gone.state, gone.calls) == ("skipped", 0)
        assert "no longer defined" in str(gone.reason)
        assert synced.table("warranty__c") == rows
    named = synced.sync(WARRANTIES)
    assert (named.exit_code, states(named)) == (1, {"warranty__c": "skipped"})
    assert states(swept(synced, RECORDS))["warranty__c"] == "skipped"
    assert synced.table("warranty__c") == rows

    store.define_object(WARRANTIES)
    store.put_raw(OBJECTS, definition or {})
    for raw in kept:
        store.put_raw(WARRANTIES, raw)
    add_record(synced, WARRANTIES)
    again = synced.sync_done(*ALL).entities["warranty__c"]
    assert again.rows == 1
    synced.assert_equal(WARRANTIES)


def test_object_that_cannot_be_loaded_fails_alone(crm: Crm, caplog: pytest.LogCaptureFixture) -> None:
    store = crm.sandbox.store
    for name in ("../Users", "Contacts", 7):
        store.put_raw(OBJECTS, {**store.rows(OBJECTS)[0], "OBJECT_NAME": name})
    store.define_object("SiteVisit__c")
    report = crm.sync("contacts", *ALL)
    assert states(report) == {"contacts": "ok", OBJECTS: "ok", RECORDS: "failed", "warranty__c": "ok"}
    assert report.exit_code == 1
    assert all(name in str(report.reason) for name in ("../Users", "'Contacts'", "'7'", "SiteVisit__c", VISITS))
    expected = {
        "Instance",
        "CustomObjects",
        "Contacts",
        "CustomFields/Contacts",
        WARRANTIES,
        f"CustomFields/{WARRANTIES}",
    }
    assert set(paths(crm)) == {f"/{path}" for path in expected}
    crm.assert_equal("contacts", WARRANTIES)
    assert crm.count(OBJECTS) == 6


@pytest.mark.sample(0)
@pytest.mark.parametrize("switch", ["missing", "forbidden"])
def test_plan_without_custom_objects_is_skipped(crm: Crm, switch: str) -> None:
    crm.sandbox.switches = replace(OPEN, **{switch: frozenset([OBJECTS])})
    report = crm.sync("notes", *ALL)
    assert states(report) == {"notes": "ok", OBJECTS: "skipped", RECORDS: "skipped"}
    assert report.exit_code == 1
    assert crm.sync(entities=["notes", *ALL]).exit_code == 0
    assert crm.sandbox.calls("CustomObjects") == 1
    named = crm.sync("notes", VISITS)
    assert (named.exit_code, states(named)) == (1, {"notes": "ok", "site_visit__c": "skipped"})


@pytest.mark.sample(0)
def test_account_without_objects_has_only_the_definitions_table(crm: Crm) -> None:
    for name in (VISITS, WARRANTIES):
        crm.sandbox.store.remove_object(name)
    assert states(crm.sync_done(*ALL)) == dict.fromkeys(ALL, "ok")
    assert crm.sync_done(*ALL).calls == 1


# Selection by name


def test_unknown_object_is_refused_with_the_known_names(crm: Crm) -> None:
    ran = command("sync", "Fruit__c", "notes", "--json", cwd=crm.folder, **reach(crm.sandbox))
    assert ran.code == 2
    assert "'fruit__c'" in ran.json["reason"]
    assert f"{VISITS}, {WARRANTIES}" in ran.json["reason"]
    assert paths(crm) == ["/Instance", "/CustomObjects"]
    crm.sync_done("notes")
    for work in (
        lambda: sweep(crm.settings(), target(crm), ["Fruit__c"]),
        lambda: status(crm.settings(), target(crm), ["Fruit__c"]),
        lambda: verify(crm.settings(), target(crm), ["Fruit__c"]),
        lambda: plan(crm.settings(), target(crm), ["Fruit__c"], ReadRequest()),
    ):
        with pytest.raises(BadSetting, match="no such custom object"):
            work()


@pytest.mark.sample(0)
def test_one_object_is_loaded_by_either_form_of_its_name(crm: Crm) -> None:
    ran = command("sync", VISITS, "--json", cwd=crm.folder, **reach(crm.sandbox))
    assert ran.code == 0
    assert list(ran.json["entities"]) == ["site_visit__c"]
    assert crm.sandbox.calls("CustomObjects") == 1
    crm.sync_done("site_visit__c")
    assert paths(crm) == [f"/{VISITS}/Search"]
    crm.assert_equal(VISITS)


# Records without dates


@pytest.fixture
def undated(crm: Crm) -> Crm:
    crm.sandbox.switches = replace(OPEN, object_dates=False)
    return crm


def test_object_without_dates_is_read_in_full_each_run(undated: Crm) -> None:
    assert undated.sync_done(*ALL).entities["site_visit__c"].watermark is None
    store = undated.sandbox.store
    store.update(VISITS, first_key(undated, VISITS), {"RECORD_NAME": "changed"})
    add_record(undated, VISITS)
    report = undated.sync_done(*ALL)
    assert (report.entities["site_visit__c"].rows, report.entities["site_visit__c"].calls) == (store.count(VISITS), 2)
    assert not [path for path in paths(undated) if path.endswith("/Search")]
    names = {row["record_id"]: row["record_name"] for row in undated.table("site_visit__c")}
    assert names == {row["RECORD_ID"]: row["RECORD_NAME"] for row in store.rows(VISITS)}
    # Unchanged records are not written again, and records that are no longer listed are marked.
    store.delete(VISITS, first_key(undated, VISITS))
    report = undated.sync_done(*ALL)
    assert (report.entities["site_visit__c"].deleted, report.entities["warranty__c"].merged) == (1, 0)


@pytest.mark.sample(0)
def test_object_dates_may_appear_and_disappear(undated: Crm) -> None:
    undated.sync_done(*ALL)
    undated.sandbox.switches = OPEN
    assert undated.sync_done(*ALL).entities["site_visit__c"].watermark is not None
    assert undated.sync_done(*ALL).entities["site_visit__c"].rows == 0
    store, key = undated.sandbox.store, first_key(undated, VISITS)
    # A record without a date, found because another had one: from the next run on the object is read in full again.
    store.put_raw(VISITS, {**(store.get(VISITS, key) or {}), "DATE_UPDATED_UTC": None, "DATE_CREATED_UTC": store.now()})
    assert undated.sync_done(*ALL).entities["site_visit__c"].rows == 1
    report = undated.sync_done(*ALL).entities["site_visit__c"]
    assert (report.rows, report.watermark) == (store.count(VISITS), None)
    undated.assert_equal(VISITS)


@pytest.mark.sample(0)
def test_empty_object_is_listed_until_it_has_dates(crm: Crm) -> None:
    crm.sandbox.store.define_object("Fruit__c")
    crm.sync_done(*ALL)
    crm.sandbox.switches = replace(OPEN, object_dates=False)
    add_record(crm, "Fruit__c")
    assert crm.sync_done(*ALL).entities["fruit__c"].rows == 1
    crm.sandbox.switches = OPEN
    crm.sync_done(*ALL)
    assert crm.sync_done(*ALL).entities["fruit__c"].watermark is not None


@pytest.mark.sample(0)
def test_start_date_does_not_apply_to_custom_objects(undated: Crm) -> None:
    undated.sync_done("contacts", *ALL, start_date="2026-06-01")
    assert undated.count("contacts") < undated.sandbox.store.count("contacts")
    assert undated.count("site_visit__c") == undated.sandbox.store.count(VISITS)
    store = undated.sandbox.store
    store.delete(VISITS, first_key(undated, VISITS))
    assert swept(undated, RECORDS, start_date="2026-06-01").entities["site_visit__c"].deleted == 1


# Interrupted runs


@pytest.mark.sample(0)
def test_small_budget_completes_every_object(crm: Crm) -> None:
    for _ in range(8):
        assert crm.sync("notes", *ALL, max_calls=2).exit_code == 3
        assert len(crm.sandbox.log) == 2
    crm.assert_equal("notes", OBJECTS, VISITS, WARRANTIES)


@pytest.mark.parametrize(
    ("nth", "kept"),
    [
        (5, False),
        *(pytest.param(nth, kept, marks=pytest.mark.sample(0)) for nth in (2, 3, 6, 8) for kept in (True, False)),
    ],
)
def test_run_killed_between_objects_is_completed_by_the_next(crm: Crm, nth: int, kept: bool) -> None:
    paging = {f"SOURCES__INSIGHTLY__{name.upper()}": str(value) for name, value in PAGING.items()}
    run_and_die(crm, ["sync", *ALL], Sent(nth), paging)
    if not kept:
        shutil.rmtree(crm.folder / "dlt")
    crm.sync_done(*ALL, **PAGING)
    crm.assert_equal(OBJECTS, VISITS, WARRANTIES)


# Sweep, verify, status, plan, selection, masking


def swept(crm: Crm, *names: str, **settings: Any) -> Report:
    crm.clock.advance()
    return sweep(crm.settings(**settings), target(crm), names)


@pytest.mark.sample(0)
def test_sweep_and_full_sync_mark_deleted_object_records(synced: Crm) -> None:
    store, key = synced.sandbox.store, first_key(synced, VISITS)
    kept = store.get(VISITS, key)
    store.delete(VISITS, key)
    report = swept(synced, RECORDS)
    assert {name: entity.deleted for name, entity in report.entities.items()} == {
        RECORDS: 0, "site_visit__c": 1, "warranty__c": 0,
    }  # fmt: skip
    synced.assert_equal(VISITS, deleted=True)
    (ledger,) = synced.table("deletions")
    assert (ledger["entity"], ledger["record_id"], ledger["restored_at"]) == ("site_visit__c", key, None)

    store.put_raw(VISITS, {**(kept or {}), "DATE_UPDATED_UTC": store.now()})
    synced.sync_done(*ALL)
    synced.assert_equal(VISITS)
    assert synced.table("deletions")[0]["restored_at"] is not None

    store.delete(WARRANTIES, first_key(synced, WARRANTIES))
    assert synced.sync_done(*ALL, request=ReadRequest(full=True)).entities["warranty__c"].deleted == 1
    synced.assert_equal(WARRANTIES, deleted=True)


def test_verify_proves_each_object_or_names_differences(synced: Crm) -> None:
    proof = verify(synced.settings(), target(synced), ALL, full=True)
    assert proof.exit_code == 0
    assert all(entity.facts["proved"] for entity in proof.entities.values())
    assert proof.entities["site_visit__c"].facts["compared"] == synced.sandbox.store.count(VISITS)
    store = synced.sandbox.store
    store.update(VISITS, first_key(synced, VISITS), {"RECORD_NAME": "silently"}, touch=False)
    store.define_object("Fruit__c")
    differs = verify(synced.settings(), target(synced), ALL, full=True)
    assert differs.exit_code == 4
    assert "record_name" in differs.entities["site_visit__c"].facts["examples"][0]
    assert "never synced" in str(differs.entities["fruit__c"].reason)
    assert differs.entities[OBJECTS].facts["differences"] == 1


@pytest.mark.sample(0)
def test_status_and_sweep_plan_of_objects_need_no_call(synced: Crm) -> None:
    report = status(synced.settings(), target(synced), ALL)
    assert list(report.entities) == [*ALL, "site_visit__c", "warranty__c"]
    assert report.entities["site_visit__c"].rows == synced.sandbox.store.count(VISITS)
    synced.sandbox.reset_log()
    assert plan_sweep(synced.settings(), target(synced), [RECORDS], tags=False).facts["plan"]["calls"] == 2
    assert synced.sandbox.calls("CustomObjects") == 0


@pytest.mark.sample(0)
def test_plan_equals_the_cost_of_the_sync(crm: Crm) -> None:
    for names in ([RECORDS], list(ALL), [VISITS]):
        planned = plan(crm.settings(), target(crm), names, ReadRequest())
        done = crm.sync_done(*names)
        bound = crm.sandbox.calls("Instance")
        found = crm.sandbox.calls("CustomObjects") if names == [VISITS] else 0
        assert planned.facts["plan"]["calls"] == done.calls - bound - found
        assert list(planned.entities) == list(done.entities)


@pytest.mark.sample(0)
def test_object_records_are_read_by_id_and_by_custom_field(synced: Crm) -> None:
    store, key = synced.sandbox.store, first_key(synced, VISITS)
    store.update(VISITS, key, {"RECORD_NAME": "silently"}, touch=False)
    gone = store.tables[VISITS].keys[-1]
    store.delete(VISITS, gone)

    def read(ids: list[str] | None, where: list[str] | None, name: str = VISITS) -> Report:
        return sync_selected(
            synced.settings(),
            target(synced),
            selection(synced.settings(), [name], ids, where, ReadRequest()),
        )

    report = read([str(key), str(gone)], None).entities["site_visit__c"]
    assert (report.rows, report.deleted, report.facts["gone"]) == (1, 1, [gone])
    found = {
        row["RECORD_ID"]: item["FIELD_VALUE"]
        for row in store.rows(WARRANTIES)
        for item in row["CUSTOMFIELDS"]
        if item["FIELD_NAME"] == "Months__c" and item["FIELD_VALUE"]
    }
    warranty, months = next(iter(found.items()))
    store.update(WARRANTIES, warranty, {"RECORD_NAME": "silently"}, touch=False)
    assert read(None, [f"months__c={months}"], "warranty__c").entities["warranty__c"].rows > 0
    synced.assert_equal(VISITS, WARRANTIES, deleted=True)
    with pytest.raises(BadSetting, match="one entity by name"):
        read([str(key)], None, RECORDS)
    with pytest.raises(BadSetting, match="no such custom object"):
        read([str(key)], None, "Fruit__c")


@pytest.mark.sample(0)
def test_object_columns_are_hashed_and_dropped(crm: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCES__INSIGHTLY__HASH_KEY", "a long random text")
    private = {"hash": [f"{VISITS}.record_name"], "drop": ["site_visit__c.report__c"]}
    crm.sync_done(*ALL, **private)
    names = {row["record_name"] for row in crm.table("site_visit__c")}
    assert all(len(name) == 64 for name in names)
    assert "report__c" not in crm.columns("site_visit__c")


@pytest.mark.parametrize("names", [[RECORDS], pytest.param([VISITS], marks=pytest.mark.sample(0))])
def test_masking_of_an_unknown_object_is_refused(synced: Crm, names: list[str]) -> None:
    add_record(synced, VISITS)
    before = synced.count("site_visit__c")
    with pytest.raises(BadSetting, match=r"sources\.insightly\.drop is 'site_visits__c': no such custom object"):
        synced.sync(*names, drop=["site_visits__c.report__c"])
    assert synced.count("site_visit__c") == before
    with pytest.raises(BadSetting, match="stands for all custom objects"):
        synced.settings(drop=[f"{RECORDS}.record_name"])


# The source alone


def alone(crm: Crm, names: list[str]) -> None:
    destination = dlt.destinations.duckdb(str(crm.folder / "alone.duckdb"))
    pipeline = dlt.pipeline("alone", destination=destination, dataset_name="insightly")
    settings = {"api_key": crm.sandbox.key, "base_url": crm.sandbox.url, "requests_per_second": 1000}
    crm.sandbox.reset_log()
    pipeline.run(insightly(entities=names, **settings))


def test_source_alone_discovers_and_reads_every_object(crm: Crm) -> None:
    assert RECORDS in insightly().resources
    assert list(insightly(entities=[VISITS]).resources) == ["site_visit__c"]
    assert crm.sandbox.log == []
    for _ in range(2):
        alone(crm, list(ALL))
        for name in (OBJECTS, VISITS, WARRANTIES):
            crm.assert_equal(name, database=crm.folder / "alone.duckdb")
        add_record(crm, VISITS, Result__c="Good")
        crm.clock.advance()
    assert [path for path in paths(crm) if path.endswith("/Search")] == [f"/{VISITS}/Search", f"/{WARRANTIES}/Search"]
    assert crm.sandbox.calls("CustomObjects") == 1


@pytest.mark.sample(0)
def test_source_alone_reads_one_object_by_name(crm: Crm, caplog: pytest.LogCaptureFixture) -> None:
    alone(crm, [VISITS])
    crm.assert_equal(VISITS, database=crm.folder / "alone.duckdb")
    assert not any(WARRANTIES in path for path in paths(crm))
    crm.sandbox.store.put_raw(OBJECTS, {**crm.sandbox.store.rows(OBJECTS)[0], "OBJECT_NAME": "../Users"})
    with caplog.at_level(logging.ERROR):
        alone(crm, [RECORDS])
    assert "'../Users' is not loaded" in caplog.text
    crm.assert_equal(VISITS, WARRANTIES, database=crm.folder / "alone.duckdb")
    with pytest.raises(Exception, match="no such custom object"):
        alone(crm, ["Fruit__c"])
