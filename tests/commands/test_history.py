"""The setting `history`: one row per version of a record, whatever is edited, deleted, interrupted or masked."""

import re
from datetime import UTC, datetime
from functools import partial
from typing import Any

import dlt
import pytest

from pipelines.commands.sync import sync
from pipelines.destinations.target import Target
from pipelines.engine.history import _History
from pipelines.engine.runner import opened
from sources.insightly import ENTITIES
from sources.insightly.config.settings import resolve_settings
from sources.insightly.entities import UNVERSIONED
from sources.insightly.errors import BadSetting
from sources.insightly.rows.naming import history_table
from sources.insightly.state.missing import SMALL_TABLE
from sources.insightly.state.request import ReadRequest
from tests.support.commands import MakeCrm, delete, refreshed, swept
from tests.support.crm import OPEN, Crm, begin
from tests.support.expected import CORE, Row, stored
from tests.support.histories import FROM, TO, assert_level, business, versions
from tests.support.kill import Call, run_and_die
from tests.support.process import ROOT
from tests.support.push import ids, jsonl, pushed
from tests.support.sync_kill import METHODS

KEPT: dict[str, Any] = {"history": ["contacts"]}
HASH_KEY = "a-long-random-text-of-the-test"


@pytest.fixture
def kept(make_crm: MakeCrm) -> Crm:
    """A database that was loaded before its history was switched on."""
    crm = make_crm()
    crm.prepare(partial(keep, crm), "history")
    return crm


def keep(crm: Crm) -> None:
    begin(crm)
    crm.sync_done("contacts", **KEPT)


def count(crm: Crm) -> int:
    return len(versions(crm.read, "contacts"))


def of(crm: Crm, key: int) -> list[Row]:
    return versions(crm.read, "contacts", key)


@pytest.mark.everywhere("postgres")
def test_history_starts_from_loaded_rows_without_a_call(synced_crm: Crm) -> None:
    crm = synced_crm
    (gone,) = delete(crm, "contacts", ids(crm, "contacts")[0])
    swept(crm, "contacts")
    report = crm.sync_done("contacts", **KEPT)
    assert report.entities["contacts"].calls == 1
    assert report.entities["contacts"].schema_changes == ["contacts_history is new: it keeps versions of contacts"]
    assert_level(crm.read, "contacts")
    assert count(crm) == len(ids(crm, "contacts"))
    assert not of(crm, gone["CONTACT_ID"])
    assert crm.columns("contacts_history") == {
        **{name: kind for name, kind in crm.columns("contacts").items() if name != "_deleted_at"},
        **dict.fromkeys((FROM, TO), crm.columns("contacts")["date_updated_utc"]),
    }


@pytest.mark.everywhere("postgres")
def test_history_version_is_a_change_by_the_team(kept: Crm) -> None:
    store, (edited, touched, active, tagged, *_) = kept.sandbox.store, ids(kept, "contacts")
    (before,), known = of(kept, edited), count(kept)
    started = datetime.now(UTC)
    store.update("contacts", edited, {"TITLE": "edited"})
    store.update("contacts", touched, {})
    store.update("contacts", active, {"LAST_ACTIVITY_DATE_UTC": "2026-11-02 08:00:00", "NEXT_ACTIVITY_DATE_UTC": None})
    store.set_tags("contacts", tagged, ["moved"])
    assert kept.sync_done("contacts", **KEPT).entities["contacts"].merged == 4
    old, new = of(kept, edited)
    assert (old, new[FROM]) == ({**before, TO: new[FROM]}, old[TO])
    assert started < new[FROM] < datetime.now(UTC)
    assert business(new) == {**business(old), "title": "edited"}
    assert count(kept) == known + 1
    assert_level(kept.read, "contacts")

    store.update("contacts", edited, {"TITLE": "once more"})
    store.update("contacts", edited, {"TITLE": before["title"]})
    kept.sync_done("contacts", **KEPT)
    assert [row["title"] for row in of(kept, edited)] == [before["title"], "edited", before["title"]]


@pytest.mark.sample(0)
def test_unchanged_record_gets_no_new_version(kept: Crm) -> None:
    store = kept.sandbox.store
    key = next(row["CONTACT_ID"] for row in store.rows("contacts") if row["PHONE_FAX"] is None)
    known = count(kept)
    store.update("contacts", key, {"PHONE_FAX": None}, touch=False)
    kept.sync_done("contacts", request=ReadRequest(full=True), **KEPT)
    store.update("contacts", key, {"PHONE_FAX": ""}, touch=False)
    kept.sandbox.switches = type(OPEN)(rate=None, etag=True)
    kept.sync_done("contacts", request=ReadRequest(full=True), **KEPT)
    store.update("contacts", key, {}, touch=True)
    kept.sync_done("contacts", **KEPT)
    assert not [name for name in kept.columns("contacts_history") if "tag" in name]
    assert count(kept) == known
    assert_level(kept.read, "contacts")


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_new_column_makes_versions_only_of_records_with_a_value(kept: Crm) -> None:
    store, (one, other, *_) = kept.sandbox.store, ids(kept, "contacts")
    known = count(kept)
    store.define("CONTACT", "Score__c", "NUMERIC")
    store.update("contacts", one, {})
    kept.sync_done("contacts", request=ReadRequest(full=True), **KEPT)
    assert count(kept) == known
    store.update("contacts", one, {"CUSTOMFIELDS": [{"FIELD_NAME": "Score__c", "FIELD_VALUE": 1.50}]})
    kept.sync_done("contacts", **KEPT)
    store.update("contacts", one, {"CUSTOMFIELDS": [{"FIELD_NAME": "Score__c", "FIELD_VALUE": 1.5}]})
    store.update("contacts", other, {"CUSTOMFIELDS": [{"FIELD_NAME": "Score__c", "FIELD_VALUE": "high"}]})
    kept.sync_done("contacts", **KEPT)
    assert kept.columns("contacts_history")["score__c"].lower() in ("decimal(38,9)", "numeric(38,9)")
    assert [row["score__c"] for row in of(kept, one)] == [None, 1.5]
    assert [row["score__c__v_text"] for row in of(kept, other)] == [None, "high"]
    assert count(kept) == known + 2
    assert_level(kept.read, "contacts")


@pytest.mark.sample(0)
@pytest.mark.everywhere("postgres")
@pytest.mark.parametrize("deletions", ["mark", pytest.param("remove", marks=pytest.mark.sample(0))])
def test_deleted_record_has_no_open_version_until_it_reappears(kept: Crm, deletions: str) -> None:
    crm, settings, key = kept, {**KEPT, "deletions": deletions}, ids(kept, "contacts")[0]
    (record,) = delete(crm, "contacts", key)
    assert swept(crm, "contacts", **settings).entities["contacts"].deleted == 1
    (old,) = of(crm, key)
    (found,) = crm.read("select found_at from insightly.deletions")
    assert old[TO] == found["found_at"]
    assert_level(crm.read, "contacts")

    crm.sandbox.store.put_raw("contacts", {**record, "DATE_UPDATED_UTC": crm.sandbox.store.now()})
    crm.sync_done("contacts", **settings)
    ended, opened = of(crm, key)
    assert ended[TO] < opened[FROM]
    assert opened[TO] is None
    assert business(ended) == business(opened)
    assert_level(crm.read, "contacts")


@pytest.mark.sample(0)
@pytest.mark.parametrize("deletions", ["mark", "remove"])
def test_every_way_to_find_a_deletion_ends_the_version(
    kept: Crm, deletions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"HISTORY": "contacts", "DELETIONS": deletions}.items():
        monkeypatch.setenv(f"SOURCES__INSIGHTLY__{name}", value)
    crm, (requested, missed, *_, pushed_away) = kept, ids(kept, "contacts")
    delete(crm, "contacts", requested)
    refreshed(crm, "contacts", ids=[requested])
    delete(crm, "contacts", missed)
    crm.sync_done("contacts", request=ReadRequest(full=True))
    pushed(crm, "contacts", jsonl(crm, [{"contact_id": pushed_away}]), "delete")
    for key in (requested, missed, pushed_away):
        (only,) = of(crm, key)
        assert only[TO] is not None
    assert_level(crm.read, "contacts")


@pytest.mark.sample(0)
def test_history_switched_off_and_on_continues_from_loaded_rows(kept: Crm) -> None:
    crm, (edited, gone, *_) = kept, ids(kept, "contacts")
    crm.sandbox.store.update("contacts", edited, {"TITLE": "in the gap"})
    delete(crm, "contacts", gone)
    known = count(crm)
    crm.sync_done("contacts")
    swept(crm, "contacts")
    assert count(crm) == known
    assert all(row[TO] is None for row in versions(crm.read, "contacts"))
    on = datetime.now(UTC)
    crm.sync_done("contacts", **KEPT)
    assert [row["title"] for row in of(crm, edited)][1:] == ["in the gap"]
    assert of(crm, edited)[1][FROM] > on
    assert of(crm, gone)[0][TO] > on
    assert_level(crm.read, "contacts")


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_versions_do_not_overlap_if_the_clock_is_set_back(kept: Crm) -> None:
    key, other = ids(kept, "contacts")[:2]
    later = datetime(2100, 1, 1, tzinfo=UTC)
    kept.change(f"update insightly.contacts_history set {FROM} = timestamptz '{later.isoformat()}'")
    kept.sandbox.store.update("contacts", key, {"TITLE": "edited"})
    delete(kept, "contacts", other)
    kept.sync_done("contacts", **KEPT)
    swept(kept, "contacts", **KEPT)
    assert of(kept, key)[1][FROM] >= later
    assert of(kept, other)[0][TO] >= later
    assert_level(kept.read, "contacts")


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_changed_masking_makes_no_version(kept: Crm) -> None:
    """Hashed, hashed with another key, or plain: the same e-mail addresses, so the same versions."""
    crm, (old, *_) = kept, [row for row in kept.sandbox.store.rows("contacts") if row["EMAIL_ADDRESS"]]
    crm.sandbox.store.update("contacts", old["CONTACT_ID"], {"TITLE": "edited"})
    crm.sync_done("contacts", **KEPT)
    known, hashed = count(crm), {"hash": ["contacts.email_address"], "hash_key": HASH_KEY}
    for settings in (hashed, {**hashed, "hash_key": "another"}, {"drop": ["contacts.email_address"]}, {}, hashed):
        crm.sync_done("contacts", **KEPT, **settings)
        assert count(crm) == known, settings
        assert_level(crm.read, "contacts")
        former, now = of(crm, old["CONTACT_ID"])
        assert former["email_address"] is None
        assert now["email_address"] != former["email_address"] or "drop" in settings
    crm.sandbox.store.update("contacts", old["CONTACT_ID"], {"EMAIL_ADDRESS": "new@example.com"})
    crm.sync_done("contacts", **KEPT, **hashed)
    assert count(crm) == known + 1


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_history_copies_no_value_before_it_is_masked(synced_crm: Crm) -> None:
    crm, hashed = synced_crm, {"hash": ["contacts.email_address"], "hash_key": HASH_KEY}
    refreshed(crm, "contacts", ids=ids(crm, "contacts")[:1], **KEPT, **hashed)
    assert not crm.columns("contacts_history")
    crm.sync_done("contacts", **KEPT, **hashed)
    assert not [row for row in versions(crm.read, "contacts") if "@" in (row["email_address"] or "")]
    assert_level(crm.read, "contacts")


POINTS = {
    "table": ("pipelines.engine.history:_History.prepare", "after"),
    "load": (METHODS["load"], "before"),
    "merge": (METHODS["merge"], "after"),
    "note of the load": (METHODS["note in _dlt_loads"], "after"),
    "versions compared": ("pipelines.engine.history:_History.counts_match", "before"),
    "versions end": ("pipelines.engine.history:_History._end_versions", "after"),
    "versions begin": ("pipelines.engine.history:_History._begin_versions", "after"),
    "history followed": ("pipelines.engine.history:_History.update", "after"),
}


TWICE = ("table", "load", "merge", "note of the load", "versions compared")


@pytest.mark.everywhere("postgres")
@pytest.mark.parametrize(
    ("point", "nth"),
    [
        ("versions end", 1),
        *(pytest.param(point, 1, marks=pytest.mark.sample(0)) for point in POINTS if point != "versions end"),
        *(pytest.param(point, 2, marks=pytest.mark.sample(0)) for point in TWICE),
    ],
)
def test_killed_run_keeps_the_version_that_it_loaded(kept: Crm, point: str, nth: int) -> None:
    """Rows that a killed run loaded become versions before other rows replace them."""
    crm, key = kept, ids(kept, "contacts")[0]
    store, known = crm.sandbox.store, count(crm)
    store.update("contacts", key, {"TITLE": "first"})
    store.define("CONTACT", "Fresh__c", "TEXT")
    store.update("contacts", key, {"CUSTOMFIELDS": [{"FIELD_NAME": "Fresh__c", "FIELD_VALUE": "fresh"}]})
    crm.clock.advance()
    method, when = POINTS[point]
    run_and_die(crm, ["sync", "contacts"], Call(method, when, nth), {"SOURCES__INSIGHTLY__HISTORY": "contacts"})
    loaded = crm.read(f"select title from insightly.contacts where contact_id = {key}")[0]["title"]
    store.update("contacts", key, {"TITLE": "second"})
    crm.sync_done("contacts", **KEPT)
    assert_level(crm.read, "contacts")
    found = of(crm, key)
    titles = [row["title"] for row in found]
    # A package that was ready to be loaded is loaded by the next run, before it reads.
    assert titles[1:] in ([["first", "second"]] if loaded == "first" else [["second"], ["first", "second"]])
    assert [row[TO] for row in found[:-1]] == [row[FROM] for row in found[1:]], "a reader sees no gap between versions"
    assert count(crm) == known + len(titles) - 1


@pytest.mark.sample(0)
def test_history_compares_only_loaded_records(kept: Crm, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []
    update = _History.update

    def recorded(history: _History, keys: Any, remasked: Any) -> None:
        compared.append(keys)
        update(history, keys, remasked)

    monkeypatch.setattr(_History, "update", recorded)
    keys = ids(kept, "contacts")
    kept.sync_done("contacts", **KEPT)
    kept.sync_done("leads", **KEPT)
    assert compared == []
    kept.sandbox.store.update("contacts", keys[1], {"TITLE": "edited"})
    kept.sync_done("contacts", **KEPT)
    assert compared == [{keys[1]}]
    monkeypatch.setattr("pipelines.engine.history.MAX_CHANGED_KEYS", 1)
    for key in keys[:2]:
        kept.sandbox.store.update("contacts", key, {"TITLE": "edited again"})
    kept.sync_done("contacts", **KEPT)
    assert compared[1:] == [None]
    assert_level(kept.read, "contacts")


@pytest.mark.everywhere("postgres")
@pytest.mark.sample(0)
def test_documented_query_returns_the_pipeline_as_it_stood(make_crm: MakeCrm) -> None:
    crm = make_crm(0.2)
    store, names = crm.sandbox.store, ("opportunities", "pipeline_stages")
    settings = {"history": ["opportunities"]}
    crm.sync_done(*names, **settings)
    then, timestamp = deals(store.rows("opportunities")), datetime.now(UTC)
    first, second, *_ = [row for row in store.rows("opportunities") if row["OPPORTUNITY_STATE"] == "OPEN"]
    assert len(store.rows("opportunities")) > SMALL_TABLE
    store.update("opportunities", first["OPPORTUNITY_ID"], {"OPPORTUNITY_STATE": "WON"})
    store.delete("opportunities", second["OPPORTUNITY_ID"])
    crm.sync_done(*names, **settings)
    swept(crm, "opportunities", **settings)
    (sql,) = re.findall(
        r"```sql\n(-- open deals by stage.*?)```", (ROOT / "docs/guide/history.md").read_text("utf-8"), re.DOTALL
    )
    query = re.sub(r"timestamptz '[^']+'", f"timestamptz '{timestamp.isoformat()}'", sql)
    assert query != sql
    assert results(crm, query) == then
    now = re.sub(r"timestamptz '[^']+'", f"timestamptz '{datetime.now(UTC).isoformat()}'", sql)
    assert results(crm, now) == deals(store.rows("opportunities"))


def results(crm: Crm, query: str) -> dict[Any, tuple[int, Any]]:
    return {(row["stage_id"], row["bid_currency"]): (row["deals"], row["value"]) for row in crm.read(query)}


def deals(records: list[Row]) -> dict[Any, tuple[int, Any]]:
    found: dict[Any, tuple[int, Any]] = {}
    for record in records:
        if record["OPPORTUNITY_STATE"] == "OPEN":
            key = record["STAGE_ID"], stored(record["BID_CURRENCY"], "text")
            number, value = found.get(key, (0, None))
            amount = stored(record["OPPORTUNITY_VALUE"], "number")
            found[key] = (number + 1, value if amount is None else (value or 0) + amount)
    return found


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["pipelines"], "sources.insightly.history is 'pipelines': .*cursor"),
        (["tags", "contacts"], "'tags'.*cursor"),
        (["deal"], "'deal'.*did you mean opportunities"),
        ([1], "a list of names"),
    ],
)
def test_history_setting_refuses_unsuitable_entities(names: list[Any], words: str) -> None:
    with pytest.raises(BadSetting, match=words):
        resolve_settings(history=names)


def test_history_preset_means_its_entities_with_a_cursor() -> None:
    assert resolve_settings(history="core").history == [name for name in CORE if ENTITIES[name].read == "incremental"]
    assert resolve_settings().history == []


def test_history_refuses_a_destination_of_files(make_crm: MakeCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    crm = make_crm()
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (crm.folder / "delta").as_uri())
    with pytest.raises(BadSetting, match="history keeps versions in an SQL database"):
        sync(crm.settings(**KEPT), Target("filesystem"), ["contacts"])
    assert crm.sandbox.calls("Contacts") == 0


@pytest.mark.sample(0)
def test_history_refuses_a_table_that_is_not_a_history(synced_crm: Crm) -> None:
    crm = synced_crm
    with opened("sync", crm.settings(), crm.target) as runner:
        runner.pipeline.run(dlt.resource([{"a": 1}], name="contacts_history"))
    with pytest.raises(BadSetting, match=r"history is 'contacts': its table contacts_history exists"):
        crm.sync("contacts", **KEPT)
    assert crm.count("contacts_history") == 1


def test_no_entity_table_is_named_like_a_history() -> None:
    tables = {*ENTITIES, *(f"{e.name}__{array.lower()}" for e in ENTITIES.values() for array in e.arrays)}
    assert tables.isdisjoint(map(history_table, ENTITIES.values()))


def test_unversioned_fields_are_known_fields() -> None:
    known = {name: field for entity in ENTITIES.values() for name, field in entity.fields.items()}
    assert known.keys() >= UNVERSIONED
